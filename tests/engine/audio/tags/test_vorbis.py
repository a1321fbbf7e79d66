"""Vorbis comments in FLAC and in Ogg."""

from __future__ import annotations

import pytest
import tag_bytes as made
from merkit.engine.audio.tags.vorbis import read_flac, read_ogg

EXPECTED = {"artist": made.ARTISTS, "title": [made.TITLE], "album": [made.ALBUM]}
PACKETS = {
    "vorbis": (b"\1vorbis" + bytes(23), b"\3vorbis" + made.whole_comments() + b"\1"),
    "opus": (b"OpusHead" + bytes(11), b"OpusTags" + made.whole_comments()),
    "flac": (b"\x7fFLAC\1\0\0\1fLaC" + bytes(38), b"\x84\0\0\0" + made.whole_comments()),
    "speex": (b"Speex   " + bytes(72), made.whole_comments()),
}


def test_flac() -> None:
    blocks = [(0, bytes(34)), (6, made.PICTURE), (4, made.whole_comments()), (1, bytes(99))]
    assert made.tags_read(read_flac, made.flac(blocks) + b"\xff\xf8frames") == EXPECTED
    assert made.tags_read(read_flac, made.flac([(0, bytes(34))]) + b"\xff\xf8frames") == {}


@pytest.mark.parametrize("codec", PACKETS)
def test_ogg(codec: str) -> None:
    """The comments cover several pages."""
    data = made.ogg([*PACKETS[codec], b"\5vorbis"])
    assert data.count(b"OggS") > 5
    assert made.tags_read(read_ogg, data) == EXPECTED


def test_ogg_with_video_before_the_sound() -> None:
    """Pages of two streams take turns."""
    video = [made.ogg([packet], 1) for packet in (b"\x80theora" + bytes(40), b"\x81theora" + bytes(40))]
    sound = [made.ogg([packet], 2) for packet in PACKETS["vorbis"]]
    assert made.tags_read(read_ogg, video[0] + sound[0] + video[1] + sound[1]) == EXPECTED


def test_packets_that_share_a_page() -> None:
    first, second = b"OpusHead" + bytes(11), b"OpusTags" + made.comments([("artist", "First")])
    head = made.ogg([first])[:26]
    page = head + bytes([2, len(first), len(second)]) + first + second
    assert made.tags_read(read_ogg, page) == {"artist": ["First"]}


def test_bytes_that_are_not_utf8() -> None:
    data = made.comments([("artist", "Beyonce")]).replace(b"Beyonce", "Beyoncé".encode("latin-1"))
    assert made.tags_read(read_flac, made.flac([(4, data)])) == {"artist": ["Beyoncé"]}
