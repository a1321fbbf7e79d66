"""ID3v2 in all versions and encodings, ID3v1, APEv2."""

from __future__ import annotations

import struct
import zlib
from functools import partial

import pytest
import tag_bytes as made
from merkit.engine.audio.formats import id3v2_length
from merkit.engine.audio.tags.id3 import read_apev2, read_id3v1, read_id3v2, read_id3v2_at_end
from tag_bytes import tags_read

id3v2 = partial(tags_read, read_id3v2)


@pytest.mark.parametrize("flags", [0, 0x80], ids=["plain", "unsynchronised"])
@pytest.mark.parametrize("encoding", [1, 2, 3])
@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_version_and_encoding(version: int, encoding: int, flags: int) -> None:
    expected = {"artist": made.ARTISTS, "title": [made.TITLE], "album": [made.ALBUM]}
    assert id3v2(made.whole_id3(version, encoding, 0 if version == 4 else flags) + b"\xff\xfb") == expected


@pytest.mark.parametrize("whole", [True, False], ids=["tag", "frame"])
def test_unsynchronised_frames_of_version_4(whole: bool) -> None:
    content = made.unsynchronised(made.id3_text(["ÿþý", "ÿ\u0100"], 1))
    assert b"\xff\0" in content
    frame = made.id3_frame("TPE1", content, flags=0 if whole else 0x02)
    assert id3v2(made.id3v2(frame, flags=0x80 if whole else 0)) == {"artist": ["ÿþý", "ÿ\u0100"]}


def test_several_frames_of_one_name() -> None:
    frames = b"".join(made.id3_frame("TPE1", made.id3_text([name])) for name in ("First", "Second", "First"))
    assert id3v2(made.id3v2(frames)) == {"artist": ["First", "Second"]}


@pytest.mark.parametrize(
    ("declared", "data", "text"),
    [
        (0, "Beyoncé".encode("latin-1"), "Beyoncé"),
        (0, b"It\x92s", "It\u2019s"),
        (0, b"a\x81b", "a\x81b"),
        (0, "गीत".encode(), "गीत"),  # UTF-8 that calls itself Latin-1
        (3, "Beyoncé".encode("latin-1"), "Beyoncé"),
        (1, "no mark".encode("utf-16-le"), "no mark"),
        (1, b"\xfe\xff" + "big".encode("utf-16-be"), "big"),
        (2, b"\xff\xfe" + "little".encode("utf-16-le"), "little"),
        (1, b"\xff\xfe" + "odd".encode("utf-16-le") + b"x", "odd"),
        (3, b"  ended \0\0\0", "ended"),
    ],
)
def test_texts(declared: int, data: bytes, text: str) -> None:
    frame = made.id3_frame("TIT2", bytes([declared]) + data, 3)
    assert id3v2(made.id3v2(frame, 3)) == {"title": [text]}


@pytest.mark.parametrize(
    ("text", "codecs"),
    [
        ("Titel ä", ("be", "le")),
        ("प्यार", ("le",)),
        ("第一", ("le",)),
        ("一", ("le",)),
        ("N", ("le",)),
        ("ab प्यार 12", ("be", "le")),
    ],
)
def test_utf16_without_a_byte_order_mark(text: str, codecs: tuple[str, ...]) -> None:
    for codec in codecs:
        for end in ("", "\0"):
            frame = made.id3_frame("TIT2", b"\1" + (text + end).encode(f"utf-16-{codec}"), 3)
            assert id3v2(made.id3v2(frame, 3)) == {"title": [text]}


def test_an_extended_header_is_passed_over() -> None:
    frame = made.id3_frame("TIT2", b"\3Title", 3)
    assert id3v2(made.id3v2(b"\0\0\0\6" + bytes(6) + frame, 3, 0x40)) == {"title": ["Title"]}
    frame = made.id3_frame("TIT2", b"\3Title")
    assert id3v2(made.id3v2(made.syncsafe(6) + b"\1\0" + frame, 4, 0x40)) == {"title": ["Title"]}


