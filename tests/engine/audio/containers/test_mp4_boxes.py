"""Encrypted songs of shops: iTunes' .m4p, Audible's .aax, and Common Encryption."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import tag_bytes as made
from audio_files import noise
from ffmpeg_files import write
from merkit.engine.audio.containers.mp4_boxes import has_fragment_index, is_encrypted
from merkit.engine.spec import AudioSpec
from reading import refusal, windows_from_file

SPEC = AudioSpec()


def track(handler: bytes, kind: bytes) -> bytes:
    described = bytes(7) + b"\1" + made.box(kind, bytes(28))
    table = made.box(b"minf", made.box(b"stbl", made.box(b"stsd", described)))
    return made.box(b"trak", made.box(b"mdia", made.box(b"hdlr", bytes(8) + handler + bytes(12)) + table))


@pytest.mark.parametrize(
    ("tracks", "encrypted"),
    [
        ([(b"soun", b"mp4a")], False),
        ([(b"soun", b"enca")], True),
        ([(b"soun", b"drms")], True),
        ([(b"soun", b"aavd"), (b"vide", b"jpeg")], True),
        ([(b"vide", b"encv"), (b"soun", b"mp4a")], False),
        ([(b"soun", b"enca"), (b"soun", b"mp4a")], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_encrypted(tracks: list[tuple[bytes, bytes]], encrypted: bool, first: bool) -> None:
    movie = made.box(b"moov", made.box(b"mvhd", bytes(100)) + b"".join(track(*each) for each in tracks))
    sound = made.box(b"mdat", bytes(99))
    song = made.box(b"ftyp", b"M4A ") + (movie + sound if first else sound + movie)
    assert is_encrypted(made.part_of(song)) is encrypted


@pytest.mark.parametrize("kind", [b"enca", b"drms", b"aavd"])
def test_an_encrypted_song_is_an_error_that_says_so(tmp_path: Path, kind: bytes) -> None:
    """Without this look some of the packets decode by chance, and the song is silence."""
    song = write(tmp_path / "a.m4a", "ipod", "aac", noise(12, 44_100))
    assert windows_from_file(song, SPEC)
    data = song.read_bytes()
    at = data.index(b"mp4a", data.index(b"stsd"))
    song.write_bytes(data[:at] + kind + data[at + 4 :])
    assert refusal(song, SPEC).startswith("is encrypted (DRM)")


def test_real_encryption(tmp_path: Path) -> None:
    key = "76a6c65c5ea762046bd749a2e632cc03"
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key}
    song = write(tmp_path / "a.mp4", "mp4", "aac", noise(12, 44_100), options=options)
    assert refusal(song, SPEC).startswith("is encrypted (DRM)")
    assert av.open(str(song)).streams.audio  # FFmpeg itself opens it


@pytest.mark.parametrize("name", [b"mdat", b"moov"])
def test_one_that_breaks_off_inside_of_a_long_size(tmp_path: Path, name: bytes) -> None:
    """As a download that stopped between the 16 bytes before the sound of a large file."""
    before = made.box(b"ftyp", b"M4A ") + (made.box(b"mdat", bytes(99)) if name == b"moov" else b"")
    for count in range(8, 16):
        path = tmp_path / "a.m4a"
        path.write_bytes(before + (b"\0\0\0\1" + name + (1 << 20).to_bytes(8, "big"))[:count])
        assert refusal(path, SPEC).startswith("breaks off before its index (moov)")


@pytest.mark.parametrize("has_index", [True, False])
def test_an_index_behind_many_fragments(tmp_path: Path, has_index: bool) -> None:
    fragment = made.box(b"moof", b"mfra") + made.box(b"mdat", bytes(8))
    index = made.box(b"mfra", made.box(b"mfro", bytes(8)))
    path = tmp_path / "a.m4a"
    path.write_bytes(made.box(b"ftyp", b"isom") + fragment * 8_000 + (index if has_index else b""))
    with path.open("rb") as file:
        assert has_fragment_index(file.fileno()) is has_index
