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
