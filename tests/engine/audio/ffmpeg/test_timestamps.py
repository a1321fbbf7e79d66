"""Positions of frames whose times are rounded, late, missing, or those of another stream."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from audio_files import noise
from ffmpeg_files import decoder, place_of, write
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.ffmpeg.timestamps import Frame, Timeline, first_frames, timed_alike, true_tick

RATE = 44_100
MILLISECOND = 1e-3


def frames(
    sizes: Sequence[int], start: int = 0, tick_s: float = MILLISECOND, origin_s: float = 0.0
) -> list[Frame]:
    """Consecutive frames whose first stands at sample ``start``, with times rounded to ticks."""
    starts = start + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return [
        (round((position / RATE + origin_s) / tick_s), (np.zeros(size, np.float32),), RATE, False)
        for position, size in zip(starts, sizes, strict=True)
    ]


def timeline(sizes: Sequence[int], tick_s: float = MILLISECOND, origin_s: float = 0.0) -> Timeline:
    first = first_frames(frames(sizes, 0, tick_s, origin_s), tick_s * RATE)
    return Timeline(RATE, tick_s, first)


def place_all(line: Timeline, placed: Sequence[Frame]) -> list[int]:
    return [line.place(pts, len(channels[0]), lost) for pts, channels, _, lost in placed]


@pytest.mark.parametrize("size", [40, 1_024, 1_152, 2_048, 4_608])
def test_frames_follow_one_another_whatever_ticks_round(size: int) -> None:
    sizes = [size] * 400
    assert place_all(timeline(sizes), frames(sizes)) == list(range(0, 400 * size, size))


@given(
    size=st.sampled_from([40, 576, 960, 1_024, 1_152, 1_764, 4_096]),
    number=st.integers(1, 100_000),
    phase=st.integers(0, 500),
    origin_s=st.floats(0, 100),
)
def test_after_a_seek_frames_of_one_size_stand_on_their_grid(
    size: int, number: int, phase: int, origin_s: float
) -> None:
    begin = [size - min(phase, size - 1)] + [size] * 40  # a first frame is shorter where priming is cut off
    line = timeline(begin, origin_s=origin_s)
    start = begin[0] + number * size
    late = first_frames(frames([size] * 40, start, origin_s=origin_s), MILLISECOND * RATE)
    assert line.position(late) == start


@given(number=st.integers(0, 100_000), seed=st.integers(0, 99))
def test_after_a_seek_frames_of_many_sizes_are_within_two_milliseconds(number: int, seed: int) -> None:
    sizes = np.random.default_rng(seed).choice([128, 576, 1_024], 80).tolist()
    line = timeline(sizes)
    late = first_frames(frames(sizes[40:], number), MILLISECOND * RATE)
    assert abs(line.position(late) - number) < 88


@given(number=st.integers(0, 100_000), which=st.sets(st.integers(0, 31), max_size=31))
def test_times_that_are_late_by_a_block_move_nothing_in_milliseconds_either(
    number: int, which: set[int]
) -> None:
    """Ogg Vorbis that was copied to Matroska: late where blocks change their size, then rounded."""
    sizes = [1_024, 576, 128, 128, 576, 1_024, 1_024, 576] * 8
    line = timeline(sizes)
    exact = frames(sizes, number)
    late = [(frame[0] or 0) + (10 if i in which else 0) for i, frame in enumerate(exact)]
    moved = [(pts, *frame[1:]) for pts, frame in zip(late, exact, strict=True)]
    assert abs(line.position(first_frames(moved, MILLISECOND * RATE)) - number) < 88


def test_frames_of_a_camera_are_exact_though_of_two_sizes() -> None:
    sizes = [1_471, 1_472] * 40  # 29.97 a second at 44.1 kHz
    line = timeline(sizes)
    late = first_frames(frames(sizes, 1_000_003), MILLISECOND * RATE)
    assert abs(line.position(late) - 1_000_003) <= 1


def test_times_of_ogg_vorbis_are_never_early() -> None:
    sizes = [1_024, 576, 128, 128, 576, 1_024, 1_024, 576, 128]
    exact = frames(sizes, 500_000, 1 / RATE)
    late = [
        (pts + (448 if i % 2 == 0 else 0), *rest) for i, (pts, *rest) in enumerate(exact) if pts is not None
    ]
    line = timeline(sizes, 1 / RATE)
    assert line.position(late) == 500_000  # pyright: ignore[reportArgumentType]


def test_a_gap_is_silence_and_less_than_that_is_none() -> None:
    line = timeline([1_024] * 9)
    assert [line.place(pts, 1_024) for pts in (0, 23, 46, 160)] == [0, 1_024, 2_048, 3_072]
    assert line.place(5_000, 1_024) == pytest.approx(5 * RATE, abs=1.25 * 44.1)
    assert line.place(5_023, 1_024) == pytest.approx(5 * RATE + 1_024, abs=1.25 * 44.1)
    assert not line.joined


def all_placed(line: Timeline, late_s: Sequence[float], size: int = 960) -> list[int]:
    times = [i * size / RATE + late for i, late in enumerate(late_s)]
    items = [(round(time / MILLISECOND), size, False, None) for time in times]
    return [position for position, _ in line.placed(items)]


@pytest.mark.parametrize("step_s", [0.15, 0.2, 0.4])
def test_times_in_coarse_steps_make_no_gap(step_s: float) -> None:
    late = [i * 960 / RATE // step_s * step_s - i * 960 / RATE for i in range(600)]
    line = timeline([960] * 9)
    assert all_placed(line, late) == [960 * i for i in range(600)]


def test_packets_that_came_late_make_no_gap_but_what_is_lost_does() -> None:
    line, size = timeline([960] * 9), 960
    late = np.repeat(np.random.default_rng(0).integers(0, 300, 40) / 1_000, 25)
    late[:9] = late[200:210] = late[500:510] = late[950:] = 0
    assert all_placed(line, late.tolist()) == [size * i for i in range(1_000)]
    line = timeline([960] * 9)
    hole = [0.0] * 300 + [0.3] * 300 + [9.0] * 300
    places = np.array(all_placed(line, hole)) - size * np.arange(900)
    assert not places[:300].any()
    assert np.abs(places[300:600] - 0.3 * RATE).max() < 100
    assert np.abs(places[600:] - 9 * RATE).max() < 100
    assert not line.joined


def test_a_lost_frame_leaves_its_place_exactly() -> None:
    sizes = [1_024] * 60
    all_frames = frames(sizes)
    line = timeline(sizes)
    kept = [*all_frames[:10], (*all_frames[13][:3], True), *all_frames[14:]]
    places = place_all(line, kept)
    assert places[10:] == [1_024 * i for i in range(13, 60)]


def test_a_time_that_jumps_back_goes_on_from_where_it_was() -> None:
    sizes = [960] * 50
    line = timeline(sizes)
    place_all(line, frames(sizes))
    assert place_all(line, frames(sizes)) == [960 * i for i in range(50, 100)]
    assert line.joined
    line.restart(0)
    assert place_all(line, frames(sizes)) == [960 * i for i in range(50)]


@given(start=st.integers(-5_000, 10**9), hole=st.integers(0, 10**6), pages=st.integers(1, 4))
def test_the_clock_of_a_radio_begins_at_nothing(start: int, hole: int, pages: int) -> None:
    """Only what FFmpeg guessed moves: a hole behind the second page stays one."""
    packets = [
        SimpleNamespace(
            pts=4_096 * i + (start if i >= 5 else 0) + (hole if i >= 9 else 0), pos=i // 5, duration=4_096
        )
        for i in range(5 * pages)
    ]
    heard = [
        packet.pts for packet in timed_alike([*packets, SimpleNamespace(pts=None)]) if packet.pts is not None
    ]
    assert heard == [4_096 * i + (hole if i >= 9 else 0) for i in range(5 * pages)]


def test_a_broken_clock_makes_no_years_of_silence() -> None:
    line = timeline([1_024] * 9)
    assert [line.place(pts, 1_024) for pts in (0, 23, 10**12, 10**12 + 23, 93)] == [
        1_024 * i for i in range(5)
    ]
    assert line.joined


def test_frames_without_a_time_follow() -> None:
    line = timeline([1_024] * 3)
    assert [line.place(None, 1_024) for _ in range(3)] == [0, 1_024, 2_048]
    line.restart(None)
    assert line.place(None, 1_024) == 0
    nothing_known = Timeline(RATE, MILLISECOND, [])
    assert nothing_known.position([]) == 0
    assert [nothing_known.place(pts, 0, exact=True) for pts in (0, 1_000)] == [0, RATE]


def test_positions_count_from_the_first_sample() -> None:
    line = timeline([1_024] * 9, origin_s=7.0)
    assert line.ticks(RATE) == pytest.approx(8_000, abs=1)
    assert line.after_seconds(67.0) == pytest.approx(60 * RATE, abs=44)
    line.restart(None)
    assert line.place(17_000, 1_024) == pytest.approx(10 * RATE, abs=44)


@pytest.mark.parametrize("stated", [0.25, 0.5, 0.92, 1.09, 2, 4])
def test_a_clock_of_another_rate_is_that_of_the_frames(stated: float) -> None:
    def tick_of(placed: list[Frame], tick: float) -> float:
        return true_tick(first_frames(placed, tick), tick)

    exact = frames([700] + [1_024] * 8, tick_s=1 / RATE)
    assert tick_of(exact, stated) == pytest.approx(1)
    assert tick_of(frames([960] * 9), 0.001 * RATE) == pytest.approx(44.1)
    holes = [exact[i] for i in (0, 1, 2, 4, 6, 7, 8)]
    untimed: list[Frame] = [(None, *frame[1:]) for frame in exact]
    for other in (exact[:3], holes, exact[::6], untimed):
        assert tick_of(other, stated) == stated
    assert tick_of([(20 * frame[0] if frame[0] else 0, *frame[1:]) for frame in exact], 1) == 1


@pytest.mark.parametrize("timescale", [22_050, 48_000, 88_200])
def test_a_clock_that_is_not_the_codecs(tmp_path: Path, timescale: int) -> None:
    samples = noise(12, 44_100)
    path = write(tmp_path / "song", "ipod", "aac", samples)
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, data.index(b"mdhd") + 16, timescale)
    path.write_bytes(data)
    song = decoder(path)
    assert song.length == pytest.approx(len(samples), abs=2_048)
    for start in (0, 400_000, 200_000):
        assert place_of(song.read(start, 44_100)[4_096:], samples) == pytest.approx(start + 4_096, abs=2_048)
