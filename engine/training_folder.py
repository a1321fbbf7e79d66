"""A folder that is taken for a training's and holds no network itself: what it is, what to name instead."""

from __future__ import annotations

import shlex
from pathlib import Path

from .errors import UsageError

CHECKPOINT = "checkpoint.safetensors"
"""A network in the folder of its training."""

_DEEPEST = 2  # folders between: a network's and a split's. It may be anyone's folder, with no end below it
_MOST = 3  # names in a line


def no_training(folder: Path) -> UsageError:
    """The error of such a folder."""
    if folds := sorted(folder.glob(f"fold-*/{CHECKPOINT}")):
        return UsageError(
            f"{folder} is a cross-validation without --final: its mer-train command with --resume --final "
            f"makes a network of it; or name one of its folds, such as {shlex.quote(str(folds[0].parent))}"
        )
    if names := _trainings(folder):
        more = [f"{len(names) - _MOST} more"] if len(names) > _MOST else []
        *first, last = [*names[:_MOST], *more]
        listed = f"{', '.join(first)} and {last}" if first else last
        path = shlex.quote(str(folder / names[0]))
        return UsageError(f"{folder} holds trainings in {listed}: name one of them, such as {path}")
    return UsageError(f"{folder} is a folder, and no training's: it holds no {CHECKPOINT}")


def _trainings(folder: Path) -> list[str]:
    """The trainings and cross-validations below, as they are named from there."""
    places = {path.parent for n in range(_DEEPEST) for path in folder.glob(f"{'*/' * (n + 1)}{CHECKPOINT}")}
    runs = {place.parent if _is_part(place.name) else place for place in places}
    return sorted(run.relative_to(folder).as_posix() for run in runs)


def _is_part(name: str) -> bool:
    """Whether it is the folder of one network of a cross-validation."""
    return name == "final" or name.startswith("fold-")
