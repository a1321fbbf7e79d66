"""The mix of channels: the mean, ITU weights, and channels that cancel out."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from audio_files import noise
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.channels import channel_names, mono_from_two, two_from_channels

HALF_POWER = 0.5**0.5


def mono_from_channels(block: np.ndarray, names: tuple[str, ...] = ()) -> np.ndarray:
    return mono_from_two(two_from_channels(block, names))


def unlike(count: int) -> np.ndarray:
    return np.stack([noise(1, 16_000, seed) for seed in range(count)], axis=1)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_mix_is_the_mean(channels: int) -> None:
    block = unlike(channels)
    mono = mono_from_channels(block)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, block.mean(axis=1), atol=1e-6)


@given(st.floats(-0.99, -0.4), st.booleans(), st.sampled_from([1_000, 16_000]))
def test_channels_in_antiphase_are_heard(gain: float, swapped: bool, length: int) -> None:
    left = noise(1, length)
    block = np.stack([left, np.float32(gain) * left], axis=1)
    np.testing.assert_array_equal(mono_from_channels(block[:, ::-1] if swapped else block), left)


def test_an_offset_does_not_hide_antiphase() -> None:
    left = 0.1 * noise(1, 16_000) + np.float32(0.02)
    right = np.float32(0.004) - left
    np.testing.assert_array_equal(mono_from_channels(np.stack([left, right], axis=1)), left)
    other = noise(1, 16_000, 1)
    unlike = np.stack([left + np.float32(0.5), other - np.float32(0.5)], axis=1)
    np.testing.assert_allclose(mono_from_channels(unlike), (left + other) / 2, atol=1e-6)


def test_the_bass_of_a_room_with_a_ceiling_is_left_out() -> None:
    names = ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR", "TFL", "TFR", "TBL", "TBR")
    block = np.zeros((16_000, len(names)), np.float32)
    block[:, 0], block[:, 3] = noise(1, 16_000), 1.0
    np.testing.assert_allclose(mono_from_channels(block, names), block[:, 0] / 2, atol=1e-6)


def test_antiphase_is_of_the_whole_window_not_of_a_moment() -> None:
    left = noise(1, 16_000)
    right = left.copy()
    right[:2_000] *= -1
    np.testing.assert_allclose(mono_from_channels(np.stack([left, right], axis=1)), (left + right) / 2)


def test_of_two_that_are_equally_loud_the_left_one_is_heard() -> None:
    """The rounding of 16 bits makes one of them louder by less than nothing, now this one, now that one."""
    left = noise(1, 16_000)
    for factor in (0.999, 1.001):
        np.testing.assert_array_equal(
            mono_from_channels(np.stack([left, -np.float32(factor) * left], 1)), left
        )


def test_silence_and_what_is_not_finite_pass() -> None:
    assert not mono_from_channels(np.zeros((9_000, 2), np.float32)).any()
    for bad, channels in itertools.product((np.nan, np.inf, -np.inf, 1e30, 3e38), (2, 6)):
        block = np.full((9_000, channels), bad, np.float32)
        with warnings.catch_warnings(action="error"):
            mono = mono_from_channels(block, channel_names(channels))
        assert not np.abs(mono).max() < 1e29


@pytest.mark.parametrize("channels", range(3, 9))
@pytest.mark.parametrize("order", ["wav", "vorbis", "alac"])
def test_a_stereo_song_sounds_alike_in_a_room_of_loudspeakers(channels: int, order: Any) -> None:
    names = channel_names(channels, order)
    assert len(names) == channels
    stereo = unlike(2)
    block = np.zeros((len(stereo), channels), np.float32)
    block[:, names.index("FL")], block[:, names.index("FR")] = stereo.T
    np.testing.assert_allclose(mono_from_channels(block, names), stereo.mean(axis=1), atol=1e-6)


def test_the_weights_are_itus() -> None:
    left, right, centre, bass, back_left, back_right = unlike(6).T
    block = np.stack([left, right, centre, bass, back_left, back_right], axis=1)
    two = two_from_channels(block, channel_names(6))
    np.testing.assert_allclose(two[:, 0], left + HALF_POWER * (centre + back_left), atol=1e-6)
    np.testing.assert_allclose(two[:, 1], right + HALF_POWER * (centre + back_right), atol=1e-6)


@pytest.mark.parametrize("channels", [3, 5, 9, 64])
def test_channels_without_places_are_averaged_by_side(channels: int) -> None:
    block = unlike(channels)
    for names in ((), ("FL", "FR", "?")):
        two = two_from_channels(block, names)
        np.testing.assert_allclose(two[:, 0], block[:, 0::2].mean(axis=1), atol=1e-6)
        np.testing.assert_allclose(two[:, 1], block[:, 1::2].mean(axis=1), atol=1e-6)
