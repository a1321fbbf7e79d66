"""Between which numbers a training can be set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..engine.errors import UsageError

_SEED = (0, 2**32 - 2)  # scikit-learn's are below 2**32, and a validation part is drawn with the next one
_RANGES: Mapping[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (2, 65_536),  # BatchNorm needs two
    "learning_rate": (1e-9, 10),
    "weight_decay": (0, 10),
    "warmup": (0, 0.9),
    "label_smoothing": (0, 0.9),
    "tag_weight": (0, 1_000),
    "distill": (0, 1),
    "embedding_weight": (0, 1_000),
    "unlabelled_share": (0, 100),
    "pretrain": (0, 10_000_000),
    "mixup": (0, 100),
    "gain_db": (0, 120),
    "stretch": (0, 0.9),
    "pitch_mels": (0, 1_000),
    "filter_db": (0, 120),
    "highpass": (0, 1),
    "guard": (0, 1_000),
    "lowpass": (0, 1),
    "noise": (0, 1),
    "codec": (0, 1),
    "ema": (0, 0.99999),
    "patience": (0, 100_000),
    "eval_windows": (1, 10_000),
    "train_windows": (0, 10_000),
    "seed": _SEED,
    "split_seed": _SEED,
    "test_share": (0.01, 0.9),
    "validation_share": (0, 0.9),
}
"""From and to, both included. Beyond them nothing is learnt, or numbers overflow."""


def check_ranges(settings: Any) -> None:
    """Checks the fields of a dataclass that are named here.

    Raises:
        UsageError: one is out of its range.
    """
    for field in dataclasses.fields(settings):
        low, high = _RANGES.get(field.name, (0, 0))
        value = getattr(settings, field.name)
        if field.name in _RANGES and not low <= value <= high:  # NaN is in no range
            raise UsageError(f"{field.name} must be from {low} to {high}")
