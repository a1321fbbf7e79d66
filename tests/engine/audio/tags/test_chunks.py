"""WAV and AIFF: ID3 in a chunk, LIST INFO, NAME and AUTH."""

from __future__ import annotations

import struct

import pytest
import tag_bytes as made
from merkit.engine.audio.tags.chunks import read_id3_chunks, read_text_chunks

SOUND = made.chunk(b"fmt ", bytes(16)) + made.chunk(b"data", bytes(999))


@pytest.mark.parametrize("name", [b"id3 ", b"ID3 "])
@pytest.mark.parametrize("kind", [b"RIFF", b"RIFX", b"FORM"])
def test_id3_in_a_chunk(kind: bytes, name: bytes) -> None:
    order = "<" if kind == b"RIFF" else ">"
    sound = made.chunk(b"data", bytes(999), order)  # of an odd size: a byte follows it
    tag = made.chunk(name, made.whole_id3(), order)
    for chunks in (sound + tag, tag + sound):
        data = made.riff(chunks, kind, b"AIFF" if kind == b"FORM" else b"WAVE", order)
        assert made.tags_read(read_id3_chunks, data)["artist"] == made.ARTISTS
        assert made.tags_read(read_text_chunks, data) == {}


@pytest.mark.parametrize("codec", ["latin-1", "utf-8"])
def test_list_info(codec: str) -> None:
    texts = [(b"INAM", "Déjà Vu"), (b"IART", "Beyoncé"), (b"IART", "Zoë"), (b"ICMT", "x"), (b"IPRD", "Album")]
    info = b"INFO" + b"".join(made.chunk(name, text.encode(codec) + b"\0") for name, text in texts)
    data = made.riff(SOUND + made.chunk(b"LIST", b"adtl" + bytes(8)) + made.chunk(b"LIST", info))
    expected = {"title": ["Déjà Vu"], "artist": ["Beyoncé", "Zoë"], "album": ["Album"], "comment": ["x"]}
    assert made.tags_read(read_text_chunks, data) == expected


def test_text_chunks_of_aiff() -> None:
    chunks = made.chunk(b"NAME", b"D\xe9j\xe0", ">") + made.chunk(b"SSND", bytes(99), ">")
    chunks += made.chunk(b"AUTH", b"First", ">") + made.chunk(b"AUTH", b"Second", ">")
    data = made.riff(chunks, b"FORM", b"AIFC", ">")
    assert made.tags_read(read_text_chunks, data) == {"title": ["Déjà"], "artist": ["First", "Second"]}


@pytest.mark.parametrize("kind", [b"RIFF", b"RIFX", b"FORM"])
@pytest.mark.parametrize("before", [b"data", b"bext", b"LIST"])
def test_chunks_behind_one_without_the_byte_that_makes_it_even(kind: bytes, before: bytes) -> None:
    order = "<" if kind == b"RIFF" else ">"
    odd = made.chunk(before, bytes(999), order)[:-1]
    info = b"INFO" + made.chunk(b"INAM", b"Title", order)[:-1] + made.chunk(b"ISFT", b"Lavf5", order)[:-1]
    info += made.chunk(b"IART", b"Artist", order)
    texts = made.chunk(b"LIST", info, order)
    if kind == b"FORM":
        texts = made.chunk(b"NAME", b"Title", order)[:-1] + made.chunk(b"AUTH", b"Artist", order)
    form = b"AIFF" if kind == b"FORM" else b"WAVE"
    for first, second in ((made.chunk(b"id3 ", made.whole_id3(), order), texts), (texts, b"")):
        data = made.riff(odd + first + second, kind, form, order)
        assert made.tags_read(read_text_chunks, data) == {"title": ["Title"], "artist": ["Artist"]}
        assert made.tags_read(read_id3_chunks, data).get("title", []) == [made.TITLE] * bool(second)


def test_rf64_beyond_what_32_bits_hold() -> None:
    sizes = made.chunk(b"ds64", struct.pack("<QQQI", 0, 1_000, 0, 0))
    data = b"data" + struct.pack("<I", 0xFFFFFFFF) + bytes(1_000)
    file = made.riff(sizes + data + made.chunk(b"id3 ", made.whole_id3()), b"RF64")
    assert made.tags_read(read_id3_chunks, file)["title"] == [made.TITLE]
    streamed = made.riff(data + made.chunk(b"id3 ", made.whole_id3()))  # of unknown length: all is sound
    assert made.tags_read(read_id3_chunks, streamed) == {}
