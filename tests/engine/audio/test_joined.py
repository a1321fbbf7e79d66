"""Parts of other rates, one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from audio_files import Samples, noise
from merkit.engine.audio.joined import JoinedDecoder
from merkit.engine.audio.samples import SampleDecoder

RATES = (22_050, 48_000, 44_100, 48_000)


@pytest.fixture(scope="module")
def sounds() -> list[Samples]:
    return [noise(seconds, rate, rate) for seconds, rate in zip((2, 3, 1.5, 1), RATES, strict=True)]


@pytest.fixture
def decoder(sounds: list[Samples]) -> JoinedDecoder:
    return JoinedDecoder([SampleDecoder(sound, rate) for sound, rate in zip(sounds, RATES, strict=True)])


@pytest.fixture(scope="module")
def whole(sounds: list[Samples]) -> Samples:
    """All parts, each resampled as a whole."""
    return np.concatenate(
        [soxr.resample(sound, rate, 48_000, quality="HQ") for sound, rate in zip(sounds, RATES, strict=True)]
    )


def test_the_highest_rate_is_that_of_all(decoder: JoinedDecoder, whole: Samples) -> None:
    assert decoder.sample_rate == 48_000
    assert decoder.length == len(whole) == 7.5 * 48_000
    assert decoder.measure() == len(whole)
    np.testing.assert_allclose(decoder.read(0, decoder.length), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("start", "count"),
    [(0, 1), (95_990, 20), (40_001, 100_003), (100_000, 48_000), (230_000, 90_000), (95_999, 1), (96_000, 1)],
)
def test_a_window_is_whole_wherever_it_begins(
    decoder: JoinedDecoder, whole: Samples, start: int, count: int
) -> None:
    np.testing.assert_allclose(decoder.read(start, count), whole[start : start + count], atol=1e-5)


def test_where_the_file_ends(decoder: JoinedDecoder, whole: Samples) -> None:
    np.testing.assert_allclose(decoder.read(decoder.length - 50, 90), whole[-50:], atol=1e-5)
    assert not len(decoder.read(decoder.length, 1))
    assert not len(decoder.read(decoder.length + 10, 1))


def test_lengths_that_are_no_whole_number_at_the_highest_rate() -> None:
    parts = [SampleDecoder(np.ones(1_000 + i, np.float32), 11_025) for i in range(9)]
    decoder = JoinedDecoder([*parts, SampleDecoder(np.ones(1_000, np.float32), 48_000)])
    samples = decoder.read(0, decoder.length)
    assert len(samples) == decoder.length
    assert decoder.length == pytest.approx(9_036 * 48_000 / 11_025 + 1_000, abs=9)


class BrokenDecoder(SampleDecoder):
    closed = 0

    def read(self, start: int, count: int) -> Samples:
        return super().read(start, min(count, 100))

    def tags(self) -> dict[str, str]:
        return {"title": "One"}

    def close(self) -> None:
        BrokenDecoder.closed += 1


def test_a_part_that_cannot_be_decoded_ends_what_is_read() -> None:
    decoder = JoinedDecoder([BrokenDecoder(np.ones(1_000, np.float32), rate) for rate in (8_000, 16_000)])
    assert 0 < len(decoder.read(0, 2_000)) <= 200
    assert len(decoder.read(2_000, 500)) == 100
    assert decoder.tags() == {"title": "One"}
    decoder.close()
    assert BrokenDecoder.closed == 2


class CutDecoder(SampleDecoder):
    """Its header states ``stated`` samples."""

    def __init__(self, samples: Samples, rate: int, stated: int) -> None:
        super().__init__(samples, rate)
        self.length = stated

    def measure(self) -> int:
        self.length = len(self._array)
        return self.length


@pytest.mark.parametrize("behind", [[], [CutDecoder(noise(1, RATES[1])[:0], RATES[1], 70_000)]])
def test_a_hole_does_not_end_what_is_measured(sounds: list[Samples], behind: list[CutDecoder]) -> None:
    cut = [CutDecoder(sound, rate, 5 * rate) for sound, rate in zip(sounds, RATES, strict=True)]
    decoder = JoinedDecoder([*cut, *behind])
    assert decoder.measure() == decoder.length == 3 * 5 * 48_000 + len(sounds[3])
    np.testing.assert_array_equal(decoder.read(15 * 48_000, 90_000), sounds[3])
    np.testing.assert_array_equal(decoder.read(5 * 48_000, 48_000), sounds[1][:48_000])
