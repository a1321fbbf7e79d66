"""The packets of an Ogg file's one stream (RFC 3533), from any place in it.

Only what is whole is read: pages whose checksums are right and that follow one another. Of anything else
``IrregularError`` says no more than that a library that mends damage must read it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .ogg_pages import HEAD_BYTES, LONGEST_PAGE, PAGE

OGG_HEADS = {"opus": 2, "vorbis": 3}
"""The packets before the sound of a codec."""

_OPUS_RATE_AT = 12  # in its head; a note about the sound that was encoded (RFC 7845)
_OPUS_LOW_RATE = 24_000  # up to that libsndfile follows the note
_OPUS_RATE = (48_000).to_bytes(4, "little")
_CONTINUED, _FIRST, LAST = 1, 2, 4  # flags of a page
_PROBES = 30  # of a search
_MOST_HEADS = 16 << 20  # bytes: a picture is among them
_UPSIDE_DOWN = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ALL = 0xFFFFFFFF


class IrregularError(Exception):
    """The file is damaged there, or is not one plain stream."""


@dataclass(frozen=True)
class _Page:
    start: int
    end: int
    flags: int
    granule: int  # -1: no packet ends in it
    number: int
    lacing: bytes
    body: bytes

    def packets(self, begun: bytes | bytearray | None) -> tuple[list[bytes], bytes | bytearray | None]:
        """The packets that end in the page, and the beginning of one that does not.

        Args:
            begun: such a beginning of the page before; None where it is not known.
        """
        packets, at, size, first = [], 0, 0, True
        is_lost = begun is None and self.flags & _CONTINUED
        for length in self.lacing:
            size += length
            if length == 255:
                continue
            packet = self.body[at : at + size]
            if first and self.flags & _CONTINUED:
                packet = bytes(begun or b"") + packet
            if not (first and is_lost):
                packets.append(packet)
            at, size, first = at + size, 0, False
        if not self.lacing or self.lacing[-1] < 255:
            return packets, b""
        rest = self.body[at:]
        if first and self.flags & _CONTINUED:
            if is_lost:
                return packets, None
            begun = begun if isinstance(begun, bytearray) else bytearray(begun or b"")
            begun += rest  # in place: a cover takes hundreds of pages
            return packets, begun
        return packets, rest


def opus_at_48_khz(descriptor: int, start: int) -> dict[int, bytes]:
    """Corrections, by their offset from ``start``, that have libsndfile decode Opus there at its own rate.

    Where the rate before encoding was low, or is not stated, it decodes at a low one, without what is above.
    """
    page = bytearray(os.pread(descriptor, LONGEST_PAGE, start))
    body = HEAD_BYTES + page[26] if len(page) > HEAD_BYTES and page.startswith(PAGE) else 0
    at = body + _OPUS_RATE_AT
    low = int.from_bytes(page[at : at + 4], "little") <= _OPUS_LOW_RATE
    if not (body and low and page.startswith(b"OpusHead", body)):
        return {}
    page = page[: body + sum(page[HEAD_BYTES:body])]
    is_true = _checksum(bytes(page)) == page[22:26]
    page[at : at + 4] = _OPUS_RATE
    return {at: _OPUS_RATE, 22: _checksum(bytes(page))} if is_true else {}


class OggStream:
    """The stream of a file that holds no other.

    Args:
        heads: packets before its sound.

    Attributes:
        heads: these packets.
        begin: the byte at which the pages of its sound begin.
        end: the granule position of the last page: in samples, of the end of what is heard.

    Raises:
        IrregularError: its heads are not whole, or the file ends in anything but a page of the stream.
    """

    def __init__(self, descriptor: int, heads: int) -> None:
        self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size
        self._stream = os.pread(descriptor, HEAD_BYTES, 0)[14:18]
        self.heads: list[bytes] = []
        self.begin, begun, number = 0, b"", 0
        while len(self.heads) < heads:
            page = self._page(self.begin)
            if page is None or page.number != number or self.begin > _MOST_HEADS:
                raise IrregularError
            packets, begun = page.packets(begun)
            self.heads += packets
            self.begin, number = page.end, number + 1
        if begun or len(self.heads) > heads:  # sound begins in a page of its own
            raise IrregularError
        tail = os.pread(descriptor, LONGEST_PAGE, max(0, self._size - LONGEST_PAGE))
        last = self._page(self._size - len(tail) + tail.rfind(PAGE))
        if last is None or last.end != self._size or last.granule < 0:
            raise IrregularError
        self.end, self._last = last.granule, last

    def without_last(self) -> dict[int, bytes]:
        """Corrections of the file, by their offset, that take the mark of the last page away."""
        place, size = self._last.start, self._last.end - self._last.start
        page = bytearray(os.pread(self._descriptor, size, place))
        page[5] &= ~LAST
        return {place + 5: bytes(page[5:6]), place + 22: _checksum(bytes(page))}

    def pages(self, granule: int, slack: int) -> Iterator[tuple[int, list[bytes], bool]]:
        """Each page's granule position, the packets that end in it, and whether the stream ends with it.

        Begins with a page that ends before ``granule``, by no more than ``slack`` in most files; at the
        stream's beginning with (0, [], False).

        Raises:
            IrregularError: a page is damaged, missing, or another stream's.
        """
        offset = self._place(granule, slack)
        begun: bytes | bytearray | None = None
        if offset == self.begin:
            begun = b""
            yield 0, [], False
        number = None
        while offset < self._size:
            page = self._page(offset)
            if page is None or number not in (None, page.number) or page.flags & _FIRST:
                raise IrregularError
            if begun is not None and bool(begun) != bool(page.flags & _CONTINUED):
                raise IrregularError
            packets, begun = page.packets(begun)
            is_last = bool(page.flags & LAST) or page.end >= self._size
            yield page.granule, packets, is_last
            if is_last:
                return
            offset, number = page.end, page.number + 1

    def _place(self, granule: int, slack: int) -> int:
        """Where a page begins that ends at most ``slack`` before a granule position, or the first one."""
        low, low_granule = self.begin, 0
        high, high_granule = self._size, self.end
        for probe in range(_PROBES):
            if granule - low_granule <= slack or low + 1 >= high:
                break
            at = (low + high) // 2
            if probe % 3 < 2 and high_granule > low_granule:  # bit rates differ little along a song
                share = (granule - slack / 2 - low_granule) / (high_granule - low_granule)
                at = min(max(low + 1, low + int(share * (high - low))), high - 1)
            page = self._next_page(at, high)
            if page is None:
                high = at
            elif page.granule > granule:
                high, high_granule = at, page.granule
            else:
                low, low_granule = page.start, page.granule
        return low

    def _next_page(self, start: int, end: int) -> _Page | None:
        """The first page from ``start`` on, in which a packet ends; None if there is none before ``end``."""
        block = os.pread(self._descriptor, min(2 * LONGEST_PAGE, end + LONGEST_PAGE - start), start)
        at = block.find(PAGE)
        while 0 <= at < end - start:
            page = self._page(start + at)
            if page and page.granule >= 0:
                return page
            at = block.find(PAGE, at + 1)
        return None

    def _page(self, start: int) -> _Page | None:
        """The page that begins there; None where there is none of this stream, or it is damaged."""
        head = os.pread(self._descriptor, HEAD_BYTES + 255, max(0, start))
        if not head.startswith(PAGE) or len(head) < HEAD_BYTES or head[14:18] != self._stream:
            return None
        lacing = head[HEAD_BYTES : HEAD_BYTES + head[26]]
        size = HEAD_BYTES + head[26] + sum(lacing)
        data = os.pread(self._descriptor, size, start)
        if len(data) < size or _checksum(data) != data[22:26]:
            return None
        granule = int.from_bytes(data[6:14], "little", signed=True)
        number = int.from_bytes(data[18:22], "little")
        body = data[HEAD_BYTES + len(lacing) :]
        return _Page(start, start + size, data[5], granule, number, lacing, body)


def _checksum(page: bytes) -> bytes:
    """Of a page, as it stands in it: a CRC of the polynomial of zlib's, with all bits in the other order."""
    data = b"".join((page[:22], bytes(4), page[26:])).translate(_UPSIDE_DOWN)
    return (zlib.crc32(data, _ALL) ^ _ALL).to_bytes(4, "big").translate(_UPSIDE_DOWN)
