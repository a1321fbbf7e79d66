"""A folder holds one run; another one, or a damaged one, is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from merkit.engine.errors import MerError, UsageError
from merkit.training.runs.run_folder import METRICS, STATE, epochs_in, prepare_folder, run_from_folder


def test_a_folder_without_a_training(tmp_path: Path):
    with pytest.raises(MerError, match="no finished training"):
        run_from_folder(tmp_path)
    assert epochs_in(tmp_path) == 0


def test_a_run_is_read_as_it_was_written(tmp_path: Path):
    row = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": None, "val_accuracy": None,
           "val_macro_f1": None, "seconds": 2.0, "better": True}  # fmt: skip
    (tmp_path / METRICS).write_text(json.dumps({"songs": 1, "history": [row]}))
    run = run_from_folder(tmp_path)
    assert run.predictions is None
    assert run.history[0].loss == 1.0
    assert run.history[0].val_loss != run.history[0].val_loss


def test_whose_folder_it_is(tmp_path: Path):
    folder = tmp_path / "run"
    assert not prepare_folder(folder, "one", "fresh")
    with pytest.raises(UsageError, match="holds a training; resume it, or overwrite it"):
        prepare_folder(folder, "one", "fresh")
    with pytest.raises(MerError, match="another training"):
        prepare_folder(folder, "other", "resume")
    assert not prepare_folder(folder, "one", "resume")
    (folder / METRICS).write_text("{}")
    assert prepare_folder(folder, "one", "resume")
    torch.save({"history": json.dumps([{}, {}])}, folder / STATE)
    assert not prepare_folder(folder, "one", "resume")  # its metrics are of an earlier state
    assert epochs_in(folder) == 2
    assert not prepare_folder(folder, "other", "overwrite")
    assert {path.name for path in folder.iterdir()} == {"run.json"}
    (folder / "run.json").write_text("[]")
    with pytest.raises(MerError, match="cannot be used"):
        prepare_folder(folder, "one", "resume")
