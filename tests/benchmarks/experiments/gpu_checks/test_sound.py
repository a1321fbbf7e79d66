"""How far log-mels are apart, in dB, whichever is the louder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from merkit.benchmarks.experiments.gpu_checks.sound import decibels_apart
from merkit.engine.spec import AudioSpec

SPEC = replace(AudioSpec(window_samples=16_000, frames=3, n_mels=2), mean=(0.0,), std=(10.0,))


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_loud_in_its_window_is_told_from_what_is_quiet(sign: int) -> None:
    expected = np.zeros((2, 1, 2, 3), np.float32)
    expected[1] = -20  # another window, 200 dB below
    expected[0, 0, 1, 2] = -9.1  # a cell, 91 dB below the loudest
    made = expected.copy()
    made[1, 0, 0, 0] += sign * np.float32(0.2)
    made[0, 0, 1, 2] += sign * np.float32(0.5)
    assert decibels_apart(made, expected, SPEC) == pytest.approx((2.0, 5.0), rel=1e-3)
