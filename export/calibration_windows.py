"""Are these windows enough music to calibrate INT8 on?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..engine.arrays import Float32
from ..engine.spec import AudioSpec

FEWEST_WINDOWS = 64
"""With fewer, the extremes of a few songs would be taken for those of all music."""

_LEAST_CHANGE_DB = 1.0  # on average over an image; between windows of music it is about ten


def distinct_windows(log_mels: Float32) -> Float32:
    """The windows ``[windows, 1, mels, frames]`` without those that are the same as an earlier one."""
    first: dict[bytes, int] = {}
    for i, window in enumerate(log_mels):
        first.setdefault(window.tobytes(), i)
    return log_mels[list(first.values())]


def weakness_of(log_mels: Float32, spec: AudioSpec, files: int | None) -> str:
    """Why ranges of these windows may not hold for other music; empty where nothing speaks against them.

    Args:
        log_mels: distinct windows ``[windows, 1, mels, frames]``.
        files: of how many songs they are; None where that is not known.
    """
    return "; ".join(_weaknesses(log_mels, spec, files))


def _weaknesses(log_mels: Float32, spec: AudioSpec, files: int | None) -> Iterator[str]:
    if len(log_mels) < FEWEST_WINDOWS:
        yield f"{len(log_mels)} different windows, and {FEWEST_WINDOWS} or more are needed"
    if files == 1:
        yield "all windows are of one song"
    decibels = np.asarray(spec.std, np.float32).reshape(1, -1, 1)
    between = (log_mels.std(axis=0) * decibels).mean()
    within = (log_mels - log_mels.mean(axis=(2, 3), keepdims=True)).std() * decibels.mean()
    if not min(between, within) >= _LEAST_CHANGE_DB:
        yield "the windows hardly differ, or hardly change"
