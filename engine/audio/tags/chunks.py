"""Tags in WAV and AIFF: ID3v2 in a chunk of its own, and the formats' own chunks of text."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from ..containers.chunks import KNOWN
from ..containers.part import Part
from .id3 import read_id3v2
from .values import LONGEST, Tags, add, text_from_bytes

_INFO = {b"IART": "artist", b"INAM": "title", b"IPRD": "album",
         b"ICRD": "date", b"IPRT": "track", b"ITRK": "track",
         b"IGNR": "genre", b"ICMT": "comment"}  # fmt: skip
_AIFF = {b"AUTH": "artist", b"NAME": "title"}
_OF_INFO = re.compile(rb"I[A-Z0-9]{3}")
_UNKNOWN_SIZE = 0xFFFFFFFF


def read_id3_chunks(part: Part, tags: Tags) -> None:
    """Adds the tags of the chunks ``id3 `` of a RIFF, RIFX, RF64, BW64, AIFF or AIFF-C file."""
    for name, chunk in _chunks_of_file(part):
        if name.lower() == b"id3 ":
            read_id3v2(chunk, tags)


def read_text_chunks(part: Part, tags: Tags) -> None:
    """Adds the tags of such a file's LIST INFO (WAV), or of its NAME and AUTH (AIFF)."""
    for name, chunk in _chunks_of_file(part):
        if name == b"LIST" and chunk.read(0, 4) == b"INFO":
            for inner, text in _chunks(chunk.part(4), _order(part)):
                add(tags, _INFO.get(inner), _text(text))
        add(tags, _AIFF.get(name), _text(chunk) if name in _AIFF else "")


def _text(chunk: Part) -> str:
    return text_from_bytes(chunk.read(0, LONGEST).split(b"\0")[0])


def _order(part: Part) -> str:
    return ">" if part.read(0, 4) in (b"RIFX", b"FORM") else "<"


def _chunks_of_file(part: Part) -> Iterator[tuple[bytes, Part]]:
    return _chunks(part.part(12), _order(part))


def _chunks(part: Part, order: str) -> Iterator[tuple[bytes, Part]]:
    place, long_data = 0, 0
    while len(head := part.read(place, 8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        chunk = part.part(place + 8, size)
        if name == b"ds64":  # of RF64: sizes that 32 bits do not hold
            (long_data,) = struct.unpack("<Q", chunk.read(8, 8))
        elif name == b"data" and size == _UNKNOWN_SIZE:
            size = long_data or part.length
        yield name, chunk
        place += 8 + size
        behind = part.read(place, 4)
        place += size % 2 and behind not in KNOWN and not _OF_INFO.fullmatch(behind)
