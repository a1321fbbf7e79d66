"""iTunes' tags in MP4."""

from __future__ import annotations

from functools import partial

import pytest
import tag_bytes as made
from merkit.engine.audio.tags.mp4 import read_mp4

ITEMS = (
    made.box(b"covr", made.data_box(made.PICTURE, 13))
    + made.box(b"\xa9nam", made.data_box(made.TITLE.encode()))
    + made.box(b"\xa9ART", b"".join(made.data_box(name.encode()) for name in made.ARTISTS))
    + made.box(b"----", made.box(b"name", b"\0\0\0\0ARTISTS") + made.data_box(b"Other"))
    + made.box(b"\xa9alb", made.data_box(made.ALBUM.encode("utf-16-be"), 2))
)
VERSION = bytes(4)
HANDLER = made.box(b"hdlr", bytes(25))


read = partial(made.tags_read, read_mp4)


def movie(meta: bytes) -> bytes:
    return made.box(b"moov", made.box(b"mvhd", bytes(100)) + made.box(b"udta", made.box(b"meta", meta)))


@pytest.mark.parametrize("sound", [made.box(b"mdat", bytes(99)), made.long_box(b"mdat", bytes(99))])
@pytest.mark.parametrize("version", [VERSION, b""], ids=["mp4", "quicktime"])
def test_where_tags_stand(version: bytes, sound: bytes) -> None:
    moov = movie(version + HANDLER + made.box(b"ilst", ITEMS))
    for data in (sound + moov, moov + sound):
        assert read(made.box(b"ftyp", b"M4A ") + data) == {
            "artist": made.ARTISTS,
            "title": [made.TITLE],
            "album": [made.ALBUM],
        }


def test_a_box_up_to_the_end_of_the_file() -> None:
    moov = movie(VERSION + HANDLER + made.box(b"ilst", ITEMS))
    assert read(made.box(b"ftyp", b"M4A ") + bytes(4) + moov[4:])["title"] == [made.TITLE]


def test_several_items_of_one_name() -> None:
    items = b"".join(made.box(b"\xa9ART", made.data_box(name)) for name in (b"First", b"Second"))
    assert read(movie(VERSION + HANDLER + made.box(b"ilst", items))) == {"artist": ["First", "Second"]}


def test_files_without() -> None:
    for data in (
        b"",
        made.box(b"ftyp", b"M4A "),
        movie(VERSION + HANDLER),
        made.box(b"moov", b"\0\0\0\7udta"),
    ):
        assert read(data) == {}
