"""Vorbis comments: the tags of FLAC, Ogg Vorbis, Opus, and FLAC and Speex in Ogg."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from ..containers.part import Part
from .values import LONGEST, Tags, add, text_from_bytes

_NAMES = {b"artist": "artist", b"title": "title", b"album": "album"}
_COMMENTS = 4  # the type of a FLAC block
_PAGE_HEAD = 27
_MOST_PACKETS = 1_000  # comments are the second one of their stream
_HEADS = {b"\3vorbis": 7, b"OpusTags": 8}  # how a packet of comments begins, and where its comments do


def read_flac(part: Part, tags: Tags) -> None:
    """Adds the tags of a FLAC file."""
    place, last = 4, False
    while not last and len(head := part.read(place, 4)) == 4:
        last, size = bool(head[0] & 0x80), int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == _COMMENTS:
            _read_comments(part.part(place + 4, size), tags)
        place += 4 + size


def read_ogg(part: Part, tags: Tags) -> None:
    """Adds the tags of the first stream of an Ogg file that has a packet of comments."""
    firsts: dict[int, bytes] = {}
    for stream, packet in islice(_packets(part), _MOST_PACKETS):
        start = _start_of_comments(packet, firsts.get(stream))
        if start is not None:
            _read_comments(part.with_bytes(packet).part(start), tags)
            return
        firsts.setdefault(stream, packet)


def _start_of_comments(packet: bytes, first: bytes | None) -> int | None:
    """Where the comments begin in a packet; None in others. ``first`` is the first one of its stream."""
    for head, start in _HEADS.items():
        if packet.startswith(head):
            return start
    if first is None:
        return None
    if first.startswith(b"\x7fFLAC") and packet and packet[0] & 0x7F == _COMMENTS:
        return 4
    return 0 if first.startswith(b"Speex   ") else None


def _read_comments(part: Part, tags: Tags) -> None:
    place = 4 + struct.unpack("<I", part.read(0, 4))[0]  # behind the vendor's name
    (count,) = struct.unpack("<I", part.read(place, 4))
    place += 4
    for _ in range(count):
        (size,) = struct.unpack("<I", part.read(place, 4))
        key, equals, text = part.read(place + 4, min(size, LONGEST)).partition(b"=")
        if equals:
            add(tags, _NAMES.get(key.lower()), text_from_bytes(text))
        place += 4 + size


def _packets(part: Part) -> Iterator[tuple[int, bytes]]:
    """The packets of an Ogg file, each with the number of its stream."""
    open_packets: dict[int, list[bytes]] = {}
    place = 0
    while len(head := part.read(place, _PAGE_HEAD)) == _PAGE_HEAD and head[:4] == b"OggS":
        (stream,) = struct.unpack_from("<I", head, 14)
        sizes = part.read(place + _PAGE_HEAD, head[26])
        place += _PAGE_HEAD + len(sizes)
        body = part.read(place, sum(sizes))
        place += len(body)
        begin = end = 0
        for size in sizes:
            end += size
            if size < 255:  # the packet ends
                yield stream, b"".join([*open_packets.pop(stream, []), body[begin:end]])
                begin = end
        if begin < end:
            open_packets.setdefault(stream, []).append(body[begin:end])
