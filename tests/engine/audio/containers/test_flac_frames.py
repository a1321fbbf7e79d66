"""FLAC whose header states too little, that is damaged or cut out of another, and files joined by ``cat``."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from ffmpeg_files import place_of, write
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.containers import flac_frames
from merkit.engine.audio.containers.flac_frames import (
    length_from_flac,
    parts_from_flac,
    start_of_flac,
    stretches_without_frames,
)
from merkit.engine.audio.containers.ogg_pages import MOST_PARTS, parts_from_ogg
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.open import open_decoder

RATE = 16_000
MARK = b"fLaC\0\0\0\x22"


def with_total(flac: bytes, total: int) -> bytes:
    field = int.from_bytes(flac[21:26], "big") >> 36 << 36 | total
    return flac[:21] + field.to_bytes(5, "big") + flac[26:]


def assert_heard(
    path: Path, expected: np.ndarray, starts: Iterable[int], count: int = RATE, rate: int = RATE
) -> None:
    """The file has these samples; so many from each start are read, in this order."""
    with closing(open_decoder(path, Limits())) as decoder:
        assert (decoder.sample_rate, decoder.length) == (rate, len(expected))
        for start in starts:
            np.testing.assert_allclose(decoder.read(start, count), expected[start : start + count], atol=1e-4)


def length_of(path: Path) -> tuple[int, int] | None:
    with path.open("rb") as file:
        length = length_from_flac(file.fileno())
        return (length.stated, length.true) if length else None


@given(
    st.integers(9_000, 200_000),
    st.sampled_from([8_000, 44_100, 96_000]),
    st.sampled_from(["PCM_S8", "PCM_24"]),
)
def test_the_last_frames_tell_the_length(
    tmp_path_factory: pytest.TempPathFactory, length: int, rate: int, subtype: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "length.flac"
    soundfile.write(path, noise(length / 8_000, 8_000), rate, subtype)
    assert length_of(path) == (length, length)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert length_of(path) == (length, length)


@pytest.mark.parametrize("total", [0, 1, 4_096, 30_000, 7 * RATE, (1 << 36) - 1])
def test_a_total_that_is_wrong(tmp_path: Path, total: int) -> None:
    sound = noise(5, RATE)
    flac = write_audio(tmp_path / "a.flac", sound, RATE).read_bytes()
    for tag in (b"", b"ID3\4\0\0\0\0\x08\0" + bytes(1_024)):
        (tmp_path / "b.flac").write_bytes(tag + with_total(flac, total))
        assert_heard(tmp_path / "b.flac", sound, (40_000, 0), 1 << 20)


@pytest.mark.parametrize("total", [5 * RATE + 20_000, (1 << 36) - 1])
def test_a_total_that_is_too_large(tmp_path: Path, total: int) -> None:
    """Nothing is decoded to find out, and a total that is larger by less than a frame is believed."""
    sound = noise(5, RATE)
    flac = write_audio(tmp_path / "a.flac", sound, RATE).read_bytes()
    for stated, length in ((total, len(sound)), (len(sound) + 4_000, len(sound) + 4_000)):
        (tmp_path / "b.flac").write_bytes(with_total(flac, stated))
        with closing(open_decoder(tmp_path / "b.flac", Limits(decoded_samples=10_000))) as decoder:
            assert decoder.length == length
            np.testing.assert_allclose(decoder.read(40_000, 9_000), sound[40_000:49_000], atol=1e-4)


@pytest.mark.parametrize("total", [None, 0])
def test_a_flac_that_was_cut_off_is_heard_up_to_there(tmp_path: Path, total: int | None) -> None:
    sound = noise(20, 16_000)
    flac = write_audio(tmp_path / "a.flac", sound, 16_000).read_bytes()
    flac = flac if total is None else with_total(flac, total)
    (tmp_path / "b.flac").write_bytes(flac[: len(flac) // 2])
    with closing(open_decoder(tmp_path / "b.flac", Limits())) as decoder:
        length = decoder.measure()
        assert 9.5 * 16_000 < length < 10.5 * 16_000
        np.testing.assert_allclose(decoder.read(0, length), sound[:length], atol=1e-4)
        np.testing.assert_allclose(
            decoder.read(length - 5_000, 5_000), sound[length - 5_000 : length], atol=1e-4
        )


def test_files_that_were_cut_short_and_joined_have_no_gap(tmp_path: Path) -> None:
    """Each is as long as what is there, as one alone is, and nothing is decoded to find out."""
    sounds = [noise(seconds, RATE, seed) for seed, seconds in enumerate((12, 5, 9))]
    files = [write_audio(tmp_path / "a.flac", sound, RATE).read_bytes() for sound in sounds]
    cut = [files[0][: len(files[0]) * 2 // 3], files[1], files[2][: len(files[2]) * 2 // 3]]
    (tmp_path / "b.flac").write_bytes(b"".join(cut))
    lengths = [8 * RATE, 5 * RATE, 6 * RATE]
    with closing(open_decoder(tmp_path / "b.flac", Limits(decoded_samples=10_000))) as decoder:
        assert decoder.length == pytest.approx(sum(lengths), abs=2 * 4_096)
    with closing(open_decoder(tmp_path / "b.flac", Limits())) as decoder:
        for number, sound in enumerate(sounds):
            part = decoder.read(sum(lengths[:number]) + RATE, RATE)
            assert place_of(part, sound) == pytest.approx(RATE, abs=4_096)


def with_rate(flac: bytes, rate: int) -> bytes:
    return flac[:18] + (rate << 4 | flac[20] & 15).to_bytes(3, "big") + flac[21:]


@pytest.mark.parametrize("rate", [8_000, 12_000, 22_050, 44_100, 88_200, 192_000, 384_000, 655_350])
@pytest.mark.parametrize("stated", [0, 32_000, 48_000])
def test_the_rate_is_that_of_the_frames(tmp_path: Path, rate: int, stated: int) -> None:
    sound = noise(6 if rate < 50_000 else 1, rate)
    flac = write_audio(tmp_path / "a.flac", sound, rate).read_bytes()
    (tmp_path / "b.flac").write_bytes(with_rate(flac, stated))
    assert_heard(tmp_path / "b.flac", sound, [len(sound) // 2], 9_000, rate)


def test_a_rate_that_the_frames_leave_to_the_header_is_believed(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.flac", noise(3, RATE), RATE)
    flac = bytearray(with_rate(path.read_bytes(), 44_100))
    for place in range(len(flac) - 6):
        head = bytes(flac[place : place + 16])
        if head[:2] == b"\xff\xf8" and flac_frames._frame(head):
            size = next(size for size in (5, 6, 7) if flac_frames._crc8(head[:size]) == head[size])
            flac[place + 2] &= 0xF0
            flac[place + size] = flac_frames._crc8(bytes(flac[place : place + size]))
    path.write_bytes(flac)
    with path.open("rb") as file:
        length = length_from_flac(file.fileno())
    assert length
    assert (length.true, length.corrections) == (3 * RATE, {})


@pytest.mark.parametrize("stated", [(16, 16), (4_096, 1_024), (0, 0), (4_608, 4_608), (65_535, 65_535)])
@pytest.mark.parametrize("broken", [False, True])
def test_frames_of_another_length_than_the_header_says(
    tmp_path: Path, stated: tuple[int, int], broken: bool
) -> None:
    sound = noise(20, RATE)
    flac = bytearray(write_audio(tmp_path / "a.flac", sound, RATE).read_bytes())
    flac[8:12] = b"".join(count.to_bytes(2, "big") for count in stated)
    if broken:
        flac[len(flac) // 4] ^= 16
    (tmp_path / "b.flac").write_bytes(flac)
    assert_heard(tmp_path / "b.flac", sound, (15 * RATE, 10 * RATE, 0))


@pytest.mark.parametrize("count", [1_000, 4_096, 4_097, 20_000])
def test_a_size_of_frames_that_is_right_is_left_alone(tmp_path: Path, count: int) -> None:
    """Also where the last frame is shorter, or the only one."""
    path = write_audio(tmp_path / "a.flac", noise(count / RATE, RATE), RATE)
    with path.open("rb") as file:
        length = length_from_flac(file.fileno())
    assert not length or not length.corrections
    with closing(open_decoder(path, Limits())) as decoder:
        assert decoder.length == count


@pytest.mark.parametrize("seconds", [(3, 5), (5, 3), (1, 2, 3), (2, 2.5, 2), (20, 20), (3,) * 7])
def test_joined_files_are_all_heard(tmp_path: Path, seconds: tuple[float, ...]) -> None:
    sounds = [noise(each, RATE, seed) for seed, each in enumerate(seconds)]
    files = [write_audio(tmp_path / f"{i}.flac", sound, RATE).read_bytes() for i, sound in enumerate(sounds)]
    (tmp_path / "all.flac").write_bytes(b"".join(files))
    expected = np.concatenate(sounds)
    assert_heard(tmp_path / "all.flac", expected, (0, 20_000), len(expected))


def frames_of(path: Path) -> bytes:
    """A FLAC file without its header."""
    data = path.read_bytes()
    with path.open("rb") as file:
        return data[flac_frames._after_metadata(file.fileno(), 0) :]


@pytest.mark.parametrize("seconds", [(10, 10, 10), (5, 25), (25, 5), (3, 4, 5), (2, 30, 2)])
@pytest.mark.parametrize("cat", [False, True])
def test_frames_joined_behind_the_first_header_are_all_heard(
    tmp_path: Path, seconds: tuple[int, ...], cat: bool
) -> None:
    """As ``ffmpeg -f concat -c copy`` writes them: each part's frames are numbered from 0."""
    sounds = [noise(each, RATE, seed) for seed, each in enumerate(seconds)]
    files = [write_audio(tmp_path / f"{i}.flac", sound, RATE) for i, sound in enumerate(sounds)]
    joined = files[0].read_bytes() + b"".join(frames_of(file) for file in files[1:])
    if cat:  # with another file, whose header stands before its frames
        joined += files[0].read_bytes()
        sounds.append(sounds[0])
    (tmp_path / "all.flac").write_bytes(joined)
    expected = np.concatenate(sounds)
    assert_heard(tmp_path / "all.flac", expected, (len(expected) - 20_000, 4 * RATE, 0), 40_000)
    assert_heard(tmp_path / "all.flac", expected, [0], len(expected))


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (lambda flac: with_total(flac, 30_000), 1),
        (lambda flac: with_rate(flac, 48_000), 1),
        (lambda flac: b"HTTP/1.1 200 OK\r\n\r\n" + flac, 1),
        (lambda flac: flac + flac, 2),
    ],
    ids=["total", "rate", "junk", "joined"],
)
def test_a_header_without_more_metadata_is_mended_alike(
    tmp_path: Path, fault: Callable[[bytes], bytes], times: int
) -> None:
    """As ``metaflac --remove-all`` leaves it: STREAMINFO has the flag of the last block."""
    sound = noise(10, RATE)
    path = write_audio(tmp_path / "a.flac", sound, RATE)
    bare = b"fLaC\x80" + path.read_bytes()[5:42] + frames_of(path)
    (tmp_path / "b.flac").write_bytes(fault(bare))
    expected = np.concatenate([sound] * times)
    assert_heard(tmp_path / "b.flac", expected, (len(expected) - 30_000, 0, len(sound) // 2), 20_000)


def test_of_parts_of_one_length_the_numbers_of_frames_do_not_rise() -> None:
    for count in range(2, 200):
        inside = [share * count % 1 for share in flac_frames._PROBES]
        assert [0, *inside, 1] != sorted({0, *inside, 1}), count


def test_joined_files_of_other_rates_are_all_heard(tmp_path: Path) -> None:
    parts = [(48_000, 4.0), (44_100, 2.0), (96_000, 3.0)]  # of one length in no number
    files = [write_audio(tmp_path / f"{rate}.flac", noise(s, rate, rate), rate) for rate, s in parts]
    (tmp_path / "all.flac").write_bytes(b"".join(file.read_bytes() for file in files))
    with closing(open_decoder(tmp_path / "all.flac", Limits())) as decoder:
        assert decoder.sample_rate == 96_000
        assert abs(decoder.length - 9 * 96_000) <= 3
        last = decoder.read(6 * 96_000, 96_000)
    np.testing.assert_allclose(last, noise(3.0, 96_000, 96_000)[:96_000], atol=1e-4)


@pytest.mark.parametrize("tag_bytes", [0, 2_000_000])
def test_damage_costs_what_is_damaged(tmp_path: Path, tag_bytes: int) -> None:
    sound = noise(40, RATE)
    flac = bytearray(write_audio(tmp_path / "a.flac", sound, RATE).read_bytes())
    for share in (0.2, 0.6):
        flac[int(share * len(flac))] ^= 16
    tag = b"ID3\4\0\0" + bytes(tag_bytes >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(tag_bytes)
    (tmp_path / "b.flac").write_bytes((tag if tag_bytes else b"") + flac)
    with closing(open_decoder(tmp_path / "b.flac", Limits())) as decoder:
        assert decoder.length == len(sound)
        for start in (30 * RATE, 0, 12 * RATE):  # 8 and 24 s are damaged
            np.testing.assert_allclose(decoder.read(start, 5 * RATE), sound[start:][: 5 * RATE], atol=1e-4)
        wrong = np.abs(decoder.read(0, len(sound)) - sound) > 1e-4
        assert wrong.mean() < 0.05
        assert decoder.measure() == len(sound)


@pytest.mark.parametrize("hole", [(0.5, 1.0), (0.4, 0.7)])
@pytest.mark.parametrize("filled", ["zeros", "noise"])
def test_a_download_that_is_not_finished(tmp_path: Path, hole: tuple[float, float], filled: str) -> None:
    """Where no frames are, libFLAC seeks for minutes; FFmpeg does not."""
    whole = write_audio(tmp_path / "whole.flac", noise(30, 44_100), 44_100)
    data = bytearray(whole.read_bytes())
    first, end = (int(share * len(data)) for share in hole)
    data[first:end] = bytes(end - first) if filled == "zeros" else np.random.default_rng(0).bytes(end - first)
    (tmp_path / "a.flac").write_bytes(data)
    with closing(open_decoder(tmp_path / "a.flac", Limits())) as decoder:
        if filled == "zeros" or hole[1] == 1:
            assert decoder.name.startswith("ffmpeg")
        assert decoder.length == pytest.approx(44_100 * 30 * (hole[0] if hole[1] == 1 else 1), abs=44_100)
        places = [5 * 44_100, *([24 * 44_100] if hole[1] < 1 else [])]
        with closing(open_decoder(whole, Limits())) as other:
            for place in places:
                assert np.abs(decoder.read(place, 44_100) - other.read(place, 44_100)).max() < 1e-4


def test_a_hole_between_the_probes_is_not_sought_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg reads from where libFLAC would seek in a hole, and keeps no stretch of zeros in memory."""
    whole = write_audio(tmp_path / "whole.flac", noise(60, 44_100), 44_100)
    data = bytearray(whole.read_bytes())
    first, end = int(0.6 * len(data)), int(0.7 * len(data))
    data[first:end] = bytes(end - first)
    (tmp_path / "a.flac").write_bytes(data)
    expected, _ = soundfile.read(whole, dtype="float32")
    with closing(open_decoder(tmp_path / "a.flac", Limits())) as decoder:
        for place in (50 * 44_100, 5 * 44_100):
            assert np.abs(decoder.read(place, 44_100) - expected[place : place + 44_100]).max() < 1e-4
        assert not decoder.name.startswith("ffmpeg")
        monkeypatch.setattr(soundfile.SoundFile, "seek", None)
        decoder.read(39 * 44_100, 44_100)
        assert decoder.name.startswith("ffmpeg")
        assert np.abs(decoder.read(place, 44_100) - expected[place : place + 44_100]).max() < 1e-4


def test_stretches_without_frames_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(b"\xff" + bytes((1 << 20) - 1) + bytes(3 << 20) + b"\xff" + bytes((1 << 20) + 5))
    with path.open("rb") as file:
        assert stretches_without_frames(file.fileno(), 0) == ((1 << 20, 4 << 20), (5 << 20, (5 << 20) + 6))


def test_a_tag_before_the_header_moves_nothing(tmp_path: Path) -> None:
    sound = noise(20, RATE)
    flac = write_audio(tmp_path / "a.flac", sound, RATE).read_bytes()
    (tmp_path / "b.flac").write_bytes(b"ID3\4\0\0\0\x7f\x7f\x7f" + bytes((1 << 21) - 1) + flac)
    assert_heard(tmp_path / "b.flac", sound, (0, 19 * RATE, 10 * RATE))


APE = [b"APETAGEX" + struct.pack("<4I", 2_000, 232, 1, flag << 29) + bytes(8) for flag in (5, 4)]
ID3 = b"ID3\4\0\0\0\0\x10\0" + bytes(2_048)


@pytest.mark.parametrize(
    "junk",
    [
        (b"x" * 200).join(APE),
        b"HTTP/1.1 200 OK\r\nContent-Type: audio/flac\r\n\r\n",
        b"\xef\xbb\xbf",
        bytes(1_000),
        ID3 + bytes(512),
        ID3 + ID3,
        b"junk" + MARK + bytes(200),
        *(np.random.default_rng(seed).bytes(100_000) for seed in range(4)),
    ],
    ids=len,
)
def test_bytes_in_front_are_no_sound(tmp_path: Path, junk: bytes) -> None:
    """FFmpeg takes some for frames, and their rate for that of its clock: then there are gaps."""
    sound = noise(20, 44_100)
    flac = write_audio(tmp_path / "a.flac", sound, 44_100).read_bytes()
    (tmp_path / "b.flac").write_bytes(junk + flac)
    assert_heard(tmp_path / "b.flac", sound, (0, 661_500), rate=44_100)


def test_the_header_in_a_container_is_no_file(tmp_path: Path) -> None:
    songs = [
        write(tmp_path / "a.mka", "matroska", "flac", noise(3, RATE), rate=RATE),
        write(tmp_path / "a.oga", "ogg", "flac", noise(3, RATE), rate=RATE),
        write_audio(tmp_path / "a.wav", noise(3, RATE), RATE),
    ]
    for song in songs:
        for junk in (b"", b"junk" * 99):
            song.write_bytes(junk + song.read_bytes())
            with song.open("rb") as file:
                assert start_of_flac(file.fileno()) is None


def test_an_excerpt_begins_where_it_was_cut_out(tmp_path: Path) -> None:
    sound = noise(30, RATE)
    flac = write_audio(tmp_path / "a.flac", sound, RATE).read_bytes()
    frames = [place for place in range(len(flac)) if flac[place : place + 2] == b"\xff\xf8"]
    body = next(place for place in frames if flac[place + 4] == 0)
    cut = next(place for place in frames if flac[place + 4] == 25 and place > body)  # its number
    (tmp_path / "b.flac").write_bytes(flac[:body] + flac[cut:])
    block = int.from_bytes(flac[8:10], "big")
    expected = sound[25 * block :]
    assert_heard(tmp_path / "b.flac", expected, (15 * RATE, 0, 5 * RATE))


@given(st.binary(max_size=200), st.integers(0, 20_000))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, junk: bytes, place: int) -> None:
    base = tmp_path_factory.getbasetemp()
    if not (base / "any.flac").exists():
        write_audio(base / "any.flac", noise(1, 8_000), 8_000)
    data = bytearray((base / "any.flac").read_bytes())
    data[place : place + len(junk)] = junk
    (base / "any2.flac").write_bytes(data)
    length_of(base / "any2.flac")
    (base / "any2.flac").write_bytes(data[:42] + junk)
    length_of(base / "any2.flac")


@pytest.mark.parametrize(
    ("head", "parts_of"),
    [
        (b"fLaC\0\0\0\x22", parts_from_flac),
        (b"fLaC\x80\0\0\x22", parts_from_flac),
        (b"OggS\0\2" + bytes(21) + b"OggS\0\0" + bytes(21), parts_from_ogg),
    ],
)
def test_a_file_of_heads_has_a_most_of_parts(tmp_path: Path, head: bytes, parts_of: Any) -> None:
    (tmp_path / "a").write_bytes(head * (MOST_PARTS + 1_000))
    with (tmp_path / "a").open("rb") as file:
        parts = parts_of(file.fileno(), Budget(Limits()))
    assert len(parts) == MOST_PARTS
    assert parts[:2] == [(0, len(head)), (len(head), 2 * len(head))]
    assert parts[-1][1] == len(head) * (MOST_PARTS + 1_000)
