"""Ogg files whose pages are changed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


_TABLE = _table()


def pages_of(data: bytes) -> list[bytes]:
    pages, at = [], 0
    while at < len(data):
        body = at + 27 + data[at + 26]
        end = body + sum(data[at + 27 : body])
        pages.append(data[at:end])
        at = end
    return pages


def granule_of(page: bytes) -> int:
    return struct.unpack_from("<q", page, 6)[0]


def with_checksum(page: bytes) -> bytes:
    changed = bytearray(page)
    changed[22:26] = bytes(4)
    value = 0
    for byte in changed:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    struct.pack_into("<I", changed, 22, value)
    return bytes(changed)


def with_granules(data: bytes, change: Callable[[int, int], int]) -> bytes:
    """The file whose pages of sound have other granule positions: of their number, and the one they had."""
    pages = []
    for number, page in enumerate(pages_of(data)):
        granule = granule_of(page)
        new = struct.pack("<q", change(number, granule)) if granule > 0 else page[6:14]
        pages.append(with_checksum(page[:6] + new + page[14:]))
    return b"".join(pages)


def numbered(pages: Sequence[bytes]) -> bytes:
    """The file of these pages, counted anew, of which the last one ends the stream."""
    data = []
    for number, page in enumerate(pages):
        flags = page[5] & ~4 | 4 * (number == len(pages) - 1)
        head = page[:5] + bytes((flags,)) + page[6:18] + struct.pack("<I", number)
        data.append(with_checksum(head + page[22:]))
    return b"".join(data)


def joined(data: bytes, times: int, heads: int, back: int) -> bytes:
    """The sound of a file so often, by copying its packets: at each joint its clock goes ``back`` samples."""
    pages = pages_of(data)
    step = granule_of(pages[-1]) - back
    sound = [
        page[:6] + struct.pack("<q", granule_of(page) + number * step) + page[14:]
        for number in range(times)
        for page in pages[heads:]
    ]
    return numbered([*pages[:heads], *sound])


def with_empty_page(data: bytes, granule: int) -> bytes:
    """The file with one page more, that ends the stream and holds nothing, as VLC writes it."""
    pages = pages_of(data)
    head = b"OggS\0\4" + struct.pack("<q", granule) + pages[0][14:18]
    return numbered([*pages, head + bytes(8) + b"\0"])


def ogg_of_packets(heads: Sequence[bytes], packets: Sequence[bytes], samples: int, a_page: int) -> bytes:
    """A file of heads, each on a page of its own, and so many packets a page, of so many samples each."""
    pages = [(0, [head]) for head in heads]
    for first in range(0, len(packets), a_page):
        group = packets[first : first + a_page]
        pages.append(((first + len(group)) * samples, list(group)))
    data = []
    for number, (granule, group) in enumerate(pages):
        lacing = b"".join(bytes([255] * (len(packet) // 255) + [len(packet) % 255]) for packet in group)
        head = b"OggS\0" + struct.pack("<BqIII", 2 * (number == 0), granule, 7, number, 0)
        data.append(head + bytes((len(lacing),)) + lacing + b"".join(group))
    return numbered(data)


def speex(seconds: float) -> bytes:
    """Noise of 8 kHz: frames of 20 ms of the third mode, 160 bits each, whose parameters are random."""
    head = b"Speex   " + b"1.2".ljust(20, b"\0")
    head += struct.pack("<13i", 1, 80, 8_000, 0, 4, 1, -1, 160, 0, 1, 0, 0, 0)
    comments = struct.pack("<II", 0, 0)
    rng = random.Random(0)
    packets = [(3 << 155 | rng.getrandbits(155)).to_bytes(20, "big") for _ in range(round(50 * seconds))]
    return ogg_of_packets([head, comments], packets, 160, 50)
