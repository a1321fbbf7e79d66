"""Frames of FFmpeg's decoders as one or two channels of float32, at one sample rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import av
import numpy as np
import soxr

from ...arrays import Float32
from ...errors import AudioError
from ..channels import channel_names, two_from_channels
from ..containers.pcm_streams import holds_sync, refuse_dsd, stream_in_samples
from ..decoder import Budget
from .timestamps import Frame

_TYPES = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "s64": np.int64,
    "flt": np.float32,
    "dbl": np.float64,
}

_MOST_PLANES = 8  # fewer end in an empty one

_PROBE = 8_192  # samples, which hold two frames of DTS or two bursts of AC-3

_APART = 6  # frames, one more than ``first_frames`` takes where they are alike
_JOINED = 8_192  # samples; what is decoded beyond a window is half of that, on average

_NAMES: dict[str, tuple[str, ...]] = {}


def channels_from_frame(frame: Any, budget: Budget) -> tuple[Float32, ...]:
    """One or two channels of a frame of any sample format: float32 in -1..1, each ``[samples]``."""
    # This runs over 40 times a second of sound: every attribute of PyAV that is read here costs.
    kind, planes, count = frame.format.name, _planes(frame), frame.samples
    if kind == "fltp" and 0 < len(planes) <= 2:  # AAC, Opus, WMA
        budget.spend(len(planes) * count)
        left = np.frombuffer(planes[0], np.float32, count)
        return (left,) if len(planes) == 1 else (left, np.frombuffer(planes[1], np.float32, count))
    # Not by to_ndarray, which knows no 64 bits.
    channels = frame.layout.nb_channels
    budget.spend(channels * count)
    planes = planes or _packed(frame).planes
    value = _TYPES[kind.removesuffix("p")]
    if kind.endswith("p") and len(planes) == channels:
        rows = np.stack([np.frombuffer(plane, value, count) for plane in planes])
    else:  # one plane
        rows = np.frombuffer(planes[0], value, count * channels).reshape(count, channels).T
    rows = _floats(rows)
    if channels > 2:
        rows = two_from_channels(rows.T, _names(frame)).T
    return tuple(rows)


def frames_from_decoded(decoded: Iterable[tuple[Any, bool]], budget: Budget) -> Iterator[Frame]:
    """FFmpeg's frames, each with whether something before it was lost. What follows on to the tick is joined.

    Each frame costs Python time. The first few stay apart, for they tell where a stream stands
    (``first_frames``), and so does the first one after a gap or a loss.
    """
    apart, fifo = _APART, av.AudioFifo()
    exact: bool | None = None  # whether a tick is a sample
    end: Any = None  # the time after the frame before
    for frame, after_loss in decoded:
        pts = frame.pts
        if exact is None:
            exact = frame.sample_rate * (frame.time_base or 0) == 1
        follows = exact and not (apart or after_loss or pts is None) and pts == end and _added(fifo, frame)
        if follows:
            end = pts + frame.samples
            if fifo.samples < _JOINED:
                continue
        if fifo.samples:
            yield _taken(fifo, end, budget)
        if not follows:
            apart, fifo = max(0, apart - 1), av.AudioFifo()
            end = None if pts is None else pts + frame.samples
            yield pts, channels_from_frame(frame, budget), frame.sample_rate, after_loss
    if fifo.samples:
        yield _taken(fifo, end, budget)


def _added(fifo: Any, frame: Any) -> bool:
    """Adds a frame, unless its rate, format or layout is another than that of those in ``fifo``."""
    pts, frame.pts = frame.pts, None  # it counts times from 0
    try:
        fifo.write(frame)
    except ValueError:
        frame.pts = pts
        return False
    return True


def _taken(fifo: Any, end: int, budget: Budget) -> Frame:
    frame = fifo.read()
    return end - frame.samples, channels_from_frame(frame, budget), frame.sample_rate, False


def at_one_rate(frames: Iterable[Frame], rate: int, budget: Budget) -> Iterator[Frame]:
    """Frames, those of other rates than ``rate`` (in Hz) resampled to it.

    Those that follow each other at one other rate are resampled as a whole, so that nothing is lost or
    heard between them.
    """
    stretch = None
    for frame in frames:
        pts, channels, own_rate, after_loss = frame
        if stretch and (own_rate, len(channels)) != stretch.kind:
            yield from stretch.end()
            stretch = None
        if own_rate == rate:
            yield frame
            continue
        if stretch is None:
            budget.check_format(own_rate, len(channels))
            stretch = _Stretch(pts, own_rate, len(channels), after_loss, rate)
        budget.spend(len(channels[0]) * rate // own_rate)
        yield from stretch.resampled(channels)
    if stretch:
        yield from stretch.end()


def check_samples(leading: list[Frame], frames: Iterator[Frame]) -> None:
    """Takes a few more frames, and looks whether they hold DTS, DSD or the like in the place of samples.

    Raises:
        AudioError: they are not samples.
    """
    while sum(len(frame[1][0]) for frame in leading) < _PROBE and (frame := next(frames, None)):
        leading.append(frame)
    if any(len(frame[1]) != 2 for frame in leading):
        return
    floats = np.concatenate([np.stack(frame[1], axis=1) for frame in leading])
    with np.errstate(invalid="ignore"):
        samples = np.clip(np.floor(floats * 32_768), -32_768, 32_767).astype(np.int16)  # their upper 16 bits
    refuse_dsd(samples)
    if holds_sync(samples) and (stream := stream_in_samples(samples)):
        raise AudioError(
            f"holds {stream.title} in the place of samples: unpack it first, for example "
            "ffmpeg -i FILE -c:a pcm_s16le OUT.wav, which can be labelled"
        )


class _Stretch:
    """Consecutive frames of one rate and number of channels, resampled to another rate."""

    def __init__(self, pts: int | None, own_rate: int, channels: int, after_loss: bool, rate: int) -> None:
        self.kind = own_rate, channels
        self._pts, self._after_loss, self._rate = pts, after_loss, rate
        self._stream = soxr.ResampleStream(own_rate, rate, channels, dtype="float32", quality="HQ")

    def resampled(self, channels: tuple[Float32, ...]) -> Iterator[Frame]:
        yield from self._frame(self._stream.resample_chunk(np.stack(channels, axis=1)))

    def end(self) -> Iterator[Frame]:
        nothing = np.empty((0, self.kind[1]), np.float32)
        yield from self._frame(self._stream.resample_chunk(nothing, last=True))

    def _frame(self, block: Float32) -> Iterator[Frame]:
        """The time of the stretch is that of its first samples, which come some frames late."""
        if len(block):
            yield self._pts, tuple(block.T), self._rate, self._after_loss
            self._pts, self._after_loss = None, False


def _planes(frame: Any) -> tuple[Any, ...]:
    """The planes of a frame, none where there are eight or more.

    PyAV counts them until an empty one, which FFmpeg's list of eight and more has not at its end: before
    PyAV 19 that gives too many, and since then an error.
    """
    try:
        planes = frame.planes
    except ValueError:
        return ()
    return planes if len(planes) < _MOST_PLANES else ()


def _packed(frame: Any) -> Any:
    """A frame of the same samples in one plane, in which the channels take turns."""
    packed = av.AudioResampler(format=frame.format.packed.name, layout=frame.layout, rate=frame.sample_rate)
    (one,) = packed.resample(frame)
    return one


def _names(frame: Any) -> tuple[str, ...]:
    layout = frame.layout
    key = layout.name
    if key not in _NAMES:
        names = tuple(channel.name for channel in layout.channels)
        # PCM in Matroska says only how many there are: then their order is WAV's.
        _NAMES[key] = names if "FL" in names else channel_names(len(names))
    return _NAMES[key]


def _floats(block: Any) -> Float32:
    if block.dtype == np.uint8:
        return (block.astype(np.float32) - 128) / 128
    if np.issubdtype(block.dtype, np.integer):
        return block.astype(np.float32) / np.float32(-float(np.iinfo(block.dtype).min))
    return block.astype(np.float32, copy=False)
