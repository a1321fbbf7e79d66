"""The folder of a training: what it holds, what that came to, and whether there is anything left to do."""

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

CHECKPOINT, METRICS, CARD = "checkpoint.safetensors", "metrics.json", "card.md"
STATE, _KEY, LOGITS = "state.pt", "run.json", "logits.npz"


@dataclass(frozen=True)
class Outcome:
    """A finished training: its folder, metrics (as in metrics.json), history and test predictions."""

    folder: Path
    metrics: Mapping[str, Any]
    history: tuple[Epoch, ...]
    predictions: Predictions | None


def outcome_from_folder(folder: Path) -> Outcome:
    """What a finished training, or a cross-validation, left behind.

    Raises:
        MerError: the folder holds neither.
    """
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MerError(f"{folder} holds no finished training: {error}") from None
    history = tuple(_epoch(row) for row in metrics.get("history", ()))
    logits = folder / LOGITS
    return Outcome(folder, metrics, history, load_predictions(logits) if logits.exists() else None)


def epochs_in(folder: Path) -> int:
    """How many epochs an unfinished training has behind it."""
    if not (folder / STATE).exists():
        return 0
    # mmap: VGG16's state is 2.7 GB, and only a few bytes of it are wanted.
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True, mmap=True)
    return len(json.loads(state["history"]))


def _epoch(row: Mapping[str, Any]) -> Epoch:
    return Epoch(**{name: np.nan if value is None else value for name, value in row.items()})  # pyright: ignore


def prepared(folder: Path, key: str, mode: Mode) -> bool:
    """Whether there is nothing left to do; refuses a folder that holds something else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = (folder / _KEY).read_text(encoding="utf-8") if (folder / _KEY).exists() else ""
        held = json.loads(text)["key"] if text else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MerError(f"{folder} cannot be used: {error}") from None
    if held is not None and mode == "fresh":
        raise UsageError(f"{folder} holds a training; --resume goes on with it, --overwrite begins anew")
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
