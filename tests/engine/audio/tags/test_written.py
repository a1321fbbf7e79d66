"""Tags of whole files: which of a file's tags count, and what hostile files cost."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
import tag_bytes as made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from merkit.engine.audio.tags.written import tags_from_file
from merkit.engine.errors import AudioError

FRAMES = b"\xff\xfb\x90\x64" + bytes(500)
SOUND = made.chunk(b"fmt ", bytes(16)) + made.chunk(b"data", bytes(999))
ITEMS = (
    made.box(b"\xa9nam", made.data_box(made.TITLE.encode()))
    + made.box(b"\xa9ART", b"".join(made.data_box(name.encode()) for name in made.ARTISTS))
    + made.box(b"\xa9alb", made.data_box(made.ALBUM.encode()))
)
FILES = {
    "mp3": made.whole_id3() + FRAMES,
    "aac": made.whole_id3(3, 1) + b"\xff\xf1" + bytes(500),
    "ape": FRAMES
    + made.apev2(
        [
            ("Artist", "\0".join(made.ARTISTS).encode(), 0),
            ("Title", made.TITLE.encode(), 0),
            ("Album", made.ALBUM.encode(), 0),
        ]
    ),
    "wav": made.riff(SOUND + made.chunk(b"id3 ", made.whole_id3())),
    "aiff": made.riff(made.chunk(b"ID3 ", made.whole_id3(), ">"), b"FORM", b"AIFF", ">"),
    "flac": made.flac([(0, bytes(34)), (4, made.whole_comments())]),
    "opus": made.ogg([b"OpusHead" + bytes(11), b"OpusTags" + made.whole_comments()]),
    "m4a": made.box(b"ftyp", b"M4A ")
    + made.box(
        b"moov",
        made.box(
            b"udta", made.box(b"meta", bytes(4) + made.box(b"hdlr", bytes(25)) + made.box(b"ilst", ITEMS))
        ),
    ),
    "mka": made.matroska(
        made.element(
            "1254C367",
            made.element(
                "7373",
                made.simple_tag("TITLE", made.TITLE)
                + b"".join(made.simple_tag("ARTIST", name) for name in made.ARTISTS)
                + made.simple_tag("ALBUM", made.ALBUM),
            ),
        )
    ),
    "wma": made.asf(
        made.asf_object(
            "75b22633-668e-11cf-a6d9-00aa0062ce6c",
            struct.pack("<5H", len(made.utf16(made.TITLE)), len(made.utf16("First")), 0, 0, 0)
            + made.utf16(made.TITLE)
            + made.utf16("First"),
        )
    ),
}
FILES["mov"] = made.box(b"pnot", bytes(12)) + FILES["m4a"]  # QuickTime puts a preview first


def tags_of(folder: Path, data: bytes) -> dict[str, str]:
    path = folder / "song"
    path.write_bytes(data)
    return tags_from_file(path)


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"wma"}))
def test_one_rule_for_several_artists(tmp_path: Path, name: str) -> None:
    assert tags_of(tmp_path, FILES[name]) == made.EXPECTED


def test_wma(tmp_path: Path) -> None:
    assert tags_of(tmp_path, FILES["wma"]) == {"artist": "First", "title": made.TITLE}


def test_a_better_tag_wins_and_another_fills_its_gaps(tmp_path: Path) -> None:
    v2 = made.id3v2(made.id3_frame("TIT2", b"\3A title longer than the thirty letters of ID3v1"))
    v1 = made.id3v1(b"A title longer than the thirt", b"Artist", b"Old")
    ape = made.apev2([("Album", b"Album", 0), ("Title", b"Other", 0)])
    title = "A title longer than the thirty letters of ID3v1"
    assert tags_of(tmp_path, v2 + FRAMES + ape + v1) == {"artist": "Artist", "title": title, "album": "Album"}
    assert tags_of(tmp_path, v2 + v2 + FRAMES)["title"] == title  # twice, as some programs leave it
    flac = made.flac([(0, bytes(34)), (4, made.comments([("ARTIST", "Comment")]))])
    assert tags_of(tmp_path, v2 + flac) == {"artist": "Comment", "title": title}
    info = made.chunk(b"LIST", b"INFO" + made.chunk(b"INAM", b"A title lo") + made.chunk(b"IPRD", b"Album"))
    file = made.riff(SOUND + info + made.chunk(b"id3 ", v2))
    assert tags_of(tmp_path, file) == {"title": title, "album": "Album"}


def test_tags_that_rows_do_not_carry(tmp_path: Path) -> None:
    """A newer tag takes them over; the better of two wins here too."""
    names = ("title", "date", "track", "genre", "comment")
    v1 = made.id3v1(b"Title", b"Artist")[:93] + b"1999" + b"noted".ljust(28, b"\0") + b"\0\5\x11"
    ape = made.apev2([("Year", b"2013", 0), ("Genre", b"Filmi", 0)])
    frames = [made.id3_frame(name, b"\0" + text, 3) for name, text in (("TYER", b"2020"), ("TRCK", b"3/9"))]
    path = tmp_path / "song"
    of_v1 = {"title": "Title", "date": "1999", "track": "5", "genre": "17", "comment": "noted"}
    of_ape = {**of_v1, "date": "2013", "genre": "Filmi"}
    of_v2 = {**of_ape, "date": "2020", "track": "3/9"}
    v2 = made.id3v2(b"".join(frames), 3)
    for before, after, expected in ((b"", v1, of_v1), (b"", ape + v1, of_ape), (v2, ape + v1, of_v2)):
        path.write_bytes(before + FRAMES + after)
        assert tags_from_file(path, names) == expected
        assert tags_from_file(path) == {"artist": "Artist", "title": "Title"}


def test_damage_costs_what_stands_behind_it(tmp_path: Path) -> None:
    broken = made.flac([(4, made.comments([("TITLE", "Title"), ("ARTIST", "Old")])[:-12])])
    assert tags_of(tmp_path, broken) == {"title": "Title"}
    assert tags_of(tmp_path, broken + made.id3v1(b"", b"Artist")) == {"artist": "Artist", "title": "Title"}


@pytest.mark.parametrize("body", [b"", b"\0\0\0"])
def test_a_tag_too_short_for_the_head_that_its_flag_promises(tmp_path: Path, body: bytes) -> None:
    tag = b"ID3\4\0\x40" + made.syncsafe(len(body)) + body
    assert tags_of(tmp_path, tag + FRAMES + made.id3v1(b"Title", b"")) == {"title": "Title"}
    assert tags_of(tmp_path, b"ID3\4\0\x40\0\0\0\x20ab") == {}


def test_files_without_tags(tmp_path: Path) -> None:
    for data in (b"x", FRAMES, b"\x1a\x45\xdf\xa3" + bytes(500), b"RIFF" + bytes(4) + b"AVI "):
        assert tags_of(tmp_path, data) == {}


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        tags_from_file(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioError, match="not a regular file"):
        tags_from_file(tmp_path / "pipe")


_FRAME = b"TPE1" + made.syncsafe(65_000) + b"\0\0\3"
_PAGE = b"OggS" + bytes(10) + b"\1\0\0\0" + bytes(8)
HOSTILE = {
    "frames of nothing": b"ID3\4\0\0\x7f\x7f\x7f\x7f" + (b"TPE1" + bytes(6)) * 500_000,
    "the same, unsynchronised": b"ID3\3\0\x80\x7f\x7f\x7f\x7f" + (b"TPE1" + bytes(6)) * 500_000,
    "many values": b"ID3\4\0\0\x7f\x7f\x7f\x7f" + (_FRAME + b"a\0" * 32_499 + b"b") * 100,
    "blocks of nothing": b"fLaC" + b"\1\0\0\0" * 1_000_000,
    "comments of nothing": b"fLaC\x84\xff\xff\xff" + bytes(4) + b"\xff\xff\xff\xff" + bytes(1 << 22),
    "comments in memory": made.ogg([b"OpusTags" + bytes(4) + b"\xff\xff\xff\xff" + bytes(1 << 22)]),
    "pages of nothing": (_PAGE + b"\0") * 200_000,
    "packets of a byte": (_PAGE + b"\xff" + b"\1" * 255 + b"x" * 255) * 10_000,
    "boxes of nothing": made.box(b"moov", b"") * 500_000,
    "chunks of nothing": b"RIFF\0\0\0\0WAVE" + (b"abcd" + bytes(4)) * 500_000,
    "elements of nothing": made.matroska(made.element("1254C367", b"ss\x80" * 500_000)),
    "seeks to themselves": made.matroska(
        made.element("114D9B74", (b"M\xbb\x8bS\xab\x84\x12T\xc3gS\xac\x81\0") * 99_000)
    ),
    "objects of nothing": made.asf((bytes(16) + struct.pack("<Q", 24)) * 200_000),
    "a tag of 4 GB": b"ID3\4\0\0\x7f\x7f\x7f\x7f"
    + made.id3_frame("TIT2", b"")[:4]
    + b"\x7f\x7f\x7f\x7f\0\0\3",
    "a box of exabytes": made.box(b"ftyp", b"") + b"\0\0\0\1moov" + b"\x7f" + b"\xff" * 7,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_little(tmp_path: Path, name: str) -> None:
    (tmp_path / "song").write_bytes(HOSTILE[name])
    began = time.process_time()
    tags = tags_from_file(tmp_path / "song")
    assert time.process_time() - began < 1.0  # below 0.2 s where nothing else runs
    assert all(len(text) < 20_000_000 for text in tags.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_damage_raises(tmp_path: Path, data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(sorted(FILES.values()))))
    place = st.integers(0, min(len(file) - 1, 600)) | st.integers(len(file) - 200, len(file) - 1)
    for position, byte in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=8)):
        file[max(0, position)] = byte
    end = data.draw(st.none() | st.integers(1, len(file)))
    assert set(tags_of(tmp_path, bytes(file[:end]))) <= {"artist", "title", "album"}
