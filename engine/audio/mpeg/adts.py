"""The decoder of ADTS streams (.aac): FFmpeg's AAC decoder, from the frames around what is read."""

from __future__ import annotations

import io
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import av
import av.error
import numpy as np
import soxr

from ...arrays import Float32
from ..channels import mono_from_two
from ..decoder import Budget, Decoder, length_by_reading
from ..ffmpeg.decoder import FFmpegDecoder
from ..ffmpeg.frames import channels_from_frame
from ..joined import JoinedDecoder
from .adts_frames import FRAME_SAMPLES, rate_of_kind
from .frame_walk import FrameList

_PREROLL = 3  # blocks: each overlaps with the one before
_HIGH_BAND_PREROLL = 40  # blocks: what the high band needs is sent only once in about half a second
_PROBED = 8  # blocks that may be broken before the first one that tells the rate
_HEAD_BYTES, _CHECK_BYTES = 7, 2  # of a frame, before its checksum; of that one and of each block's


class AdtsDecoder:
    """``Decoder`` of one part of an ADTS stream, by the numbers of its blocks, of which a frame has 1 to 4.

    A frame that cannot be decoded is silence. Those of half or double the stream's rate are resampled to it.

    Args:
        file: closed with the decoder. Decoders of other parts may share it.

    Raises:
        AudioError: a rate or a number of channels outside the limits.
    """

    name = FFmpegDecoder.name

    def __init__(self, file: io.FileIO, part: FrameList, budget: Budget) -> None:
        self._file, self._budget = file, budget
        self._offsets, self._sizes = part.offsets, part.sizes
        self._firsts = self._find_firsts()
        self._count = self._firsts[-1]
        first = self._first(0)
        self.decodes = first is not None
        # HE-AAC's headers state half of the rate to which it decodes, and frames without a high band may
        # stand before it or behind it.
        others = (self._first(begin) for begin in (self._count // 2, self._count - _PROBED))
        rate = rate_of_kind(part.kind)
        doubled = any(frame and frame.sample_rate == 2 * rate for frame in (first, *others))
        self._block_samples = 2 * FRAME_SAMPLES if doubled else FRAME_SAMPLES
        self._preroll = _HIGH_BAND_PREROLL if doubled else _PREROLL
        self.sample_rate = 2 * rate if doubled else rate
        budget.check_format(self.sample_rate, len(first.layout.channels) if first is not None else 1)
        self.length = self._count * self._block_samples

    def read(self, start: int, count: int) -> Float32:
        size = self._block_samples
        count = min(count, self._count * size - start)
        if count <= 0:
            return np.empty(0, np.float32)
        begin, end = start // size, -(-(start + count) // size)
        decoded = 0
        sounds: dict[int, Float32] = {}  # by the rate of their frames, with silence for the others
        for number, frame in self._decode(max(0, begin - self._preroll), end):
            own, rate = frame.samples, frame.sample_rate
            if not begin <= number < end or own * self.sample_rate != size * rate:
                continue
            decoded += 1
            if rate not in sounds:
                sounds[rate] = np.zeros(((end - begin) * own, 2), np.float32)
            sounds[rate][(number - begin) * own :][:own] = np.stack(
                channels_from_frame(frame, self._budget), axis=1
            )
        if not sounds:
            return np.empty(0, np.float32)
        self._budget.spend((end - begin - decoded) * size, lost=True)
        two = sounds.pop(self.sample_rate, np.zeros(((end - begin) * size, 2), np.float32))
        for rate, sound in sounds.items():
            self._budget.spend(two.size)
            two += soxr.resample(sound, rate, self.sample_rate, quality="HQ")
        skip = start - begin * size
        return mono_from_two(two[skip : skip + count])

    def measure(self) -> int:
        self.length = length_by_reading(self.read)
        return self.length

    def tags(self) -> dict[str, str]:
        return {}  # they stand around the frames, where audio/tags reads them

    def close(self) -> None:
        self._file.close()

    def _find_firsts(self) -> Sequence[int]:
        """The number of each frame's first block, and behind them how many blocks there are."""
        frames = len(self._offsets)
        probed = (*range(min(frames, _PROBED)), *range(0, frames, max(1, frames // _PROBED)))
        stated = [data for data in map(self._data, probed) if _blocks(data) > 1]
        if not any(len(_decoded(av.CodecContext.create("aac", "r"), data)) > 1 for data in stated):
            return range(frames + 1)  # or the encoder wrote a wrong number
        counts = array("q", [0])
        for number in range(frames):
            self._budget.spend(0)
            counts.append(counts[-1] + _blocks(self._data(number)))
        return counts

    def _first(self, begin: int) -> Any:
        """The first block from ``begin`` on, of a few, that can be decoded; None without one."""
        begin = max(0, begin)
        decoded = self._decode(begin, begin + _PROBED)
        return next((frame for number, frame in decoded if number >= begin), None)

    def _decode(self, begin: int, end: int) -> Iterator[tuple[int, Any]]:
        """(number, decoded block) of those blocks about ``begin`` to ``end`` that can be decoded."""
        context = av.CodecContext.create("aac", "r")
        first = bisect_right(self._firsts, begin) - 1
        numbers: Iterable[int] = range(first, bisect_left(self._firsts, min(end, self._count)))
        head = self._data(0)[:4] if first else b""
        if len(head) == 4 and not (head[2] & 1 or head[3] >> 6):  # the first one says what channels mean
            numbers = (0, *numbers)
        for number in numbers:
            self._budget.spend(0)
            numbered = range(self._firsts[number], self._firsts[number + 1])
            yield from zip(numbered, _decoded(context, self._data(number)), strict=False)

    def _data(self, number: int) -> bytes:
        return os.pread(self._file.fileno(), int(self._sizes[number]), int(self._offsets[number]))


def _decoded(context: Any, frame: bytes) -> list[Any]:
    """FFmpeg's frames of an ADTS frame, one for each block; none of one that is broken."""
    try:
        return context.decode(av.Packet(_without_checks(frame)))
    except av.error.FFmpegError:
        return []


def _blocks(frame: bytes) -> int:
    return (frame[6] & 3) + 1 if len(frame) >= _HEAD_BYTES else 1


def _without_checks(frame: bytes) -> bytes:
    """A frame of several blocks without checksums and the places of blocks, which FFmpeg takes for sound."""
    if _blocks(frame) == 1 or frame[1] & 1:
        return frame
    sound = _HEAD_BYTES + _CHECK_BYTES * _blocks(frame)
    places = [frame[at : at + 2] for at in range(_HEAD_BYTES, sound - _CHECK_BYTES, 2)]
    starts = [sound, *(sound + int.from_bytes(place, "big") for place in places), len(frame)]
    blocks = (frame[start : end - _CHECK_BYTES] for start, end in pairwise(starts))
    return b"".join((frame[:1], bytes((frame[1] | 1,)), frame[2:_HEAD_BYTES], *blocks))


def adts_decoder(file: io.FileIO, parts: Sequence[FrameList], budget: Budget) -> Decoder | None:
    """The decoder of those of an ADTS stream's parts that can be decoded; None without one.

    Args:
        file: closed with the decoder.

    Raises:
        AudioError: a rate or a number of channels outside the limits, or too much time.
    """
    decoders = [AdtsDecoder(file, part, budget) for part in parts]
    decoders = [decoder for decoder in decoders if decoder.decodes]
    return JoinedDecoder(decoders) if len(decoders) > 1 else decoders[0] if decoders else None
