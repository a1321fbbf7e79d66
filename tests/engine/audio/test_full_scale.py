"""The number that is full scale in sound of floats."""

from __future__ import annotations

import numpy as np
import pytest
from audio_files import noise
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.full_scale import PROBE_SAMPLES, probe_starts, unit_from_blocks, unit_from_integers


def unit_of(sound: np.ndarray) -> float:
    return unit_from_blocks([sound[start : start + PROBE_SAMPLES] for start in probe_starts(len(sound))])


@given(st.floats(-40, 5), st.sampled_from([2.0**15, 2.0**23, 2.0**31]), st.integers(100, 60_000))
def test_units_are_known_from_40_db_below_full_scale_on(level: float, unit: float, length: int) -> None:
    sound = noise(length / 8_000, 8_000) / 0.3 * np.float32(10 ** (level / 20))
    assert unit_of(np.float32(unit) * sound) == unit


@given(st.floats(0, 36))
def test_loud_mixes_stay_as_they_are(level: float) -> None:
    assert unit_of(noise(3, 8_000) / 0.3 * np.float32(10 ** (level / 20))) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_says_nothing(bad: float) -> None:
    sound = noise(3, 8_000)
    sound[::100] = bad
    assert unit_of(sound) == 1
    assert unit_of(sound * 2**15) == 2**15
    assert unit_of(np.full(9_000, bad, np.float32)) == 1


def test_no_unit_explains_it() -> None:
    assert unit_of(noise(3, 8_000) * np.float32(1e20)) == 1
    assert unit_of(np.empty(0, np.float32)) == 1


@given(st.integers(0, 1 << 40))
def test_blocks_lie_in_the_sound(length: int) -> None:
    starts = probe_starts(length)
    assert 1 <= len(starts) <= 8
    assert starts[0] == 0
    assert starts[-1] == max(0, length - PROBE_SAMPLES)


@pytest.mark.parametrize("used", [24, 20, 16])
def test_which_bits_integers_use(used: int) -> None:
    spare = 32 - used
    steps = np.array([-(1 << used - 1), (1 << used - 1) - 1, 5, 0], np.int64)
    low, high = ((steps << shift).astype(np.int32) for shift in (0, spare))
    assert unit_from_integers([low[:2], low[2:]], used) == 2.0**-spare
    assert unit_from_integers([high], used) == 1
    assert unit_from_integers([low, high], used) == 1  # sound of all bits, whatever the file says
    assert unit_from_integers([np.zeros(9, np.int32), np.empty(0, np.int32)], used) == 1
