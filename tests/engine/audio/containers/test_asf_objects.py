"""Encrypted WMA."""

from __future__ import annotations

from pathlib import Path

import pytest
import tag_bytes as made
from audio_files import noise, write_audio
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.containers.asf_objects import is_encrypted
from merkit.engine.spec import AudioSpec
from reading import refusal, windows_from_file

SPEC = AudioSpec()
CONTENT = "2211b3fb-bd23-11d2-b4b7-00a0c955fc6e"
EXTENDED = "298ae614-2622-4c17-b935-dae07ee9289c"
STREAM = "b7dc0791-a9b7-11cf-8ee6-00c00c205365"
SOUND = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
PICTURE = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")


def stream(kind: bytes, flags: int) -> bytes:
    return made.asf_object(STREAM, kind + bytes(32) + flags.to_bytes(2, "little") + bytes(4))


def with_objects(wma: bytes, objects: bytes) -> bytes:
    size = int.from_bytes(wma[16:24], "little")
    return wma[:16] + (size + len(objects)).to_bytes(8, "little") + wma[24:size] + objects + wma[size:]


@pytest.mark.parametrize("guid", [CONTENT, EXTENDED])
def test_an_encrypted_song_is_an_error_that_says_so(tmp_path: Path, guid: str) -> None:
    song = write_audio(tmp_path / "a.wma", noise(12, 44_100), 44_100)
    assert windows_from_file(song, SPEC)
    song.write_bytes(with_objects(song.read_bytes(), made.asf_object(guid, bytes(40))))
    assert refusal(song, SPEC).startswith("is encrypted (DRM)")


def test_a_stream_may_be_marked_alone(tmp_path: Path) -> None:
    song = write_audio(tmp_path / "a.wma", noise(12, 44_100), 44_100)
    data = bytearray(song.read_bytes())
    data[data.index(SOUND) + 49] |= 0x80
    song.write_bytes(data)
    assert refusal(song, SPEC).startswith("is encrypted (DRM)")


@pytest.mark.parametrize(
    ("streams", "encrypted"),
    [
        ([(SOUND, 1)], True),
        ([(SOUND, 0x8001)], True),
        ([(SOUND, 0x8001), (PICTURE, 2)], True),
        ([(SOUND, 1), (PICTURE, 0x8002)], False),
        ([(SOUND, 1), (SOUND, 0x8002)], False),
    ],
)
def test_of_streams_the_marked_ones_are_encrypted(streams: list[tuple[bytes, int]], encrypted: bool) -> None:
    objects = made.asf_object(CONTENT, bytes(40)) + b"".join(stream(*each) for each in streams)
    assert is_encrypted(made.part_of(made.asf(objects))) is encrypted


@given(st.binary(max_size=300))
def test_any_bytes(junk: bytes) -> None:
    for data in (made.asf(junk), made.asf(junk)[:20], junk):
        assert not is_encrypted(made.part_of(data))
