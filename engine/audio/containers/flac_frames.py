"""The frames of a FLAC file, which tell how much sound there is, whatever its header says (RFC 9639)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from ..decoder import Budget
from ..formats import is_container
from .file_view import Span
from .ogg_pages import MOST_PARTS

# And STREAMINFO, which comes first, is 34 bytes long, and may be all of the metadata.
_MARK = re.compile(rb"fLaC[\0\x80]\0\0\x22")
_MARK_BYTES = 8
_FIRST_FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xfe].\0", re.DOTALL)  # its head as far as its number, 0
_MOST_JUNK = 1 << 20  # bytes in front of the mark
_TAIL_BYTES = 1 << 17
_BLOCK_BYTES = 1 << 20
# Offsets of STREAMINFO's fields: the least and most samples of a frame, 20 bits of the rate, 36 of the total.
_BLOCKS, _RATE, _TOTAL = 8, 18, 21
_HZ = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_LONGEST_HEAD = 16
_MOST_BLOCKS = 1_000  # of metadata
_PROBE_BYTES = 1 << 16
# Shares of a file, at which the numbers of the frames must rise. Of 2 to 200 parts of one length they do not.
_PROBES = (0.202, 0.363, 0.548, 0.758, 0.877)


@dataclass(frozen=True)
class FlacLength:
    """Samples a channel: those that the header states, and those up to the end of the last frame.

    ``corrections`` make the header true: the bytes that belong there, by their offset in it. Players take the
    rate that frames state; FFmpeg refuses frames longer than the header says, and libFLAC then seeks wrongly.
    ``first`` is the number of the first frame's first sample. ``is_one`` says that the frames looked at count
    on from there to the end, in one format; ``has_hole`` that somewhere inside nothing looks like a frame.
    """

    stated: int
    true: int
    corrections: dict[int, bytes]
    first: int
    is_one: bool
    has_hole: bool


@dataclass(frozen=True)
class _Frame:
    """A frame's header: its number, and whether that counts samples; its samples, and its format.

    The format is the rate in Hz, 0 where STREAMINFO has it, and the channels' bits.
    """

    number: int
    counts_samples: bool
    count: int
    format: tuple[int, int]

    @property
    def first(self) -> int:
        """The number of its first sample, if it is not the last frame."""
        return self.number if self.counts_samples else self.number * self.count

    def is_followed_by(self, other: _Frame) -> bool:
        step = self.count if self.counts_samples else 1
        return other.number == self.number + step and other.format == self.format


def start_of_flac(descriptor: int, start: int = 0) -> int | None:
    """Where FLAC begins: at ``start``, or behind a tag, a server's answer or junk there; None without one.

    Behind junk only metadata that a frame follows is FLAC. FFmpeg alone may take junk for a frame.
    """
    head = os.pread(descriptor, _LONGEST_HEAD, start)
    if head.startswith(b"fLaC"):
        return start
    junk = b"" if is_container(head) else os.pread(descriptor, _MOST_JUNK, start)
    for mark in _MARK.finditer(junk):
        place = start + mark.start()
        if _frame(os.pread(descriptor, _LONGEST_HEAD, _after_metadata(descriptor, place))):
            return place
    return None


def length_from_flac(descriptor: int, start: int = 0, end: int | None = None) -> FlacLength | None:
    """Reads the header at ``start`` and frames from there on; None if two in a row do not end it.

    Args:
        end: where it ends; by default the end of the file.
    """
    head = os.pread(descriptor, _TOTAL + 5, start)
    if not _MARK.match(head):
        return None
    end = os.fstat(descriptor).st_size if end is None else end
    tail_start = max(start, end - _TAIL_BYTES)
    tail = os.pread(descriptor, end - tail_start, tail_start)
    later = None
    for frame in _frames(tail, backward=True):
        if later and frame.is_followed_by(later):
            break
        later = frame
    else:
        return None
    true = frame.first + frame.count + later.count
    body = _after_metadata(descriptor, start)
    first = next(_frames(os.pread(descriptor, _LONGEST_HEAD, body)), None)
    places = [body + int(share * (end - body)) for share in _PROBES]
    probes = [os.pread(descriptor, _PROBE_BYTES, place) for place in places if place < end - _TAIL_BYTES]
    middle = list(map(_frame_in, probes))
    has_hole = any(
        not frame and not next(_frames(probe), None) for frame, probe in zip(middle, probes, strict=True)
    )
    found = [each for each in (first, *middle) if each]
    numbers = [*(each.first for each in found), true]
    rises = all(one < two for one, two in pairwise(numbers)) and not _MARK.search(tail, 1)
    field = int.from_bytes(head[_TOTAL:], "big")
    stated = field & (1 << 36) - 1
    number = first.first if first else 0
    is_alike = all(each.format == frame.format for each in found)
    is_one = rises and is_alike
    corrections: dict[int, bytes] = {}
    # Without a length, libsndfile reads to the end. Of an excerpt the numbers do not tell it.
    is_cut = is_one and stated > true + frame.count
    if not number and (is_cut or (stated < true and (stated or not is_one))):
        corrections[_TOTAL] = (field - stated + (true & (1 << 36) - 1)).to_bytes(5, "big")
    if first and is_alike:
        corrections |= _true_format(head, frame, [each.count for each in (*found, frame, later)])
    return FlacLength(stated, true, corrections, number, is_one, has_hole)


def is_hole(descriptor: int, place: int, end: int) -> bool:
    """Whether nothing from a place on looks like a frame, as where a download has not come to yet."""
    data = os.pread(descriptor, _PROBE_BYTES, place)
    return place + len(data) < end and next(_frames(data), None) is None


def stretches_without_frames(descriptor: int, start: int) -> tuple[Span, ...]:
    """Where no frame can begin, of MPEG audio neither, by offsets from ``start``: FFmpeg keeps it all."""
    holes: list[Span] = []
    end = os.fstat(descriptor).st_size - start
    for place in range(0, end, _BLOCK_BYTES):
        if b"\xff" not in os.pread(descriptor, _BLOCK_BYTES, start + place):
            first = holes.pop()[0] if holes and holes[-1][1] == place else place
            holes.append((first, min(place + _BLOCK_BYTES, end)))
    return tuple(holes)


def _true_format(head: bytes, frame: _Frame, counts: list[int]) -> dict[int, bytes]:
    """Corrections of the rate in Hz, and of the samples of a frame.

    Args:
        frame: one of those looked at, but not the last.
        counts: the samples of each of these, the last one's at the end.
    """
    corrections: dict[int, bytes] = {}
    rate, longest = frame.format[0], max(counts)
    if rate and rate != int.from_bytes(head[_RATE : _RATE + 3], "big") >> 4:
        corrections[_RATE] = (rate << 4 | head[_RATE + 2] & 15).to_bytes(3, "big")
    least, most = (int.from_bytes(head[at : at + 2], "big") for at in (_BLOCKS, _BLOCKS + 2))
    # By the one size that the header states libFLAC places frames that are counted. The last may be shorter.
    is_other = least == most != longest and not frame.counts_samples and {*counts[:-1]} == {longest}
    if longest > most or is_other:
        corrections[_BLOCKS] = 2 * longest.to_bytes(2, "big")
    return corrections


def parts_from_flac(descriptor: int, budget: Budget) -> list[Span]:
    """The bytes of each of the FLAC files that follow one another in one file, from where to where.

    At most ``MOST_PARTS``; the last one reaches to the end.
    """
    end = os.fstat(descriptor).st_size
    starts: list[int] = []
    for place in range(0, end, _BLOCK_BYTES):
        budget.spend(0)
        block = os.pread(descriptor, _BLOCK_BYTES + _MARK_BYTES - 1, place)
        marks = islice(_MARK.finditer(block), MOST_PARTS - len(starts))
        starts += (place + mark.start() for mark in marks)
    return list(zip(starts, [*starts[1:], end], strict=False))


def beginnings_in_flac(descriptor: int, budget: Budget) -> int:
    """How many times the frames of a file begin to count from 0, where two in a row tell so.

    They do in each of the files that were joined by copying their frames behind the first one's header, as
    ``ffmpeg -f concat -c copy`` does.
    """
    count = 0
    for place in range(0, os.fstat(descriptor).st_size, _BLOCK_BYTES):
        block = os.pread(descriptor, _BLOCK_BYTES + _LONGEST_HEAD, place)
        for match in _FIRST_FRAME.finditer(block, 0, _BLOCK_BYTES + 4):
            budget.spend(0)
            if frame := _frame(block[match.start() : match.start() + _LONGEST_HEAD]):
                probe = os.pread(descriptor, _PROBE_BYTES, place + match.start())
                count += _frame_in(probe) == frame
    return count


def _after_metadata(descriptor: int, start: int) -> int:
    """Where the first frame should stand."""
    place = start + 4
    for _ in range(_MOST_BLOCKS):
        head = os.pread(descriptor, 4, place)
        place += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & 0x80:
            break
    return place


def _frame_in(data: bytes) -> _Frame | None:
    """The first of two frames in a row."""
    before = None
    for frame in _frames(data):
        if before and before.is_followed_by(frame):
            return before
        before = frame
    return None


def _frames(data: bytes, backward: bool = False) -> Iterator[_Frame]:
    """What looks like a frame's header, and has its checksum right: few places in random bytes have."""
    place = data.rfind(b"\xff") if backward else data.find(b"\xff")
    while place >= 0:
        if frame := _frame(data[place : place + _LONGEST_HEAD]):
            yield frame
        place = data.rfind(b"\xff", 0, place) if backward else data.find(b"\xff", place + 1)


def _frame(head: bytes) -> _Frame | None:
    """The frame with this header; None if it is none."""
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
    place += extra
    rate_extra = {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    stated = int.from_bytes(head[place : place + rate_extra], "big")
    place += rate_extra
    if len(head) <= place or _crc8(head[:place]) != head[place]:
        return None
    if extra:
        count = int.from_bytes(rest, "big") + 1
    else:
        count = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    rate = stated * {12: 1_000, 13: 1, 14: 10}[rate_code] if rate_extra else _HZ[rate_code]
    channels = head[3] >> 4
    return _Frame(number, bool(head[1] & 1), count, (rate, channels if channels < 8 else 1))


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value
