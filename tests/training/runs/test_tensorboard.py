"""Epochs go to TensorBoard where it is installed, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from merkit.training.fit.trainer import Epoch
from merkit.training.runs import tensorboard

ROW = Epoch(3, 0.5, 0.8, float("nan"), float("nan"), float("nan"), 1.0, True, 1e-3)


def test_without_the_package_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    tensorboard.tensorboard_in(tmp_path)(ROW)
    assert not list(tmp_path.iterdir())


def test_a_runs_own_folder_is_not_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where mer-train is started in a run's folder, which Python takes for a package without files."""
    (tmp_path / "tensorboard").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
    assert tensorboard.find_spec("tensorboard") is not None
    tensorboard.tensorboard_in(tmp_path)(ROW)
    assert not list((tmp_path / "tensorboard").iterdir())


def test_with_it_every_figure_that_is_one_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: list[tuple[str, float, int]] = []

    @contextmanager
    def writer(folder: str, purge_step: int) -> Iterator[SimpleNamespace]:
        assert folder == str(tmp_path / "tensorboard")
        yield SimpleNamespace(add_scalar=lambda *figure: written.append(figure))

    module = SimpleNamespace(SummaryWriter=writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(
        tensorboard, "find_spec", lambda name: SimpleNamespace(origin="tensorboard/__init__.py")
    )
    tensorboard.tensorboard_in(tmp_path)(ROW)
    assert written == [("loss", 0.5, 3), ("accuracy", 0.8, 3), ("learning_rate", 1e-3, 3)]
