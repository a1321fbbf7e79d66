"""ASF's descriptions and its library of metadata."""

from __future__ import annotations

import struct
from functools import partial

import tag_bytes as made
from merkit.engine.audio.tags.asf import read_asf

DESCRIPTION = "75b22633-668e-11cf-a6d9-00aa0062ce6c"
EXTENDED = "d2d0a440-e307-11d2-97f0-00a0c95ea850"
EXTENSION = "5fbf03b5-a92e-11cf-8ee3-00c00c205365"
LIBRARY = "44231c94-9498-49d1-a141-1d134e457054"


read = partial(made.tags_read, read_asf)


def description(title: str, author: str) -> bytes:
    texts = [made.utf16(text) for text in (title, author, "", "", "")]
    return made.asf_object(DESCRIPTION, struct.pack("<5H", *map(len, texts)) + b"".join(texts))


def extended(pairs: list[tuple[str, bytes, int]]) -> bytes:
    body = b"".join(
        struct.pack("<H", len(made.utf16(name)))
        + made.utf16(name)
        + struct.pack("<2H", kind, len(value))
        + value
        for name, value, kind in pairs
    )
    return made.asf_object(EXTENDED, struct.pack("<H", len(pairs)) + body)


def library(pairs: list[tuple[str, bytes, int]]) -> bytes:
    body = b"".join(
        struct.pack("<4HI", 0, 0, len(made.utf16(name)), kind, len(value)) + made.utf16(name) + value
        for name, value, kind in pairs
    )
    inner = made.asf_object(LIBRARY, struct.pack("<H", len(pairs)) + body)
    return made.asf_object(EXTENSION, bytes(18) + struct.pack("<I", len(inner)) + inner)


def test_the_first_artist_stands_in_the_description_and_others_before_or_behind_it() -> None:
    others = [("Author", made.utf16(name), 0) for name in made.ARTISTS[1:]]
    album = extended(
        [
            ("WM/Picture", made.PICTURE[:60_000], 1),
            ("WM/ARTISTS", made.utf16("Other"), 0),
            ("WM/AlbumTitle", made.utf16(made.ALBUM), 0),
        ]
    )
    expected = {"artist": made.ARTISTS, "title": [made.TITLE], "album": [made.ALBUM]}
    first = description(made.TITLE, made.ARTISTS[0])
    picture = ("WM/Picture", made.PICTURE, 1)
    for objects in (
        library([picture, *others]) + first + album,
        first + album + library([*others, picture]),
        first + album + extended(others),
    ):
        assert read(made.asf(objects) + b"packets") == expected


def test_files_without() -> None:
    assert read(made.asf(b"")) == {}
    assert read(made.asf(description("", ""))) == {}
