"""Sounds that are no music: what they must be, whatever the random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from merkit.training.data.non_music import NON_MUSIC, non_music, sounds_that_are_no_music

RATE = 16_000


@pytest.mark.parametrize("kind", NON_MUSIC)
def test_every_kind_sounds_and_is_not_clipped(kind: str) -> None:
    for seed in range(3):
        sound = non_music(NON_MUSIC[kind], RATE, 1.0, np.random.default_rng(seed))
        assert sound.dtype == np.float32
        assert sound.shape == (RATE,)
        peak = np.abs(sound).max()  # a hiss below it adds a little
        assert 10 ** (-46 / 20) < peak < 10 ** (-1 / 20)


def test_the_kinds_take_turns_and_come_again() -> None:
    count = len(NON_MUSIC) + 1
    sounds = list(sounds_that_are_no_music(count, RATE, 0.5, seed=4))
    again = list(sounds_that_are_no_music(count, RATE, 0.5, seed=4))
    np.testing.assert_array_equal(sounds, again)
    assert len({sound.tobytes() for sound in sounds}) == count  # the first kind's second sound is another
    other = next(sounds_that_are_no_music(1, RATE, 0.5, seed=5))
    assert other.tobytes() != sounds[0].tobytes()


def test_noise_has_the_slope_of_its_colour() -> None:
    """Power by frequency: a tenth of the frequency has ten times the power in pink noise."""
    from merkit.training.data.non_music import _noise

    for slope in (0.0, 1.0, 2.0):
        power = np.abs(np.fft.rfft(_noise(np.random.default_rng(0), 1 << 16, slope))) ** 2
        low, high = power[600:700].mean(), power[6_000:7_000].mean()
        assert 10 * np.log10(low / high) == pytest.approx(10 * slope, abs=1.5)


@pytest.mark.parametrize("rate", [500, 1_000, 3_000])
def test_low_sample_rates_have_every_kind_too(rate: int) -> None:
    """Whose highest frequencies lie below the lowest of some kinds."""
    sounds = list(sounds_that_are_no_music(3 * len(NON_MUSIC), rate, 1.0))
    assert all(np.isfinite(sound).all() and sound.any() for sound in sounds)
