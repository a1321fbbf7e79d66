"""The frames of ADTS, the stream of AAC in files named .aac, by their headers (ISO/IEC 13818-7, 6.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..decoder import Budget
from .frame_walk import Codec, Content, FrameList, Ints, frames_from_file, kind_of_frames

FRAME_SAMPLES = 1_024
"""Of a frame, before a high band (HE-AAC) doubles them."""

RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
"""The sample rates of AAC in Hz, by the number that stands for each."""

_SYNC_MASK, _SYNC = 0xF6, 0xF0  # of the second byte; the other bits tell the version and of a checksum
_LEAST_BYTES = 8  # a header, and something in it
_MOST_BYTES = (1 << 13) - 1


def adts_from_file(descriptor: int, budget: Budget, junk: int = 0) -> Sequence[FrameList]:
    """The parts of an ADTS stream, each of one ``rate_of_kind``, in order. Empty for what is none.

    Args:
        junk: so many bytes before the first frame are allowed, beside ID3 tags.
    """
    return frames_from_file(descriptor, _CODEC, budget, junk)


def rate_of_kind(kind: int) -> int:
    """The sample rate in Hz that the headers of frames state."""
    return RATES[kind >> 3]


def rate_of_adts(data: bytes) -> int | None:
    """The rate in Hz of the frames that begin where ``data`` does; None where they may be samples."""
    kind = kind_of_frames(data, _CODEC)
    return None if kind is None else rate_of_kind(kind)


def _headers(content: Content, offsets: Ints) -> tuple[Ints, Ints]:
    third, fourth = content[offsets + 2], content[offsets + 3]
    rate = third >> 2 & 15
    sizes = (fourth & 3).astype(np.int64) << 11 | content[offsets + 4].astype(np.int64) << 3
    sizes |= content[offsets + 5] >> 5
    is_frame = (content[offsets] == 0xFF) & (content[offsets + 1] & _SYNC_MASK == _SYNC)
    is_frame &= (rate < len(RATES)) & (sizes >= _LEAST_BYTES)
    kinds = rate.astype(np.int64) << 3 | (third & 1) << 2 | fourth >> 6
    return sizes * is_frame, kinds


def _begins(content: Content, offsets: Ints) -> npt.NDArray[np.bool_]:
    return np.zeros(len(offsets), np.bool_)


def _chain(data: bytes, offset: int, end: int, most: int) -> list[int]:
    offsets = []
    while offset + _LEAST_BYTES <= end and len(offsets) < most:
        size = (data[offset + 3] & 3) << 11 | data[offset + 4] << 3 | data[offset + 5] >> 5
        if size < _LEAST_BYTES:
            break
        offsets.append(offset)
        offset += size
    return offsets


_CODEC = Codec(_chain, _headers, _begins, (_SYNC_MASK, _SYNC), _MOST_BYTES)
