"""The folder of a run: the files that it holds, the finished run read from them, and whether work remains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ...engine.errors import MerError, UsageError
from ..evaluate.metrics_report import write_json
from ..evaluate.predictions import Predictions, load_predictions
from ..fit.trainer import Epoch

Mode = Literal["fresh", "resume", "overwrite"]
"""What to do with a folder that holds a run: refuse it, continue the run, or replace it."""

CHECKPOINT, METRICS, CARD = "checkpoint.safetensors", "metrics.json", "card.md"
STATE, _KEY, LOGITS = "state.pt", "run.json", "logits.npz"


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
        MerError: the folder holds none.
    """
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MerError(f"{folder} holds no finished training: {error}") from None
    history = tuple(_epoch(row) for row in metrics.get("history", ()))
    logits = folder / LOGITS
    return FinishedRun(folder, metrics, history, load_predictions(logits) if logits.exists() else None)


def epochs_in(folder: Path) -> int:
    """How many epochs of an unfinished training are done; 0 where none was begun."""
    if not (folder / STATE).exists():
        return 0
    # mmap, since VGG16's state has 2.7 GB, of which this needs a few bytes.
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True, mmap=True)
    return len(json.loads(state["history"]))


def prepare_folder(folder: Path, key: str, mode: Mode) -> bool:
    """Makes the folder ready for the run that ``key`` identifies.

    Returns:
        Whether the folder already holds that run, finished.

    Raises:
        UsageError: it holds a run, and the mode is "fresh".
        MerError: it holds another run, and the mode is "resume"; or it cannot be read or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = (folder / _KEY).read_text(encoding="utf-8") if (folder / _KEY).exists() else ""
        held = json.loads(text)["key"] if text else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MerError(f"{folder} cannot be used: {error}") from None
    if held is not None and mode == "fresh":
        raise UsageError(f"{folder} holds a training; resume it, or overwrite it")
    if held is not None and mode == "resume":
        if held != key:
            raise MerError(
                f"{folder} holds another training (other data, split, recipe or network): "
                "remove it, or name another folder"
            )
        return (folder / METRICS).exists() and not (folder / STATE).exists()
    for name in (METRICS, STATE, LOGITS, CHECKPOINT):
        (folder / name).unlink(missing_ok=True)
    write_json({"key": key}, folder / _KEY)
    return False


def _epoch(row: Mapping[str, Any]) -> Epoch:
    """An epoch of metrics.json, where NaN is null."""
    return Epoch(**{name: np.nan if value is None else value for name, value in row.items()})  # pyright: ignore
