"""The epochs of a training for TensorBoard, where that is installed."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from ..fit.trainer import Epoch

_FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate")


def tensorboard_in(folder: Path) -> Callable[[Epoch], None]:
    """What writes an epoch's figures to ``folder/tensorboard``; nothing is written without the package."""
    package = find_spec("tensorboard")
    if package is None or package.origin is None:  # a folder of that name, as this makes one, is no package
        return lambda row: None
    from torch.utils.tensorboard import SummaryWriter

    def write(row: Epoch) -> None:
        # Opened anew for each epoch: a training that is killed leaves whole files.
        with SummaryWriter(str(folder / "tensorboard"), purge_step=row.epoch) as writer:
            for name in _FIGURES:
                value = getattr(row, name)
                if math.isfinite(value):
                    writer.add_scalar(name, value, row.epoch)

    return write
