"""The folder of a run: the files that it holds, the finished run read from them, and whether work remains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...engine.backbone_names import NETWORKS, outside_backbones
from ...engine.errors import MerError, UsageError
from ...engine.files import FolderLock
from ..evaluate.metrics_report import write_json
from ..evaluate.predictions import Predictions, load_predictions
from ..fit.trainer import Epoch, read_state

Mode = Literal["fresh", "resume", "overwrite"]
"""What to do with a folder that holds a run: refuse it, continue the run, or replace it."""

CHECKPOINT, METRICS, CARD = "checkpoint.safetensors", "metrics.json", "card.md"
STATE, _KEY, LOGITS = "state.pt", "run.json", "logits.npz"
_FIGURES = ("confusion.png", "curves.png")


@dataclass(frozen=True)
class FinishedRun:
    """A finished training or cross-validation.

    ``metrics`` are those of metrics.json. ``history`` is empty for a cross-validation. ``predictions``
    are of the test part; None where the run had none.
    """

    folder: Path
    metrics: Mapping[str, Any]
    history: tuple[Epoch, ...]
    predictions: Predictions | None


def run_from_folder(folder: Path) -> FinishedRun:
    """Reads a finished run.

    Raises:
        MerError: the folder holds none, or its metrics are damaged.
    """
    path = folder / METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        history = tuple(_epoch(row) for row in metrics.get("history", ()))
    except OSError as error:
        raise MerError(f"{folder} holds no finished training ({path}: {error.strerror})") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise MerError(f"{folder} holds no finished training: {path} is not what mer-train wrote") from None
    logits = folder / LOGITS
    return FinishedRun(folder, metrics, history, load_predictions(logits) if logits.exists() else None)


def epochs_in(folder: Path) -> int:
    """How many epochs of an unfinished training are done; 0 where none was begun.

    Raises:
        MerError: its state is damaged.
    """
    if not (folder / STATE).exists():
        return 0
    # mmap, since VGG16's state has 2.7 GB, of which this needs a few bytes.
    return len(json.loads(read_state(folder / STATE, mmap=True)["history"]))


@contextmanager
def results_folder(folder: Path, mode: Mode) -> Iterator[None]:
    """Makes the folder, and lets no other training write into it during the block.

    Raises:
        UsageError: it holds a run, and the mode is "fresh".
        MerError: it cannot be made or written, or another training is at work there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MerError(f"{folder} cannot be made: {error.strerror}; name another folder") from None
    lock = FolderLock(folder)
    try:
        _refuse_held(folder, mode)
        yield
    finally:
        lock.release()


def prepare_folder(folder: Path, key: str, mode: Mode) -> bool:
    """Makes the folder ready for the run that ``key`` identifies.

    A run that failed in its first epoch left nothing to go on with, so it does not count. What the run
    before wrote is removed.

    Returns:
        Whether the folder already holds that run, finished.

    Raises:
        UsageError: it holds a run, and the mode is "fresh".
        MerError: it holds another run, and the mode is "resume"; or it cannot be read or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_held(folder, mode)
        begun, finished = (folder / STATE).exists(), (folder / METRICS).exists()
        if (begun or finished) and mode == "resume":
            if _key_in(folder) != key:
                raise MerError(
                    f"{folder} holds another training (other data, split, recipe or network): "
                    "remove it, or name another folder"
                )
            return finished and not begun
        _remove_run(folder)
        write_json({"key": key}, folder / _KEY)
    except OSError as error:
        raise MerError(f"{folder} cannot be used: {error.strerror}") from None
    return False


def prepare_folds_folder(folder: Path, mode: Mode) -> None:
    """Makes the folder ready for a cross-validation, whose folds have folders in it.

    Raises:
        UsageError: it holds a training that is none of these folds, and the mode is not "overwrite".
        MerError: it cannot be written.
    """
    if (folder / _KEY).exists() and mode != "overwrite":  # only a single training has one
        raise UsageError(f"{folder} holds a training without folds: name another folder, or overwrite it")
    _refuse_held(folder, mode)
    if mode == "overwrite":
        try:
            _remove_run(folder)
            (folder / _KEY).unlink(missing_ok=True)
        except OSError as error:
            raise MerError(f"{folder} cannot be used: {error.strerror}") from None


def _remove_run(folder: Path) -> None:
    for name in (METRICS, STATE, LOGITS, CHECKPOINT, CARD, *_FIGURES, *_exported(folder)):
        (folder / name).unlink(missing_ok=True)


def _refuse_held(folder: Path, mode: Mode) -> None:
    if mode == "fresh" and ((folder / STATE).exists() or (folder / METRICS).exists()):
        raise UsageError(f"{folder} holds a training; resume it, or overwrite it")


def _key_in(folder: Path) -> str:
    try:
        return json.loads((folder / _KEY).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise MerError(
            f"{folder} holds a training, but {_KEY} does not say which: overwrite it, or name another folder"
        ) from None


def _exported(folder: Path) -> list[str]:
    """The name of the file that a finished run exported, and that would outlive its checkpoint."""
    try:
        model = json.loads((folder / METRICS).read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    # Only a network's own name: the file may be anyone's, and what it names is removed.
    return [f"{model}.onnx"] if model in (*NETWORKS, *outside_backbones()) else []


def _epoch(row: Mapping[str, Any]) -> Epoch:
    """An epoch of metrics.json, where NaN is null."""
    return Epoch(**{name: np.nan if value is None else value for name, value in row.items()})  # pyright: ignore
