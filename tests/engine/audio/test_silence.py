"""What silence is, and where there is sound, against a plain look at every sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.samples import SampleDecoder
from merkit.engine.audio.silence import (
    ends_of_sound,
    error_from_silence,
    has_pause,
    is_silence,
    sound_in,
)
from merkit.engine.errors import AudioError

RATE = 1_000  # a block of 10 ms is 10 samples
PIECES = st.lists(st.tuples(st.booleans(), st.integers(2, 4_000)), min_size=1, max_size=12)


def pieces(parts: list[tuple[bool, int]], offset: float = 0.0) -> np.ndarray:
    """Sound and silence by turns, as it comes, in samples; both with a constant offset."""
    sound = [np.where(np.arange(n) % 2, 1, -1) * (0.1 if loud else 1e-4) for loud, n in parts]
    return (np.concatenate(sound) + offset).astype(np.float32)


def stretches_of(parts: list[tuple[bool, int]], pause: int) -> list[tuple[int, int]]:
    """The stretches of sound, from the parts themselves."""
    found, end = [], 0
    for loud, n in parts:
        if loud and found and end - found[-1][1] <= pause:
            found[-1] = found[-1][0], end + n
        elif loud:
            found.append((end, end + n))
        end += n
    return found


def whole_blocks(parts: list[tuple[bool, int]]) -> list[tuple[bool, int]]:
    return [(loud, n * 10) for loud, n in parts]


def test_the_level_of_silence() -> None:
    assert is_silence(10 ** (-63 / 20))  # with room for what a codec adds
    assert not is_silence(10 ** (-61 / 20))
    assert not is_silence(float("nan"))
    assert "silent but for sounds that are too short" in str(error_from_silence(0.5))
    assert str(error_from_silence(0.0)) == "is silent: no sample above -100 dB of full scale"
    assert str(error_from_silence(10 ** (-70 / 20))) == (
        "too quiet: its level is at most -70 dB of full scale, and below -62 dB nothing is heard "
        "(raise its level)"
    )


@given(parts=PIECES, pause=st.integers(1, 4_000), offset=st.sampled_from([0.0, 0.02]))
def test_pauses_are_found(parts: list[tuple[bool, int]], pause: int, offset: float) -> None:
    samples = pieces(parts, offset)
    longest = run = 0
    for loud, n in parts:
        run = 0 if loud else run + n
        longest = max(longest, run)
    has = has_pause(samples, RATE, pause / RATE)
    if longest > pause + 20:  # the blocks at its two ends
        assert has
    elif longest < pause - 20:
        assert not has


@given(parts=PIECES, offset=st.sampled_from([0.0, 0.02]))
def test_ends_of_sound(parts: list[tuple[bool, int]], offset: float) -> None:
    first, end = ends_of_sound(pieces(parts, offset), RATE)
    sounding = stretches_of(parts, pause=10**9)
    if not sounding:
        assert (first, end) == (0, 0)
    else:
        assert sounding[0][0] - 10 < first <= sounding[0][0]
        assert sounding[0][1] - 1 <= end < sounding[0][1] + 10


@given(parts=PIECES, pause=st.integers(1, 400), offset=st.sampled_from([0.0, 0.02]))
def test_sound_in_a_file(parts: list[tuple[bool, int]], pause: int, offset: float) -> None:
    parts = whole_blocks(parts)
    samples = pieces(parts, offset)
    sound = sound_in(SampleDecoder(samples, RATE), pause / 100)
    stretches = stretches_of(parts, pause * 10)
    long = [stretch for stretch in stretches if stretch[1] - stretch[0] >= RATE]
    assert list(sound.stretches) == (long or stretches)
    assert sound.searched == len(samples)
    assert sound.loud == sum(count for loud, count in parts if loud)
    assert sound.level == pytest.approx(0.1 if stretches else 1e-4, rel=0.01)


class _Failing(SampleDecoder):
    """Cannot be decoded from sample 15,000 to 25,000: it gives less, or an error."""

    def __init__(self, samples: np.ndarray, error: bool) -> None:
        super().__init__(samples, RATE)
        self._error = error

    def read(self, start: int, count: int) -> np.ndarray:
        broken = max(start, 15_000) < min(start + count, 25_000)
        if broken and self._error:
            raise AudioError("damaged")
        return super().read(start, min(count, max(0, 15_000 - start)) if broken else count)


def test_what_cannot_be_decoded() -> None:
    samples = pieces([(True, 5_000), (False, 10_000), (True, 25_000)])
    # A read is of 10 s: the one after the hole begins at 30 s.
    sound = sound_in(_Failing(samples, False), 2.0)
    assert (sound.stretches, sound.lost) == (((0, 5_000), (30_000, 40_000)), 15_000)
    # Behind an error nobody looks: it counts as sound.
    sound = sound_in(_Failing(samples, True), 2.0)
    assert (sound.stretches, sound.searched) == (((0, 5_000), (10_000, 40_000)), 10_000)
    assert sound.loud == 35_000


def test_half_of_the_budget_is_left() -> None:
    samples = pieces([(True, 5_000), (False, 95_000)])
    budget = Budget(Limits(decoded_samples=40_000))

    class Spending(SampleDecoder):
        def read(self, start: int, count: int) -> np.ndarray:
            budget.spend(count)
            return super().read(start, count)

    sound = sound_in(Spending(samples, RATE), 2.0, budget)
    assert (sound.stretches, sound.searched) == (((0, 5_000), (30_000, 100_000)), 30_000)
    assert sound_in(SampleDecoder(samples, RATE), 2.0, Budget(Limits(seconds=0))).searched == 0
