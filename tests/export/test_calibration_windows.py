"""Windows that are too few, or too much alike, to stand for all music."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from merkit.engine.spec import AudioSpec
from merkit.export.calibration_windows import FEWEST_WINDOWS, distinct_windows, weakness_of

SPEC = AudioSpec(window_samples=16_000, frames=32, n_mels=32)
MUSIC = np.random.default_rng(0).normal(-30, 10, (64, 1, 32, 32)).astype(np.float32)  # dB


def test_each_window_counts_once() -> None:
    twice = np.concatenate([MUSIC[:3], MUSIC[1:2], MUSIC[:1], MUSIC[3:4]])
    np.testing.assert_array_equal(distinct_windows(twice), MUSIC[:4])


def test_enough_varied_windows_are_well() -> None:
    assert len(MUSIC) == FEWEST_WINDOWS
    assert weakness_of(MUSIC, SPEC, 20) == weakness_of(MUSIC, SPEC, None) == ""


def test_what_is_too_little_is_said() -> None:
    assert weakness_of(MUSIC[:44], SPEC, 20) == "44 different windows, and 64 or more are needed"
    assert weakness_of(MUSIC, SPEC, 1) == "all windows are of one song"
    assert weakness_of(MUSIC[:1], SPEC, 1).count("; ") == 2


@pytest.mark.parametrize(
    "windows",
    [
        np.full((64, 1, 32, 32), -60, np.float32),  # silence
        np.broadcast_to(np.arange(64, dtype=np.float32)[:, None, None, None], (64, 1, 32, 32)),  # levels
        MUSIC[:1] + np.random.default_rng(1).normal(0, 0.1, (64, 1, 1, 1)).astype(np.float32),  # one tone
    ],
)
def test_windows_that_hardly_vary_are_said_whatever_the_units_are(windows: np.ndarray) -> None:
    assert "hardly" in weakness_of(windows, SPEC, None)
    standardised = dataclasses.replace(SPEC, mean=(-30.0,), std=(10.0,))
    assert "hardly" in weakness_of(((windows + 30) / 10).astype(np.float32), standardised, None)
    assert weakness_of(((MUSIC + 30) / 10).astype(np.float32), standardised, None) == ""