@pytest.mark.parametrize(
    ("version", "flags", "before", "title"),
    [
        (4, 0x01, made.syncsafe(6), ["Title"]),  # the content's length
        (4, 0x40, b"g", ["Title"]),  # a group
        (4, 0x41, b"g" + made.syncsafe(6), ["Title"]),
        (4, 0x08, b"", None),  # packed
        (4, 0x04, b"", None),  # encrypted
        (3, 0x20, b"g", ["Title"]),
        (3, 0x80, b"", None),
    ],
)
def test_flags_of_frames(version: int, flags: int, before: bytes, title: list[str] | None) -> None:
    frames = made.id3_frame("TIT2", before + b"\3Title", version, flags)
    frames += made.id3_frame("TPE1", b"\3Artist", version)
    tags = id3v2(made.id3v2(frames, version))
    assert (tags.get("title"), tags["artist"]) == (title, ["Artist"])


def test_packed_frames() -> None:
    content = b"\3" + b"Title" * 100
    packed = zlib.compress(content)
    assert len(packed) < 128
    frames = {3: struct.pack(">I", len(content)) + packed, 4: made.syncsafe(len(content)) + packed}
    for version, flags in ((3, 0x80), (4, 0x09)):
        tag = made.id3v2(made.id3_frame("TIT2", frames[version], version, flags), version)
        assert id3v2(tag) == {"title": ["Title" * 100]}
        group = made.id3_frame("TIT2", frames[3][:4] + b"g" + packed, 3, 0xA0)
        assert id3v2(made.id3v2(group, 3)) == {"title": ["Title" * 100]}
    bomb = zlib.compress(b"\3" + bytes(1 << 26))
    assert len(bomb) > 1 << 15
    assert id3v2(made.id3v2(made.id3_frame("TIT2", bytes(4) + bomb, 3, 0x80), 3)) == {}


@pytest.mark.parametrize("broken", [b"\0\1\2\3", b"buf ", b"\0\0\0\0"])
@pytest.mark.parametrize("version", [3, 4])
def test_a_broken_name_costs_its_frame(version: int, broken: bytes) -> None:
    content = b"" if not any(broken) else bytes(30)
    frame = broken + made.id3_frame("TXXX", content, version)[4:]
    frames = made.id3_frame("TIT2", b"\3Title", version) + frame
    frames += made.id3_frame("TPE1", b"\3Artist", version)
    assert id3v2(made.id3v2(frames, version)) == {"title": ["Title"], "artist": ["Artist"]}


def test_sizes_of_frames_that_count_the_added_zeros() -> None:
    texts = {"TIT2": "ÿþý ÿā", "TPE1": "Artist", "TALB": "ÿā"}
    frames = b"".join(
        made.id3_frame(name, made.unsynchronised(made.id3_text([text], 1)), 3) for name, text in texts.items()
    )
    tag = b"ID3\3\0\x80" + made.syncsafe(len(frames) + 20) + frames + bytes(20)
    assert id3v2(tag) == {"title": ["ÿþý ÿā"], "artist": ["Artist"], "album": ["ÿā"]}


def test_plain_sizes_of_tags() -> None:
    """As RealJukebox wrote them."""
    frames = made.id3_frame("GEOB", bytes(40_000), 3) + made.id3_frame("TIT2", b"\0Title", 3)
    frames = frames.ljust(65_525, b"\0")
    tag = b"ID3\3\0\0" + struct.pack(">I", len(frames)) + frames
    for behind in (b"\xff\xfb\x90\0", b"ID3\3"):
        assert id3v2_length(made.part_of(tag + behind).read) == len(tag)
        assert id3v2(tag + behind) == {"title": ["Title"]}
    for other in (tag, tag + b"RIFF", tag[:10] + bytes(4) + tag[14:] + b"\xff\xfb\x90\0"):
        assert id3v2_length(made.part_of(other).read) == 0


def test_plain_sizes_in_version_4() -> None:
    """As old iTunes wrote them; beyond 127 bytes they differ."""
    for size in (200, 300, 20_000):
        picture = b"APIC" + size.to_bytes(4, "big") + bytes(2) + bytes([1]) * size
        tag = made.id3v2(picture + made.id3_frame("TIT2", b"\3Title"))
        assert id3v2(tag) == {"title": ["Title"]}, size


def test_the_length_of_a_tag() -> None:
    tag = made.id3v2(made.id3_frame("TIT2", b"\3Title"))
    assert id3v2_length(made.part_of(tag + b"more").read) == len(tag)
    with_footer = tag[:5] + b"\x10" + tag[6:]
    assert id3v2_length(made.part_of(with_footer + bytes(10)).read) == len(tag) + 10
    for other in (b"", b"ID3", b"ID3\5" + bytes(20), b"ID3\4\0\0\xff\0\0\0\0", b"RIFF" + bytes(20)):
        assert id3v2_length(made.part_of(other).read) == 0
        assert id3v2(other) == {}


