"""Samples in memory, read as a decoder reads a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from audio_files import noise
from merkit.engine.audio.samples import SampleDecoder
from merkit.engine.errors import AudioError


def test_floats_stay_what_they_are() -> None:
    samples = np.linspace(-1, 1, 1_000, dtype=np.float32)
    decoder = SampleDecoder(samples, 22_050)
    assert (decoder.sample_rate, decoder.length, decoder.measure(), decoder.tags()) == (
        22_050,
        1_000,
        1_000,
        {},
    )
    part = decoder.read(100, 200)
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, samples[100:300])
    assert len(decoder.read(990, 200)) == 10
    assert len(decoder.read(1_000, 1)) == 0
    np.testing.assert_array_equal(SampleDecoder(samples.astype(np.float64), 22_050).read(0, 1_000), samples)
    decoder.close()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_integers_are_scaled_by_their_range(dtype: npt.DTypeLike) -> None:
    limits = np.iinfo(dtype)
    samples = np.array([limits.min, limits.min // 2, 0, limits.max], dtype)
    expected = [-1, -0.5, 0, limits.max / -float(limits.min)]
    np.testing.assert_allclose(SampleDecoder(samples, 16_000).read(0, 4), expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "bits", "fills"), [(np.int32, 32, 16), (np.int64, 64, 16), (np.int64, 64, 32)]
)
def test_integers_that_do_not_fill_their_type_are_refused(
    dtype: npt.DTypeLike, bits: int, fills: int
) -> None:
    """What ``list`` and ``astype`` make of narrower ones would be silence."""
    full = 2 ** (fills - 1)
    for samples in ([0, 100, -full], [full - 1, 0, -3], [[full, 0], [0, 1]]):
        with pytest.raises(AudioError, match=f"of {bits} bits that fill only {fills}: .* to int{fills}"):
            SampleDecoder(np.array(samples, dtype), 16_000)
    for samples in ([0, 0], [0, -(2 ** (bits - 2))], []):  # silence is silence, in any type
        SampleDecoder(np.array(samples, dtype), 16_000)


def test_silence_of_eight_unsigned_bits_is_128() -> None:
    samples = np.array([0, 64, 128, 255], np.uint8)
    np.testing.assert_array_equal(SampleDecoder(samples, 8_000).read(0, 4), [-1, -0.5, 0, 127 / 128])


def test_channels_are_mixed() -> None:
    samples = np.array([[1.0, 0.0], [-1.0, 0.0]])
    decoder = SampleDecoder(samples, 16_000)
    assert decoder.length == 2
    np.testing.assert_allclose(decoder.read(0, 2), [0.5, -0.5], atol=1e-7)
    np.testing.assert_array_equal(SampleDecoder([0.5, 0.25], 16_000).read(0, 2), [0.5, 0.25])


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (0.5, 16_000, r"not \[\]"),
        (np.zeros((2, 2, 2)), 16_000, r"not \[2, 2, 2\]"),
        (np.zeros((2, 0)), 16_000, r"not \[2, 0\]"),
        (np.zeros(9, np.uint16), 16_000, "not uint16"),
        (np.zeros(9, bool), 16_000, "not bool"),
        (np.zeros(9, complex), 16_000, "not complex128"),
        (["a", "b"], 16_000, "samples must be floats"),
        (np.zeros(9), 0, "sample_rate must be above 0, not 0"),
        (np.zeros(9), -1, "sample_rate must be above 0, not -1"),
        (np.zeros(9), float("inf"), "sample_rate must be a number of Hz, not inf"),
        (np.zeros(9), float("nan"), "sample_rate must be a number of Hz, not nan"),
        (np.zeros(9), "44100", "sample_rate must be a number of Hz, not '44100'"),
        (np.zeros(9), True, "sample_rate must be a number of Hz, not True"),
        (np.zeros(9), np.True_, "sample_rate must be a number of Hz, not"),
        (np.zeros(9), 0.5, "sample_rate must be at least 1, not 0.5"),
        (np.zeros(9), 44_100.9, "sample_rate must be a whole number of Hz, not 44100.9"),
        (np.zeros(9), 10**29, "sample_rate must be at most 1,000,000, not 1000"),
        (np.zeros(9), 10**400, "sample_rate must be at most 1,000,000, not 1000"),
        (np.zeros(9), None, "sample_rate must be a number of Hz, not None"),
        (np.zeros((2, 65)), 16_000, r"must be \[samples, channels\], not \[2, 65\]: transpose them"),
    ],
)
def test_what_are_no_samples(samples: npt.ArrayLike, rate: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SampleDecoder(samples, rate)


@pytest.mark.parametrize("shape", [(2, 3), (2, 64), (100, 100)])
def test_few_samples_of_many_channels_are_samples(shape: tuple[int, int]) -> None:
    assert SampleDecoder(np.zeros(shape), 16_000).length == shape[0]


def test_channels_in_antiphase_are_heard() -> None:
    left = noise(1, 16_000)
    decoder = SampleDecoder(np.stack([left, -0.9 * left], axis=1), 16_000)
    np.testing.assert_array_equal(decoder.read(100, 8_000), left[100:8_100])


@pytest.mark.parametrize("unit", [2**15, 2**23, 2**31])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_in_units_of_integers_are_scaled(unit: int, dtype: npt.DTypeLike) -> None:
    sound = noise(3, 16_000)
    sound[:16_000] *= np.float32(1e-3)  # a quiet passage is scaled as the rest is
    decoder = SampleDecoder((sound * unit).astype(dtype), 16_000)
    np.testing.assert_allclose(decoder.read(0, 48_000), sound, rtol=1e-6)


@pytest.mark.parametrize("peak", [1.0, 10.0, 60.0, 1e12])
def test_other_floats_are_not_scaled(peak: float) -> None:
    sound = (noise(3, 16_000) / 0.3 * peak).astype(np.float32)
    np.testing.assert_array_equal(SampleDecoder(sound, 16_000).read(0, 48_000), sound)


def test_samples_in_memory_that_are_not_finite_are_no_damage() -> None:
    samples = noise(3, 16_000)
    samples[20_000] = np.nan
    decoder = SampleDecoder(samples, 16_000)
    assert len(decoder.read(0, 20_000)) == 20_000
    with pytest.raises(AudioError, match="not finite"):
        decoder.read(0, 20_001)
