"""Frames of every sample format, of many channels, and of rates that change."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any, cast

import av
import numpy as np
import pytest
import soxr
from audio_files import noise
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.channels import channel_names, two_from_channels
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.ffmpeg.frames import at_one_rate, channels_from_frame, frames_from_decoded
from merkit.engine.audio.ffmpeg.timestamps import Frame

LIMITS = Limits()


def budget() -> Budget:
    return Budget(LIMITS)


@pytest.mark.parametrize("kind", ["u8", "s16", "s32", "flt", "dbl", "u8p", "s16p", "s32p", "fltp", "dblp"])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_every_sample_format(kind: str, layout: str) -> None:
    channels = 1 if layout == "mono" else 2
    samples = np.stack([noise(0.05, 16_000, seed) for seed in range(channels)])
    if kind.startswith("u8"):
        values = np.round(samples * 128 + 128).astype(np.uint8)
    elif kind.startswith("s"):
        bits = 16 if kind.startswith("s16") else 32
        values = np.round(samples * 2.0 ** (bits - 1)).astype(f"int{bits}")
    else:
        values = samples.astype(np.float32 if kind.startswith("flt") else np.float64)
    packed = values if kind.endswith("p") else np.ascontiguousarray(values.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(cast("Any", packed), kind, layout)
    read = channels_from_frame(frame, budget())
    assert len(read) == channels
    np.testing.assert_allclose(np.stack(read), samples, atol=1 / 200 if kind.startswith("u8") else 1e-4)


def test_surround_is_mixed_by_the_places_of_its_channels() -> None:
    samples = np.stack([noise(0.05, 48_000, seed) for seed in range(6)])
    frame = av.AudioFrame.from_ndarray(samples, "fltp", "5.1")
    left, right = channels_from_frame(frame, budget())
    half = np.sqrt(0.5)
    np.testing.assert_allclose(left, samples[0] + half * (samples[2] + samples[4]), atol=1e-6)
    np.testing.assert_allclose(right, samples[1] + half * (samples[2] + samples[5]), atol=1e-6)


@pytest.mark.parametrize("kind", ["fltp", "s32p"])
@pytest.mark.parametrize("layout", ["7.1", "9 channels", "hexadecagonal"])
def test_eight_and_more_planes(kind: str, layout: str) -> None:
    """PyAV counts too many of them, or fails at them."""
    count = av.AudioLayout(layout).nb_channels if layout != "9 channels" else 9
    samples = np.stack([noise(0.05, 48_000, seed) for seed in range(count)])
    packed = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T).reshape(1, -1), "flt", layout)
    packed.sample_rate, packed.pts = 48_000, 96_000
    (frame,) = av.AudioResampler(format=kind, layout=packed.layout, rate=48_000).resample(packed)
    names = tuple(channel.name for channel in frame.layout.channels)
    expected = two_from_channels(samples.T, names if "FL" in names else channel_names(count)).T
    np.testing.assert_allclose(np.stack(channels_from_frame(frame, budget())), expected, atol=1e-5)
    assert frame.pts == 96_000


def frames(samples: np.ndarray, rate: int, first_pts: int) -> list[Frame]:
    """Frames of 1,024 samples of ``[n, channels]``; the first alone has a time."""
    cuts = [*range(0, len(samples), 1_024), len(samples)]
    return [
        (first_pts if begin == 0 else None, tuple(samples[begin:end].T), rate, False)
        for begin, end in pairwise(cuts)
    ]


def test_another_rate_and_mono_beside_stereo_become_one() -> None:
    first = np.stack([noise(1, 48_000, 1), noise(1, 48_000, 2)], axis=1)
    second = noise(1.5, 22_050, 3)[:, None]
    third = noise(0.5, 48_000, 4)[:, None]
    mixed = [*frames(first, 48_000, 0), *frames(second, 22_050, 1_000), *frames(third, 48_000, 2_500)]
    read = list(at_one_rate(mixed, 48_000, budget()))
    assert {rate for _, _, rate, _ in read} == {48_000}
    left = np.concatenate([channels[0] for _, channels, _, _ in read])
    assert len(left) == pytest.approx(3 * 48_000, abs=2)
    np.testing.assert_array_equal(left[:48_000], first[:, 0])
    np.testing.assert_array_equal(left[-24_000:], third[:, 0])
    middle = left[48_000:-24_000]
    np.testing.assert_allclose(middle, soxr.resample(second[:, 0], 22_050, 48_000)[: len(middle)], atol=1e-3)
    assert [pts for pts, *_ in read if pts is not None] == [0, 1_000, 2_500]


def decoded(sizes: list[int], gaps: set[int], losses: set[int], ticks: int = 1) -> list[tuple[Any, bool]]:
    """FFmpeg's frames in stereo; before some of them is a gap, or a packet that was lost."""
    frames, at = [], 700
    for number, size in enumerate(sizes):
        samples = np.stack([noise(size / 8_000, 8_000, number), noise(size / 8_000, 8_000, 99 + number)])
        frame = av.AudioFrame.from_ndarray(cast("Any", samples), "fltp", "stereo")
        at += 5_000 if number in gaps else 0
        frame.sample_rate, frame.pts = 8_000, at // max(1, ticks)
        if ticks:
            frame.time_base = Fraction(ticks, 8_000)
        frames.append((frame, number in losses))
        at += size
    return frames


@given(
    sizes=st.lists(st.sampled_from([1_024, 1_024, 1_024, 960]), max_size=40),
    gaps=st.sets(st.integers(0, 39), max_size=3),
    losses=st.sets(st.integers(0, 39), max_size=3),
)
def test_frames_that_follow_on_are_joined_and_nothing_else(
    sizes: list[int], gaps: set[int], losses: set[int]
) -> None:
    blocks = list(frames_from_decoded(decoded(sizes, gaps, losses), budget()))
    each = [
        (frame.pts, channels_from_frame(frame, budget()), lost)
        for frame, lost in decoded(sizes, gaps, losses)
    ]
    assert sum(len(channels[0]) for _, channels, _, _ in blocks) == sum(sizes)
    at = 0
    for pts, channels, rate, lost in blocks:
        assert (rate, pts, lost) == (8_000, each[at][0], each[at][2])
        assert pts is not None
        size = 0
        while size < len(channels[0]):
            own_pts, own, own_lost = each[at]
            assert own_pts == pts + size  # no gap inside
            assert not size or not own_lost
            for one, two in zip(channels, own, strict=True):
                np.testing.assert_array_equal(one[size : size + len(two)], two)
            size, at = size + len(own[0]), at + 1
    assert at == len(each)


def test_most_frames_are_joined_where_ticks_are_samples() -> None:
    sizes = [1_024] * 86
    assert len(list(frames_from_decoded(decoded(sizes, set(), set()), budget()))) == 6 + 10
    for ticks in (0, 8):  # no time base, or times that are rounded
        assert len(list(frames_from_decoded(decoded(sizes, set(), set(), ticks), budget()))) == 86


def test_frames_of_another_rate_are_not_joined() -> None:
    both = [*decoded([1_024] * 9, set(), set()), *decoded([1_024] * 3, set(), set())]
    for frame, _ in both[9:]:
        frame.pts, frame.sample_rate = (frame.pts or 0) + 9 * 1_024, 16_000
    blocks = list(frames_from_decoded(both, budget()))
    assert [rate for _, _, rate, _ in blocks] == [8_000] * 7 + [16_000] * (len(blocks) - 7)
    assert sum(len(channels[0]) for _, channels, _, _ in blocks) == 12 * 1_024
