"""MER500's download says what is missing: the package, the network or the credentials."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from merkit.training.cli import main
from merkit.training.data.mer500_download import DATASET, mer500_from_kaggle


def test_download_without_kagglehub_or_credentials(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    result = CliRunner().invoke(main, ["--download"])
    assert result.exit_code == 1
    assert f"the download of {DATASET} needs kagglehub: pip install 'merkit[download]'" in result.stderr

    def refused(name: str) -> str:
        raise RuntimeError("403 Client Error\nUser has no credentials")

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=refused))
    result = CliRunner().invoke(main, ["--download"])
    assert result.exit_code == 1
    assert f"{DATASET} cannot be downloaded: 403 Client Error User has no credentials" in result.stderr


def test_the_folder_is_kagglehubs(monkeypatch: pytest.MonkeyPatch):
    kaggle = SimpleNamespace(dataset_download="/downloads/{}".format)
    monkeypatch.setitem(sys.modules, "kagglehub", kaggle)
    assert mer500_from_kaggle() == Path("/downloads", DATASET)
