"""Frames of FFmpeg's decoders as one or two channels of float32, at one sample rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soxr

from ..arrays import Float32
from .channels import two_from_channels
from .decoder import Budget
from .timestamps import Frame

_TYPES = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "s64": np.int64,
    "flt": np.float32,
    "dbl": np.float64,
}


def channels_from_frame(frame: Any, budget: Budget) -> tuple[Float32, ...]:
    """One or two channels of a frame of any sample format: float32 in -1..1, each ``[samples]``."""
    # This runs over 40 times a second of sound: every attribute of PyAV that is read here costs.
    kind, planes = frame.format.name, frame.planes
    if kind == "fltp" and len(planes) <= 2:  # AAC, Opus, WMA
        count = frame.samples
        budget.spend(count * len(planes))
        return tuple(np.frombuffer(plane, np.float32, count) for plane in planes)
    # Not by to_ndarray: it knows no 64 bits, and reads memory that is not the frame's where there are more
    # than 8 planes, as len(planes) does.
    names = tuple(channel.name for channel in frame.layout.channels)
    count, kind_of_value = frame.samples, _TYPES[kind.removesuffix("p")]
    budget.spend(count * len(names))
    if kind.endswith("p"):
        block = np.stack([np.frombuffer(planes[i], kind_of_value, count) for i in range(len(names))], axis=1)
    else:
        block = np.frombuffer(planes[0], kind_of_value, count * len(names)).reshape(count, len(names))
    return tuple(two_from_channels(_floats(block), names).T)


def at_one_rate(frames: Iterable[tuple[int, Frame]], rate: int, budget: Budget) -> Iterator[Frame]:
    """Frames that come with their rates in Hz, those of other rates resampled to ``rate``.

    Those that follow each other at one other rate are resampled as a whole, so that nothing is lost or
    heard between them.
    """
    resampler, own_rate, own_channels, pts = None, rate, 0, None
    after_loss = False
    for frame_rate, frame in frames:
        if resampler and (frame_rate != own_rate or len(frame.channels) != own_channels):
            rest = resampler.resample_chunk(np.empty((0, own_channels), np.float32), last=True)
            if len(rest):
                yield Frame(pts, tuple(rest.T), after_loss)
            resampler = None
        if frame_rate == rate:
            yield frame
            continue
        if resampler is None:
            own_channels = len(frame.channels)
            budget.check_format(frame_rate, own_channels)
            resampler = soxr.ResampleStream(frame_rate, rate, own_channels, dtype="float32", quality="HQ")
            own_rate, pts, after_loss = frame_rate, frame.pts, frame.after_loss
        block = resampler.resample_chunk(np.stack(frame.channels, axis=1))
        if len(block):
            budget.spend(block.size)
            yield Frame(pts, tuple(block.T), after_loss)
            pts, after_loss = None, False
    if resampler:
        rest = resampler.resample_chunk(np.empty((0, own_channels), np.float32), last=True)
        if len(rest):
            yield Frame(pts, tuple(rest.T), after_loss)


def _floats(block: Any) -> Float32:
    if block.dtype == np.uint8:
        return (block.astype(np.float32) - 128) / 128
    if np.issubdtype(block.dtype, np.integer):
        return block.astype(np.float32) / np.float32(-float(np.iinfo(block.dtype).min))
    return block.astype(np.float32)
