"""Boxes of MP4, M4A and MOV (ISO/IEC 14496-12): is the index there, is the sound encrypted."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .part import Effort, Exhausted, Part, part_of_file, within

_ENDLESS = 1 << 62
_ENCRYPTED = {b"enca", b"drms", b"aavd"}  # Common Encryption, iTunes' FairPlay, Audible


def boxes(part: Part) -> Iterator[tuple[bytes, Part]]:
    """Each box in ``part``, one after the other: its type, and what it holds.

    Raises:
        Exhausted: too much was read.
    """
    place = 0
    while len(head := part.read(place, 16)) >= 8:
        size, name = struct.unpack_from(">I4s", head)
        start = 8
        if size == 1:
            start = 16  # the size is not known where the file breaks off before its end
            size = struct.unpack_from(">Q", head, 8)[0] if len(head) == 16 else start + 1
        elif size == 0:  # up to the end
            size = part.length - place
        if size < start:
            return
        yield name, part.part(place + start, size - start)
        place += size


def breaks_off(descriptor: int) -> bool:
    """Whether an MP4 file has sound and ends before its index, without which nothing finds the sound."""
    try:
        names = {name for name, _ in boxes(part_of_file(descriptor))}
    except Exhausted:
        return False
    return b"mdat" in names and b"moov" not in names


def breaks_off_in_index(descriptor: int) -> bool:
    """Whether an MP4 file ends inside of its index. FFmpeg opens some of these: tags and padding end it."""
    endless = Part(descriptor, 0, _ENDLESS, Effort())  # so that a box is as long as it states
    try:
        indices = [box for name, box in boxes(endless) if name == b"moov"]
        sized = [index for index in indices if 0 < index.length < _ENDLESS // 2]  # others reach to the end
        return any(not index.read(index.length - 1, 1) for index in sized)
    except Exhausted:
        return False


def has_fragment_index(descriptor: int) -> bool:
    """Whether an MP4 file names the places of its fragments, as mfra does: by bytes from its beginning."""
    effort = Effort(16 << 20, 1 << 20)  # a fragment a second makes thousands of boxes, and mfra is the last
    try:
        return any(name == b"mfra" for name, _ in boxes(part_of_file(descriptor, effort)))
    except Exhausted:
        return False


def is_encrypted(file: Part) -> bool:
    """As ``asf_objects.is_encrypted``, of an MP4 file. FFmpeg decodes such sound to noise or nothing."""
    known = [kind for track in within(file, boxes, b"moov", b"trak") if (kind := _sound_kind(track))]
    return bool(known) and _ENCRYPTED.issuperset(known)


def _sound_kind(track: Part) -> bytes:
    """The format of a track's first description, such as mp4a; empty where it holds no sound."""
    if not any(handler.read(8, 4) == b"soun" for handler in within(track, boxes, b"mdia", b"hdlr")):
        return b""
    described = next(within(track, boxes, b"mdia", b"minf", b"stbl", b"stsd"), None)
    return described.read(12, 4) if described else b""  # behind version, flags, count and size
