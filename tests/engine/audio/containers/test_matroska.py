"""Matroska files joined by ``cat``, and encrypted ones."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from audio_files import noise
from ffmpeg_files import place_of, write
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio import chains
from merkit.engine.audio.containers.matroska import is_encrypted, parts_from_matroska
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import AudioError, UnreadableError
from merkit.engine.spec import AudioSpec
from reading import refusal, windows_from_file
from tag_bytes import part_of

EBML, SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"


def parts_of(path: Path) -> list[tuple[int, int]]:
    with path.open("rb") as file:
        return parts_from_matroska(file.fileno())


def test_all_are_heard_at_their_own_rates(tmp_path: Path) -> None:
    rates = (48_000, 44_100, 48_000)
    sounds = [noise(4 + i, rate, i) for i, rate in enumerate(rates)]
    for i, (sound, rate) in enumerate(zip(sounds, rates, strict=True)):
        write(tmp_path / f"{i}.mka", "matroska", "pcm_s16le", sound, rate=rate)
    joined = tmp_path / "all.mka"
    joined.write_bytes(b"".join((tmp_path / f"{i}.mka").read_bytes() for i in range(3)))
    with closing(open_decoder(joined, Limits())) as decoder:
        assert decoder.sample_rate == 48_000
        assert abs(decoder.length - 15 * 48_000) < 0.01 * 48_000
        ahead = decoder.length - len(sounds[2])
        np.testing.assert_allclose(decoder.read(ahead + 48_000, 9_000), sounds[2][48_000:57_000], atol=1e-4)
        np.testing.assert_allclose(decoder.read(9_000, 9_000), sounds[0][9_000:18_000], atol=1e-4)


def test_a_read_goes_on_where_a_part_ends_in_padding(tmp_path: Path) -> None:
    sound = noise(5, 48_000)
    song = write(tmp_path / "a.webm", "webm", "libopus", sound, rate=48_000).read_bytes()
    (tmp_path / "b.webm").write_bytes(song * 3)
    with closing(open_decoder(tmp_path / "b.webm", Limits())) as decoder:
        whole = decoder.read(0, decoder.length)
        assert len(whole) == pytest.approx(3 * len(sound), abs=0.05 * 48_000)
        second = place_of(whole[6 * 48_000 : 8 * 48_000], sound)
    assert second == pytest.approx(48_000, abs=0.02 * 48_000)


def test_a_part_that_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    song = write(tmp_path / "a.mka", "matroska", "pcm_s16le", noise(4, 16_000), rate=16_000).read_bytes()
    empty = EBML + b"\x80" + SEGMENT + b"\x80"
    (tmp_path / "b.mka").write_bytes(empty + song + empty)
    with closing(open_decoder(tmp_path / "b.mka", Limits())) as decoder:
        assert abs(decoder.length - 4 * 16_000) < 160
    (tmp_path / "c.mka").write_bytes(empty * 3)
    with pytest.raises(AudioError, match="no decodable audio"):
        open_decoder(tmp_path / "c.mka", Limits())


def test_what_ends_the_time_in_the_last_part_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(Limits())

    def late(samples: int, lost: bool = False) -> None:
        raise UnreadableError("late")

    def decoder(slot: object, part: object) -> None:
        budget.spend = late
        raise AudioError("broken off")

    monkeypatch.setattr(chains._Slot, "decoder", decoder)
    (tmp_path / "a").write_bytes(b"")
    with io.FileIO(tmp_path / "a") as file, pytest.raises(UnreadableError):
        chains.decoder_of_segments(file, [(0, 9)], budget)


def test_a_size_that_is_not_known_reaches_to_the_end(tmp_path: Path) -> None:
    live = EBML + b"\x80" + SEGMENT + b"\x01" + b"\xff" * 7 + bytes(50)
    (tmp_path / "a").write_bytes(EBML + b"\x81x" + SEGMENT + b"\x40\x03abc" + live)
    assert parts_of(tmp_path / "a") == [(0, 15), (15, 15 + len(live))]


def element(name: bytes, content: bytes) -> bytes:
    return name + (1 << 56 | len(content)).to_bytes(8, "big") + content


def track(kind: int, encoding: int | None) -> bytes:
    encodings = b""
    if encoding is not None:
        encodings = element(b"m\x80", element(b"b@", element(b"P3", bytes([encoding]))))
    return element(b"\xae", element(b"\x83", bytes([kind])) + encodings)


@pytest.mark.parametrize(
    ("tracks", "encrypted"),
    [
        ([(2, None)], False),
        ([(2, 0)], False),  # compressed
        ([(2, 1)], True),
        ([(1, 1), (2, None)], False),
        ([(1, None), (2, 1)], True),
        ([(2, 1), (2, None)], False),
        ([(1, 1)], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_what_is_encrypted(tracks: list[tuple[int, int | None]], encrypted: bool, live: bool) -> None:
    body = element(b"\x15I\xa9f", bytes(50)) + element(
        b"\x16T\xaek", b"".join(track(*each) for each in tracks)
    )
    segment = SEGMENT + b"\x01" + b"\xff" * 7 + body if live else element(SEGMENT, body)
    assert is_encrypted(part_of(element(EBML, b"") + segment)) is encrypted


@pytest.mark.parametrize("copies", [1, 2])
def test_an_encrypted_song_is_an_error_that_says_so(tmp_path: Path, copies: int) -> None:
    """FFmpeg decodes what is encrypted to noise."""
    song = write(tmp_path / "a.mka", "matroska", "aac", noise(12, 44_100))
    assert windows_from_file(song, AudioSpec())
    whole = song.read_bytes()
    head, body = whole[: whole.index(SEGMENT)], whole[whole.index(b"\x1fC\xb6u") :]
    tracks = element(b"\x16T\xaek", track(2, 1))
    song.write_bytes(copies * (head + element(SEGMENT, tracks + body)))
    assert refusal(song, AudioSpec()).startswith("is encrypted (DRM)")


@given(st.binary(max_size=60), st.binary(max_size=40))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mka"
    path.write_bytes(EBML + head + SEGMENT + rest)
    parts = parts_of(path)
    assert not parts or (parts[0][0], parts[-1][1]) == (0, path.stat().st_size)
    assert not is_encrypted(part_of(path.read_bytes()))
