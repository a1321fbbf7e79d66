"""Tags of ASF: WMA and WMV."""

from __future__ import annotations

import struct

from ..containers.asf_objects import header_of_asf, objects
from ..containers.part import Part
from .values import LONGEST, Tags, add, text_from_utf16

_NAMES = {"author": "artist", "title": "title", "wm/albumtitle": "album"}
_DESCRIPTION = bytes.fromhex("3326b2758e66cf11a6d900aa0062ce6c")
_EXTENDED = bytes.fromhex("40a4d0d207e3d21197f000a0c95ea850")
_EXTENSION = bytes.fromhex("b503bf5f2ea9cf118ee300c00c205365")
_METADATA = bytes.fromhex("eacbf8c5af5b77488467aa8c44fa4cca")
_LIBRARY = bytes.fromhex("941c23449894d149a1411d134e457054")
_TEXT = 0  # the type of a value


def read_asf(part: Part, tags: Tags) -> None:
    """Adds the tags of an ASF file."""
    _read_objects(header_of_asf(part), tags)


def _read_objects(part: Part, tags: Tags) -> None:
    # The description first: it has the first artist, and others may stand before it.
    for kind, content in sorted(objects(part), key=lambda pair: pair[0] != _DESCRIPTION):
        if kind == _DESCRIPTION:
            title_bytes, author_bytes = struct.unpack("<2H", content.read(0, 4))
            add(tags, "title", text_from_utf16(content.read(10, title_bytes)))
            add(tags, "artist", text_from_utf16(content.read(10 + title_bytes, author_bytes)))
        elif kind == _EXTENDED:
            _read_extended(content, tags)
        elif kind in (_METADATA, _LIBRARY):
            _read_library(content, tags)
        elif kind == _EXTENSION:
            for inner, inner_content in objects(content.part(22)):
                if inner in (_METADATA, _LIBRARY):
                    _read_library(inner_content, tags)


def _read_extended(part: Part, tags: Tags) -> None:
    """Names and values, each behind its length."""
    (count,), place = struct.unpack("<H", part.read(0, 2)), 2
    for _ in range(count):
        (length,) = struct.unpack("<H", part.read(place, 2))
        name = text_from_utf16(part.read(place + 2, length))
        place += 2 + length
        kind, length = struct.unpack("<2H", part.read(place, 4))
        _add(tags, name, kind, part.part(place + 4, length))
        place += 4 + length


def _read_library(part: Part, tags: Tags) -> None:
    """Records of a head with two lengths, a name and a value."""
    (count,), place = struct.unpack("<H", part.read(0, 2)), 2
    for _ in range(count):
        name_length, kind, length = struct.unpack("<2HI", part.read(place + 4, 8))
        name = text_from_utf16(part.read(place + 12, name_length))
        _add(tags, name, kind, part.part(place + 12 + name_length, length))
        place += 12 + name_length + length


def _add(tags: Tags, name: str, kind: int, value: Part) -> None:
    if kind == _TEXT:
        key = name.strip("\0").lower()
        add(tags, _NAMES.get(key), text_from_utf16(value.read(0, LONGEST)))
