"""Sound that is made up. By itself: what reads files must not be installed for it."""

from __future__ import annotations

import numpy as np

from ....engine.arrays import Float32
from ....engine.spec import AudioSpec


def generated(spec: AudioSpec, count: int) -> Float32:
    """Windows of tones over noise, all different; float32 ``[count, window_samples]``."""
    rng = np.random.default_rng(0)
    t = np.arange(spec.window_samples) / spec.sample_rate
    tones = np.stack([np.sin(2 * np.pi * hz * t) for hz in rng.uniform(80, 2_000, count)])
    return (0.4 * tones + 0.05 * rng.standard_normal(tones.shape)).astype(np.float32)


def decibels_apart(made: Float32, expected: Float32, spec: AudioSpec) -> tuple[float, float]:
    """The largest differences of log-mels ``[n, 1, mels, frames]``, in dB.

    Returns:
        Of the cells up to 90 dB below the loudest of their window, which float32 computes well; and of all.
    """
    std = np.asarray(spec.std, np.float32)[:, None]  # log-mels are standardised: back to dB
    difference, level = np.abs((made - expected) * std), expected * std
    ordinary = level >= level.max((1, 2, 3), keepdims=True) - 90
    return float(difference[ordinary].max()), float(difference.max())