def test_a_damaged_tag_ends_at_the_damage() -> None:
    first = made.id3_frame("TIT2", b"\3Title")
    assert id3v2(made.id3v2(first + b"\xff\xff\xff\xff" + bytes(20))) == {"title": ["Title"]}
    too_long = b"TPE1" + b"\x7f\x7f\x7f\x7f" + b"\0\0\3Artist"
    assert id3v2(made.id3v2(first + too_long, padding=0)) == {"title": ["Title"], "artist": ["Artist"]}


@pytest.mark.parametrize("codec", ["latin-1", "utf-8"])
def test_id3v1(codec: str) -> None:
    data = made.id3v1("Déjà Vu".encode(codec), "Beyoncé".encode(codec), b"Album   \0 left over")
    expected = {"title": ["Déjà Vu"], "artist": ["Beyoncé"], "album": ["Album"]}
    assert tags_read(read_id3v1, b"x" * 50 + data) == {**expected, "genre": ["0"]}
    more = {"date": ["1999"], "comment": ["noted"], "track": ["5"]}
    data = data[:93] + b"1999" + b"noted".ljust(28, b"\0") + b"\0\5\xff"  # a genre that is none
    assert tags_read(read_id3v1, data) == {**expected, **more}


def test_id3v1_cut_inside_of_a_character() -> None:
    title = "प्यार दीवाना होता है".encode()[:30]
    with pytest.raises(UnicodeDecodeError):
        title.decode()
    tags = tags_read(read_id3v1, made.id3v1(title, "Andr\xe9".encode("latin-1")))
    assert tags == {"title": ["प्यार दीवा"], "artist": ["André"], "genre": ["0"]}


def test_an_apev2_tag_of_131_bytes_is_no_id3v1() -> None:
    items = [("Title", b"title", 0), ("MP3GAIN_MINMAX", b"103,211", 0)]
    items.append(("x", b"y" * (131 - 32 - 10 - len(made.apev2(items))), 0))
    data = made.apev2([]) + made.apev2(items)
    assert len(data) == 131
    assert data[3:6] == b"TAG"
    for before in (b"", b"frames" * 50):
        assert tags_read(read_id3v1, before + data) == {}
        assert tags_read(read_apev2, before + data) == {"title": ["title"]}


LYRICS = b"LYRICSBEGININD0000200LYR00005hello000034LYRICS200"


@pytest.mark.parametrize(
    "after",
    [b"", made.id3v1(b"Old", b"Old"), LYRICS + made.id3v1(b"Old", b"Old"), LYRICS],
    ids=["alone", "before ID3v1", "before Lyrics3 and ID3v1", "before Lyrics3"],
)
def test_apev2(after: bytes) -> None:
    items = [
        ("Cover Art (Front)", made.PICTURE, 2),
        ("ARTIST", "\0".join(made.ARTISTS).encode(), 0),
        ("Title", made.TITLE.encode(), 0),
        ("album", made.ALBUM.encode(), 0),
        ("Artist", b"binary", 2),
    ]
    tags = tags_read(read_apev2, b"frames" * 50 + made.apev2(items) + after)
    assert tags == {"artist": made.ARTISTS, "title": [made.TITLE], "album": [made.ALBUM]}
    assert tags_read(read_apev2, made.apev2_in_front(items) + b"frames" * 50 + after) == tags
    damaged = made.apev2(items) + after.replace(b"LYRICSBEGIN", b"LYRICSBEGUN").replace(b"000034", b"00003x")
    assert tags_read(read_apev2, b"frames" * 50 + damaged) == ({} if LYRICS in after else tags)


@pytest.mark.parametrize("after", [b"", made.id3v1(b"Old", b"Old")], ids=["alone", "before ID3v1"])
def test_id3v2_at_the_end(after: bytes) -> None:
    tag = made.id3v2(
        made.id3_frame("TIT2", b"\3Title") + made.id3_frame("TPE1", b"\3One"), flags=0x10, padding=0
    )
    for behind, expected in ((b"3DI" + tag[3:10], {"title": ["Title"], "artist": ["One"]}), (b"", {})):
        assert tags_read(read_id3v2_at_end, b"frames" * 50 + tag + behind + after) == expected
