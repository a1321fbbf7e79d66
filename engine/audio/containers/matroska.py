"""Matroska and WebM files that follow one another in one file (RFC 8794, RFC 9559)."""

from __future__ import annotations

import os

from .ogg_pages import MOST_PARTS, Part

_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
_HEAD_BYTES = 12  # of an element: an identifier of 4 bytes, and at most 8 of its size


def parts_from_matroska(descriptor: int) -> list[Part]:
    """The bytes of each of them, from where to where; none where the file begins otherwise.

    A segment that does not state its size, such as that of a live recording, reaches to the end.
    """
    end = os.fstat(descriptor).st_size
    starts: list[int] = []
    place: int | None = 0
    while place is not None and len(starts) < MOST_PARTS:
        segment = _after_element(descriptor, place, _EBML)
        if segment is None:
            break
        starts.append(place)
        place = _after_element(descriptor, segment, _SEGMENT)
    return list(zip(starts, [*starts[1:], end], strict=False))


def _after_element(descriptor: int, place: int, identifier: bytes) -> int | None:
    """Where the element at ``place`` ends; None where it is another one, or states no size."""
    head = os.pread(descriptor, _HEAD_BYTES, place)
    if head[:4] != identifier or len(head) < 5:
        return None
    width = 9 - head[4].bit_length()  # of the size, in bytes: as many as there are zeros before the first 1
    field = int.from_bytes(head[4 : 4 + width], "big")
    size = field & (1 << 7 * width) - 1
    if width > 8 or size == (1 << 7 * width) - 1:
        return None
    return place + 4 + width + size
