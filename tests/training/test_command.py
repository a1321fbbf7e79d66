"""However a command of mer-train ends, it is one line and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from merkit.training import cli
from merkit.training.cli import main


def test_without_torch_it_says_what_to_install(songs: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(options: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(cli, "_protocol", missing)
    result = CliRunner().invoke(main, ["--data", str(songs)])
    assert result.exit_code == 1
    assert "training needs the package torch: pip install 'merkit[train]'" in result.stderr


def test_ctrl_c_is_130(songs: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_protocol", stop)
    result = CliRunner().invoke(main, ["--data", str(songs)])
    assert result.exit_code == 130
    assert "--resume goes on after the last whole epoch" in result.stderr


def test_a_missing_module_of_ours_is_a_bug(songs: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(options: object) -> None:
        raise ModuleNotFoundError("No module named 'merkit.lost'", name="merkit.lost")

    monkeypatch.setattr(cli, "_protocol", missing)
    result = CliRunner().invoke(main, ["--data", str(songs)])
    assert isinstance(result.exception, ModuleNotFoundError)
