"""The last frames of a FLAC file, which tell how much sound there is, whatever its header says (RFC 9639)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..decoder import Budget
from .ogg_pages import MOST_PARTS, Part

_MARK = b"fLaC\0\0\0\x22"  # and STREAMINFO, which comes first and is 34 bytes long
_TAIL_BYTES = 1 << 17
_BLOCK_BYTES = 1 << 20
_TOTAL = 21  # the offset of the byte in which the 36 bits of the total begin
_LONGEST_HEAD = 16


@dataclass(frozen=True)
class FlacLength:
    """Samples a channel: those that the header states, and those up to the end of the last frame.

    ``total_at`` and ``total_field`` correct the header: the offset and the bytes that belong there.
    """

    stated: int
    true: int
    total_at: int
    total_field: bytes


def length_from_flac(descriptor: int, start: int = 0) -> FlacLength | None:
    """Reads the header at ``start`` and the end of the file; None if there are no two frames in a row."""
    head = os.pread(descriptor, _TOTAL + 5, start)
    if not head.startswith(_MARK):
        return None
    size = os.fstat(descriptor).st_size
    block_size = int.from_bytes(head[10:12], "big")
    tail = os.pread(descriptor, _TAIL_BYTES, max(start, size - _TAIL_BYTES))
    later: tuple[int, int] | None = None
    place = len(tail)
    while (place := tail.rfind(b"\xff", 0, place)) >= 0:
        frame = _frame(tail[place : place + _LONGEST_HEAD], block_size)
        if frame and later and sum(frame) == later[0]:
            field = int.from_bytes(head[_TOTAL:], "big")
            stated, true = field & (1 << 36) - 1, sum(later)
            total_field = (field - stated + (true & (1 << 36) - 1)).to_bytes(5, "big")
            return FlacLength(stated, true, _TOTAL, total_field)
        later = frame or later
    return None


def parts_from_flac(descriptor: int, budget: Budget) -> list[Part]:
    """The bytes of each of the FLAC files that follow one another in one file, from where to where.

    At most ``MOST_PARTS``; the last one reaches to the end.
    """
    end = os.fstat(descriptor).st_size
    starts: list[int] = []
    for place in range(0, end, _BLOCK_BYTES):
        budget.spend(0)
        block = os.pread(descriptor, _BLOCK_BYTES + len(_MARK) - 1, place)
        inside = block.find(_MARK)
        while inside >= 0 and len(starts) < MOST_PARTS:
            starts.append(place + inside)
            inside = block.find(_MARK, inside + 1)
    return list(zip(starts, [*starts[1:], end], strict=False))


def _frame(head: bytes, block_size: int) -> tuple[int, int] | None:
    """The first sample and the number of samples of a frame with this header; None if it is none."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    more = next((count for count in range(7) if not head[4] << count & 0x80), 7)  # UTF-8, up to 36 bits
    if size_code == 0 or rate_code == 15 or more == 1 or head[4] == 0xFF:
        return None
    number = head[4] & (0x7F >> more if more else 0x7F)
    place = 5
    for byte in head[5 : 5 + max(0, more - 1)]:
        if byte >> 6 != 2:
            return None
        number, place = number << 6 | byte & 0x3F, place + 1
    extra = {6: 1, 7: 2}.get(size_code, 0)
    rest = head[place : place + extra]
    place += extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if len(head) <= place or _crc8(head[:place]) != head[place]:
        return None
    if extra:
        count = int.from_bytes(rest, "big") + 1
    else:
        count = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    return (number if head[1] & 1 else number * block_size), count


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value
