"""Whether the pages of an Ogg file count what its packets hold: some writers' clocks stop, restart, or run at
another rate. Packets of Opus and Vorbis say by their first bytes how long they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import pairwise

from .ogg_pages import HEAD_BYTES, LONGEST_PAGE, PAGE
from .ogg_stream import LAST, OggStream

CELT = 16
"""The first configuration of a packet of Opus without SILK."""

_PROBES = 8  # places in a file whose pages must count upwards
_FEW_PAGES = 4
_SAME = 0.02  # of a page's length: copies out of Matroska are rounded to milliseconds
_MOST_GAPS = 0.25  # of the pages: where more of them differ, it is the clock that is wrong
_OPUS_SIZES = (480, 960, 1_920, 2_880, 120, 240, 480, 960, 480, 960, 480, 960)  # SILK, CELT, both
_MODE_BITS = 41  # of a mode in the setup of Vorbis: flag, 32 zeros, mapping
_MOST_MAPPINGS = 64

_Page = tuple[int, int, int]
"""Flags, granule position, and the samples of the packets that end in the page."""


def opus_samples(packet: bytes) -> int:
    """The length of a packet, by its first bytes (RFC 6716, 3.1)."""
    kind = packet[0] >> 3
    size = _OPUS_SIZES[kind & 3 | (kind >= CELT) << 2 | (12 <= kind < CELT) << 3]
    code = packet[0] & 3
    return size * (packet[1] & 63 if code == 3 else min(2, code + 1))


def counts_wrongly(descriptor: int, stream: OggStream, rate: int) -> bool:
    """Whether the pages of a stream of Opus or Vorbis are no measure of where its sound stands.

    A gap in them is no fault, nor is a beginning at another sample than 0. Reads little of most files.

    Args:
        rate: in Hz, of the samples that the pages count.
    """
    size, slack = os.fstat(descriptor).st_size, rate // 10
    places = [stream.begin + (size - stream.begin) * probe // _PROBES for probe in range(_PROBES)]
    found = [next(_pages(descriptor, place, place + LONGEST_PAGE, _no_samples), None) for place in places]
    granules = [page[1] for page in found if page and page[1] >= 0]
    is_upwards = all(low <= high for low, high in pairwise([*granules, stream.end]))
    if is_upwards and stream.end > 0 and not _differ(_last_pages(descriptor, stream, size), slack // 4):
        return _is_trimmed(descriptor, stream, slack // 20)
    return _differ(list(_pages(descriptor, stream.begin, size, _lengths(stream))), slack)


def _is_trimmed(descriptor: int, stream: OggStream, slack: int) -> bool:
    """Whether sound before 0 is to be left out of Vorbis of more than two channels, which libraries read.

    As ``ffmpeg -ss 20 -c copy`` leaves it in the first page. libvorbis leaves little of it out, but counts
    without it after a seek.
    """
    head = stream.heads[0]
    if not head.startswith(b"\1vorbis") or head[11] <= 2:
        return False
    pages = _pages(descriptor, stream.begin, stream.begin + 1, _lengths(stream))
    return any(samples - granule > slack for flags, granule, samples in pages if not flags & LAST)


def _last_pages(descriptor: int, stream: OggStream, size: int) -> list[_Page]:
    """Some pages that end a file of so many bytes: most pages are far shorter than they may be."""
    for length in (LONGEST_PAGE // 4, LONGEST_PAGE, 2 * LONGEST_PAGE, (_FEW_PAGES + 1) * LONGEST_PAGE):
        pages = list(_pages(descriptor, max(stream.begin, size - length), size, _lengths(stream)))
        if len(pages) >= _FEW_PAGES:
            break
    return pages


def _differ(pages: list[_Page], slack: int) -> bool:
    """Whether pages count otherwise than their packets, by more than ``slack`` samples, gaps left out."""
    position, pending, total, behind, others, timed = None, 0, 0, 0, 0, 0
    for number, (flags, granule, samples) in enumerate(pages):
        pending += samples
        total += samples
        if granule < 0:
            continue
        if position is not None:
            # The last page may end inside of a packet.
            is_last = flags & LAST or number == len(pages) - 1
            more = granule - position - pending
            if more < 0 and is_last:
                more = min(0, granule - position)
            behind += max(0, -more)
            others += abs(more) > max(slack / 20, _SAME * pending)
            timed += 1
        position, pending = granule, 0
    return (
        behind > slack + _SAME * total
        or others > max(1, _MOST_GAPS * timed)
        or (position == 0 and total > slack)
    )


def _pages(descriptor: int, start: int, end: int, length: Callable[[bytes], int]) -> Iterator[_Page]:
    """The pages that begin from ``start`` on, and before ``end``."""
    begun = b""
    while start < end:
        page = os.pread(descriptor, LONGEST_PAGE + len(PAGE), start)
        if not page.startswith(PAGE):
            there = page.find(PAGE)
            start, begun = start + (there if there >= 0 else LONGEST_PAGE), b""
            continue
        body = at = HEAD_BYTES + page[26] if len(page) > HEAD_BYTES else len(page)
        samples, first = 0, begun
        for size in page[HEAD_BYTES:body]:
            first = first or page[at : at + 2]
            at += size
            if size < 255:
                samples += length(first) if first else 0
                first = b""
        if max(at, HEAD_BYTES) > len(page):  # it is cut off
            return
        begun = first
        yield page[5], int.from_bytes(page[6:14], "little", signed=True), samples
        start += at


def _no_samples(packet: bytes) -> int:
    return 0


def _lengths(stream: OggStream) -> Callable[[bytes], int]:
    """What says of the packets of a stream, in their order, how many samples each gives."""
    head = stream.heads[0]
    if head.startswith(b"OpusHead"):
        return lambda packet: opus_samples(packet + b"\0")
    sizes = 1 << (head[28] & 15), 1 << (head[28] >> 4)
    modes = [sizes[is_long] for is_long in _vorbis_modes(stream.heads[2])]
    mask, before = (1 << (len(modes) - 1).bit_length()) - 1, 0

    def length(packet: bytes) -> int:
        nonlocal before
        mode = packet[0] >> 1 & mask
        size = modes[mode] if mode < len(modes) else 0
        samples, before = (before + size) // 4 if before else 0, size
        return samples

    return length


def _vorbis_modes(setup: bytes) -> list[bool]:
    """Whether blocks of each mode are long ones. Modes end a setup: it is read backwards."""
    bits, modes, found = int.from_bytes(setup, "little"), [], []
    at = bits.bit_length() - 1 - _MODE_BITS  # its last bit that is set ends it
    while at >= 6:
        mode = bits >> at & (1 << _MODE_BITS) - 1
        if mode >> 1 & 0xFFFFFFFF or mode >> 33 >= _MOST_MAPPINGS:
            break
        modes.insert(0, bool(mode & 1))
        if bits >> at - 6 & 63 == len(modes) - 1:  # how many modes there are stands before them
            found = modes.copy()
        at -= _MODE_BITS
    return found
