"""The elements of Matroska and WebM, files of them that follow one another in one, and encrypted ones.

RFC 8794, RFC 9559.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from .file_view import Span
from .ogg_pages import MOST_PARTS
from .part import Part, within

EBML, SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
TRACKS, TRACK, _TRACK_TYPE = b"\x16T\xaek", b"\xae", b"\x83"
_ENCODING_TYPE = b"m\x80", b"b@", b"P3"  # ContentEncodings, ContentEncoding, ContentEncodingType
_SOUND = 2
_HEAD_BYTES = 12  # of an element: an identifier of 4 bytes, and at most 8 of its size


def elements(part: Part) -> Iterator[tuple[bytes, Part]]:
    """Each element: its identifier, and what it holds, which reaches to the end where no size is stated."""
    place = 0
    while head := _head(part.read(place, _HEAD_BYTES)):
        identifier, start, size = head
        place += start
        size = part.length - place if size is None else size
        yield identifier, part.part(place, size)
        place += size


def number_at(part: Part, *path: bytes) -> int:
    """The largest number at a path; 0 without one."""
    found = within(part, elements, *path)
    return max((int.from_bytes(number.read(0, 8), "big") for number in found), default=0)


def parts_from_matroska(descriptor: int) -> list[Span]:
    """The bytes of each of them, from where to where; none where the file begins otherwise.

    A segment that does not state its size, such as that of a live recording, reaches to the end.
    """
    end = os.fstat(descriptor).st_size
    starts: list[int] = []
    place: int | None = 0
    while place is not None and len(starts) < MOST_PARTS:
        segment = _after_element(descriptor, place, EBML)
        if segment is None:
            break
        starts.append(place)
        place = _after_element(descriptor, segment, SEGMENT)
    return list(zip(starts, [*starts[1:], end], strict=False))


def is_encrypted(file: Part) -> bool:
    """As ``asf_objects.is_encrypted``, of a Matroska or WebM file."""
    if file.read(0, 4) != EBML:
        return False
    tracks = next(within(file, elements, SEGMENT, TRACKS), file.part(0, 0))
    sounds = [track for track in within(tracks, elements, TRACK) if number_at(track, _TRACK_TYPE) == _SOUND]
    return bool(sounds) and all(number_at(track, *_ENCODING_TYPE) for track in sounds)


def _after_element(descriptor: int, place: int, identifier: bytes) -> int | None:
    """Where the element at ``place`` ends; None where it is another one, or states no size."""
    name, start, size = _head(os.pread(descriptor, _HEAD_BYTES, place)) or (b"", 0, None)
    return place + start + size if name == identifier and size is not None else None


def _head(data: bytes) -> tuple[bytes, int, int | None] | None:
    """An element's identifier, where its content begins, and the size of that if it states one."""
    # Both numbers have as many bytes as there are zeros before the first 1, and one.
    start = 9 - int.from_bytes(data[:1], "big").bit_length()
    if start > 4 or len(data) <= start:
        return None
    width = 9 - data[start].bit_length()
    size = int.from_bytes(data[start : start + width], "big") & (1 << 7 * width) - 1
    is_stated = width <= 8 and size != (1 << 7 * width) - 1
    return data[:start], start + width, size if is_stated else None
