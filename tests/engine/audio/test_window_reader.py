"""Windows of files with silence or holes in them, against windows of the sound alone."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise, write_audio
from hypothesis import assume, example, given
from hypothesis import strategies as st
from merkit.engine.audio import windows as windows_module
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.samples import SampleDecoder
from merkit.engine.audio.spread import spread_starts
from merkit.engine.audio.window_reader import Window, WindowReader
from merkit.engine.audio.windows import WindowCount, samples_from_decoder, windows_from_decoder
from merkit.engine.errors import AudioError, SilentError
from merkit.engine.spec import AudioSpec
from reading import refusal, windows_from_file

SPEC = AudioSpec()
RATE = SPEC.sample_rate
STEP = 160  # 10 ms: silence is found in blocks of it


def tone(seconds: float) -> np.ndarray:
    """Sound that is loud in every place, and like itself in none."""
    count = np.arange(round(seconds * 100) * STEP)
    return (np.where(count % 2, 1, -1) * (0.2 + count / 2**24)).astype(np.float32)


def silence(seconds: float, level: float = 0.0) -> np.ndarray:
    return level * np.where(np.arange(round(seconds * 100) * STEP) % 3, 1, -1).astype(np.float32)


def windows_of(
    *parts: np.ndarray, windows: WindowCount = 3, spec: AudioSpec = SPEC, hop_s: float | None = None
) -> list[Window]:
    return list(windows_from_decoder(SampleDecoder(np.concatenate(parts), RATE), spec, windows, hop_s))


def starts(windows: list[Window]) -> list[float]:
    return [window.start_s for window in windows]


LENGTHS = st.floats(2.1, 100)


@given(before=LENGTHS, sound=st.floats(1, 100), after=LENGTHS, count=st.integers(1, 6), quiet=st.booleans())
def test_silence_around_a_sound_changes_nothing(before, sound, after, count, quiet) -> None:
    level = 3e-5 if quiet else 0.0  # one step of 16 bits
    x = tone(sound)
    alone = windows_of(x, windows=count)
    for head, tail in ((0, after), (before, 0), (before, after)):
        parts = silence(head, level), x, silence(tail, level)
        total, end = sum(map(len, parts)), len(parts[0]) + len(x)
        places = spread_starts(total, SPEC.window_samples, count)
        pauses = [max(len(parts[0]) - place, place + SPEC.window_samples - end) for place in places]
        if total < SPEC.window_samples or any(abs(pause - 2 * RATE) < 2 * STEP for pause in pauses):
            continue
        found = windows_of(*parts, windows=count)
        if max(pauses) < 2 * RATE:  # nobody looked further
            assert starts(found) == pytest.approx(sorted({place / RATE for place in places}))
            continue
        assert starts(found) == pytest.approx([start + round(head, 2) for start in starts(alone)])
        for ours, theirs in zip(found, alone, strict=True):
            np.testing.assert_array_equal(ours.samples, theirs.samples)


@given(parts=st.lists(st.tuples(LENGTHS, st.floats(1, 60)), min_size=1, max_size=5), count=st.integers(1, 6))
def test_windows_are_never_in_silence_where_there_is_sound(parts, count) -> None:
    sound = np.concatenate([np.concatenate([silence(s), tone(t)]) for s, t in parts])
    found = windows_of(sound, windows=count)
    assert 1 <= len(found) <= count
    assert starts(found) == sorted(set(starts(found)))
    assert starts(found)[-1] * RATE < len(sound)
    for window in found:
        assert not window.silent
        assert np.mean(np.abs(window.samples) < 0.1) <= 0.2 + 1e-6


def test_two_pieces_far_apart() -> None:
    found = windows_of(tone(30), silence(220), tone(20))
    assert starts(found) == pytest.approx([30 / 9 * 2.5 - 5, 20, 250 + 50 * 5 / 6 - 30 - 5], abs=0.01)


@pytest.mark.parametrize("fill", ["repeat", "zeros"])
def test_sound_shorter_than_a_window_is_filled_up(fill) -> None:
    spec = dataclasses.replace(SPEC, short_audio=fill)
    (alone,) = windows_of(tone(5), spec=spec)
    for parts, start_s in (((tone(5), silence(55)), 0), ((silence(20), tone(5), silence(30)), 20)):
        (found,) = windows_of(*parts, spec=spec)
        assert found.start_s == start_s
        np.testing.assert_array_equal(found.samples, alone.samples)
    (short,) = windows_of(tone(2), silence(2), spec=spec)  # of a file that is shorter than a window, too
    np.testing.assert_array_equal(short.samples, windows_of(tone(2), spec=spec)[0].samples)


def test_a_click_is_no_sound_of_its_own() -> None:
    click = tone(0.05)
    found = windows_of(silence(40), click, silence(40), tone(12), silence(9), windows=2)
    assert starts(found) == pytest.approx([80.05, 82.05])
    with pytest.raises(SilentError, match="is silent but for sounds that are too short"):
        windows_of(silence(40), click, silence(40))


@pytest.mark.parametrize(("pause_s", "windows"), [(0.5, 3), (0.5, "all"), (1.7, 3), (9, 3), (9, "all")])
def test_instants_of_sound_are_silence_however_near_each_other(pause_s: float, windows: WindowCount) -> None:
    """A song at the level of silence, whose loudest samples alone are above it."""
    instants = [part for _ in range(6) for part in (silence(pause_s, 7e-4), tone(0.02))]
    with pytest.raises(SilentError, match="is silent but for sounds that are too short"):
        windows_of(silence(20), *instants, silence(20), windows=windows)
    more = [part for _ in range(7) for part in (silence(pause_s, 7e-4), tone(0.02))]  # 0.14 s
    assert windows_of(silence(20), *more, silence(20))


def test_every_window_keeps_its_place_and_silent_ones_have_no_vote() -> None:
    x = tone(24)
    found = windows_of(x, silence(36), windows="all")
    assert starts(found) == [0, 10, 20, 30, 40, 50]
    assert [window.silent for window in found] == [False] * 3 + [True] * 3
    np.testing.assert_array_equal(found[2].samples, np.resize(x[20 * RATE :], 10 * RATE))
    found = windows_of(tone(20.5), silence(29.5), windows="all")
    assert [window.silent for window in found] == [False, False, True, True, True]  # half a second is no vote


def test_sound_between_all_windows_is_looked_for() -> None:
    found = windows_of(silence(20), tone(8), silence(22), windows="all", hop_s=30)
    assert [(window.start_s, window.silent) for window in found] == [
        *[(0, True), (30, True), (40, True), (20, False)]
    ]
    found = windows_of(tone(0.5), silence(7), windows="all")
    assert [(window.start_s, window.silent) for window in found] == [(0, True), (0, False)]


def test_silent_and_too_quiet(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    for windows in (3, "all"):
        with pytest.raises(AudioError, match="is silent: no sample above -100 dB"):
            windows_of(silence(60), windows=windows)
        with pytest.raises(AudioError, match="is silent"):
            windows_of(silence(60) + 0.1, windows=windows)  # a constant is not heard
        with pytest.raises(AudioError, match="too quiet: its level is at most -63 dB of full scale"):
            windows_of(0 * tone(30), silence(30, 10 ** (-63 / 20)), windows=windows)
    assert "too quiet" in refusal(write_audio(path, noise(30, RATE) * 10 ** (-53 / 20), RATE), SPEC)
    assert windows_from_file(write_audio(path, noise(30, RATE) * 10 ** (-45 / 20), RATE), SPEC)


def drift(seconds: float) -> np.ndarray:
    """What moves too slowly to be heard: silence in every 10 ms, though a window of it has a level."""
    return (0.01 * np.sin(0.2 * np.pi * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_a_window_of_subsonic_drift_is_silent_and_costs_no_other() -> None:
    found = windows_of(tone(20), drift(20), windows="all")
    assert [(window.start_s, window.silent) for window in found] == [
        *[(0, False), (10, False), (20, True), (30, True)]
    ]
    assert all(len(window.samples) == SPEC.window_samples for window in found)


@pytest.mark.parametrize("windows", [3, "all"])
@pytest.mark.parametrize("clicks", [0, 1])
def test_nothing_but_subsonic_drift_is_silence_with_a_click_or_without(
    clicks: int, windows: WindowCount
) -> None:
    with pytest.raises(SilentError, match="is silent but for sounds that are too short"):
        windows_of(drift(20), *[tone(0.02)] * clicks, drift(20), windows=windows)


def test_samples_far_beyond_full_scale() -> None:
    class Loud(SampleDecoder):
        gain = 1.0

        def read(self, start: int, count: int) -> np.ndarray:
            return np.sign(super().read(start, count)) * np.float32(self.gain)

    decoder = Loud(tone(12), RATE)
    for decoder.gain in (8_191.75, np.inf):
        with pytest.raises(AudioError) as error:
            list(windows_from_decoder(decoder, SPEC))
        if decoder.gain < np.inf:
            assert "a peak of 8,191.75 where 1 is full scale): divide them by" in str(error.value)
        else:
            assert "not finite" in str(error.value)
    decoder.gain = 99.0
    assert list(windows_from_decoder(decoder, SPEC))


class _Holed(SampleDecoder):
    """Gives no sample of ``holes``, in seconds: what is read ends there."""

    def __init__(self, samples: np.ndarray, *holes: tuple[float, float]) -> None:
        super().__init__(samples, RATE)
        self._holes = [(round(first * RATE), round(end * RATE)) for first, end in holes]

    def read(self, start: int, count: int) -> np.ndarray:
        for first, end in self._holes:
            if start < end and start + count > first:
                count = max(0, first - start)
        return super().read(start, count)


@given(
    seconds=st.integers(20, 120),
    hole=st.tuples(st.floats(0, 0.85), st.floats(0.2, 20)),
    windows=st.integers(1, 6) | st.just("all"),
)
def test_windows_that_can_be_decoded_are_there_the_others_are_not(seconds, hole, windows) -> None:
    x = tone(seconds)
    first, length = hole
    first *= seconds
    end = min(first + length, seconds - 10.5)  # the last window is whole, so that the length is believed
    assume(end > first and windows != 1)
    cut = list(windows_from_decoder(SampleDecoder(x, RATE), SPEC, windows))
    whole = [w for w in cut if w.start_s + 9.9 <= first or w.start_s >= end]
    assume(whole)  # two windows of 23 s may both lie in the hole, which is an error
    found = list(windows_from_decoder(_Holed(x, (first, end)), SPEC, windows))
    assert starts(found) == pytest.approx(starts(whole))
    for ours, theirs in zip(found, whole, strict=True):
        np.testing.assert_array_equal(ours.samples[: RATE * 99 // 10], theirs.samples[: RATE * 99 // 10])


def test_no_window_can_be_decoded() -> None:
    x = tone(60)
    with pytest.raises(AudioError, match="too short"):
        list(windows_from_decoder(_Holed(x, (0, 60)), SPEC, "all"))

    class Nothing(_Holed):
        def measure(self) -> int:
            return self.length

    with pytest.raises(AudioError, match="damaged: no window of its sound can be decoded whole"):
        list(windows_from_decoder(Nothing(x, *[(s, s + 1) for s in range(0, 60, 5)]), SPEC, 3))


def test_a_label_without_a_search_stays_where_the_search_costs_too_much(tmp_path: Path) -> None:
    """The last of three windows is silent, and half of the budget goes for the three."""
    path = write_audio(tmp_path / "a.flac", np.concatenate([noise(70, RATE), silence(30)]), RATE)
    found = windows_from_file(path, SPEC, limits=Limits(decoded_samples=round(31 * RATE)))
    assert [window.silent for window in found] == [False, False, True]
    assert not any(window.silent for window in windows_from_file(path, SPEC))


def test_a_search_that_fails_keeps_what_was_read() -> None:
    class Once(SampleDecoder):
        reads = 0

        def read(self, start: int, count: int) -> np.ndarray:
            self.reads += 1
            if self.reads > 3:
                raise AudioError("damaged")
            return super().read(start, count)

    x = np.concatenate([tone(70), silence(30)])
    found = list(windows_from_decoder(Once(x, RATE), SPEC, 3, budget=Budget(Limits())))
    assert [window.silent for window in found] == [False, False, True]
    with pytest.raises(AudioError, match="is silent"):
        list(windows_from_decoder(Once(silence(100), RATE), SPEC, 3))


@pytest.mark.parametrize(("rate", "suffix"), [(44_100, ".flac"), (48_000, ".ogg"), (11_025, ".wav")])
def test_other_rates(tmp_path: Path, rate: int, suffix: str) -> None:
    x = noise(20, rate)
    alone = windows_from_file(write_audio(tmp_path / f"a{suffix}", x, rate), SPEC)
    zeros = np.zeros(rate * 40, np.float32)
    found = windows_from_file(write_audio(tmp_path / f"b{suffix}", np.concatenate([x, zeros]), rate), SPEC)
    if suffix == ".ogg":  # its codec rings on for some milliseconds
        assert starts(found) == pytest.approx(starts(alone), abs=0.02)
        return
    assert starts(found) == starts(alone)
    for ours, theirs in zip(found, alone, strict=True):
        np.testing.assert_allclose(ours.samples[:-1_000], theirs.samples[:-1_000], atol=1e-3)


def test_a_long_hole_in_an_m4a_is_a_pause(tmp_path: Path) -> None:
    """Hundreds of packets in a row that FFmpeg cannot decode: windows keep clear of it, as of any silence."""
    path = write_audio(tmp_path / "a.m4a", noise(60, 44_100), 44_100)
    data = bytearray(path.read_bytes())
    first, end = len(data) * 45 // 100, len(data) * 55 // 100
    data[first:end] = bytes(end - first)
    path.write_bytes(data)
    found = windows_from_file(path, SPEC)
    assert starts(found) == pytest.approx([4, 17.4, 46], abs=0.1)
    assert all(np.mean(np.abs(window.samples) < 1e-6) < 0.01 for window in found)
    assert starts(windows_from_file(path, SPEC, "all")) == pytest.approx(range(0, 60, 10), abs=0.1)


def test_what_stands_behind_most_of_an_m4a_is_heard(tmp_path: Path) -> None:
    """Zeros where a download of parts has not come yet; an MP3 of this kind is heard too."""
    path = write_audio(tmp_path / "a.m4a", noise(120, 44_100), 44_100)
    data = bytearray(path.read_bytes())
    first, end = len(data) // 20, len(data) * 3 // 4
    data[first:end] = bytes(end - first)
    path.write_bytes(data)
    assert starts(windows_from_file(path, SPEC, "all"))[-1] > 105


class Lying(SampleDecoder):
    """States a length that it has not."""

    def __init__(self, samples: np.ndarray, rate: int, length: int) -> None:
        super().__init__(samples, rate)
        self.length = length


@pytest.mark.parametrize("rate", [44_100, 16_000])
@pytest.mark.parametrize("length", [1 << 36, 1 << 60])
@pytest.mark.parametrize("hop_s", [None, 0.4])
def test_memory_is_that_of_what_was_decoded_whatever_a_header_states(
    rate: int, length: int, hop_s: float | None
) -> None:
    """Of 2^36 samples the list of all starts takes gigabytes."""
    samples = noise(33.05, rate)
    true, lying = SampleDecoder(samples, rate), Lying(samples, rate, length)
    expected = starts(list(windows_from_decoder(true, SPEC, "all", hop_s)))
    tracemalloc.start()
    try:
        assert starts(list(windows_from_decoder(lying, SPEC, "all", hop_s))) == expected
        assert tracemalloc.get_traced_memory()[1] < len(expected) * 1_000_000 + 50_000_000
    finally:
        tracemalloc.stop()
    assert lying.length == true.length


def test_the_samples_of_a_clip_are_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(3, RATE)
    read = samples_from_decoder(Lying(samples, RATE, 1 << 60), SPEC)
    np.testing.assert_array_equal(read, samples)
    monkeypatch.setattr(windows_module, "_LONGEST_CLIP", 2 * RATE)
    with pytest.raises(AudioError, match="too long for a clip: more than 2 s"):
        samples_from_decoder(Lying(samples, RATE, 1 << 60), SPEC)


@given(seconds=st.floats(0.2, 60), hop_s=st.floats(0.05, 30), rate=st.sampled_from([16_000, 44_100, 44_099]))
@example(seconds=10.75, hop_s=0.0625, rate=44_099)  # steps of a second: the nearest is too late
def test_starts_of_every_window(seconds: float, hop_s: float, rate: int) -> None:
    """By hand: whole hops as long as a window fits, and the end where a tenth of a window is left."""
    decoder = SampleDecoder(np.zeros(round(seconds * rate), np.float32), rate)
    every = WindowReader(decoder, SPEC, None).every(hop_s)
    step_s = 1 / math.gcd(rate, RATE)  # in which starts are rounded
    total_s, size_s = decoder.length / rate, SPEC.window_s
    assert every[0] == 0
    assert list(every) == sorted(every)
    hop_s = max(1, round(hop_s * RATE)) / RATE
    last_s = every[len(every) - 1] / RATE  # no later step leaves room for a window
    for number, start in enumerate(every[number] for number in range(len(every) - 1)):
        assert start / RATE == pytest.approx(min(number * hop_s, last_s), abs=step_s / 2 + 1e-4)
    end_s = every[len(every) - 1] / RATE + size_s
    assert end_s <= max(size_s, total_s) + 1e-4
    assert total_s - end_s < max(0.1 * size_s, step_s) + 1e-3
