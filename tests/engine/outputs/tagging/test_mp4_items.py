"""Items of MP4 keep their bytes: those, too, that mutagen would write otherwise."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from audio_files import noise
from merkit.engine.outputs.tagging.moods import read_moods, write_moods
from merkit.engine.outputs.tagging.others import other_entries
from merkit.engine.outputs.tagging.sound import sound_digest
from sound_formats import FORMATS

pytest.importorskip("mutagen")


def atom(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def item(name: bytes, kind: int, *values: bytes, language: int = 0) -> bytes:
    head = struct.pack(">II", kind, language)
    return atom(name, b"".join(atom(b"data", head + value) for value in values))


def free_item(name: bytes, value: bytes, whose: bytes = b"com.apple.iTunes") -> bytes:
    names = atom(b"mean", bytes(4) + whose) + atom(b"name", bytes(4) + name)
    return atom(b"----", names + atom(b"data", struct.pack(">II", 1, 0) + value))


MP4_ITEMS = [
    item(b"gnre", 0, b"\0\x12"),  # a number, which is not to become a name,
    item(b"\xa9gen", 1, b"Filmi"),  # nor to stand before this one
    item(b"covr", 13, b"\xff\xd8\xff one"),
    item(b"covr", 13, b"\xff\xd8\xff two", b"\xff\xd8\xff three"),
    item(b"covr", 27, b"BM four"),
    item(b"pgap", 21, b"\2"),
    item(b"\xa9ART", 1, b"A"),
    item(b"\xa9ART", 1, b"B"),
    item(b"\xa9nam", 0, b"T\xe9tle", language=0x15C7),
    item(b"zzzz", 0, b"\1\2"),
    atom(b"qqqq", b"no data"),
    free_item(b"X", b"a"),
    free_item(b"x", b"b"),
    free_item(b"MOOD", b"of another program's own", whose=b"org.example"),
]


def test_items_of_mp4_keep_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    m4a = next(each for each in FORMATS if each.name == "M4A AAC")
    m4a.write(path, noise(1.2, 44_100)[:, None], 44_100)
    sound = sound_digest(path)

    # Ours take the place of those of another program in capitals of its own.
    with_items(path, [*MP4_ITEMS, free_item(b"mood", b"Epic"), free_item(b"MER_HAPPY", b"1")])
    names = [each[4:8] for each in MP4_ITEMS]
    expected = [[each[4:] for _, each in sorted(zip(names, MP4_ITEMS, strict=True), key=lambda e: e[0])]]
    assert other_entries(path) == expected
    for values in ({"MOOD": "sad", "MER_SAD": "0.900"}, {"MOOD": "calm"}, {}):
        write_moods(path, values)
        assert read_moods(path) == values
        assert other_entries(path) == expected
        assert sound_digest(path) == sound


def with_items(path: Path, items: list[bytes]) -> None:
    """Puts items in the place of a file's tags, which stand behind its sound."""
    from mutagen.mp4._atom import Atoms

    with path.open("rb") as file:
        boxes: Any = Atoms(file).path(b"moov", b"udta", b"meta", b"ilst")
    data = bytearray(path.read_bytes())
    assert data.index(b"mdat") < boxes[0].offset
    new, old = atom(b"ilst", b"".join(items)), boxes[-1]
    data[old.offset : old.offset + old.length] = new
    for box in boxes[:-1]:
        data[box.offset : box.offset + 4] = struct.pack(">I", box.length + len(new) - old.length)
    path.write_bytes(data)
