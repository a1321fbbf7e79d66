"""Samples in half the bytes: int16, with a scale for each window, so that none is clipped."""

from __future__ import annotations

import numpy as np

from ..arrays import Float32, Int16

_LARGEST = np.float32(32_766.5)  # of int16's 32,767: a peak is rounded to it, and never beyond


def packed_from_samples(samples: Float32) -> tuple[Int16, np.float32]:
    """A window ``[samples]`` as int16, and its scale: a sample is its number times that, within half of it.

    The loudest sample becomes nearly 32,767 in size, however loud or quiet it is.
    """
    peak = max(samples.max(), -samples.min())
    scale = max(peak / _LARGEST, np.finfo(np.float32).tiny)
    scaled = samples * (np.float32(1) / scale)
    np.rint(scaled, out=scaled)
    return scaled.astype(np.int16), np.float32(scale)


def samples_from_packed(packed: Int16, scales: Float32) -> Float32:
    """The inverse for windows ``[windows, samples]`` and their scales ``[windows]``."""
    return packed * np.asarray(scales, np.float32)[:, None]
