"""Which files are opened, and why the others are refused."""

from __future__ import annotations

import os
import re
import struct
import tarfile
import time
import zipfile
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from audio_files import SUFFIXES, noise, write_audio
from ffmpeg_files import write
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.audio.tags.written import tags_from_file
from merkit.engine.audio.windows import windows_from_decoder
from merkit.engine.errors import AudioError
from merkit.engine.spec import AudioSpec
from mp3_files import write_mp3
from reading import refusal, windows_from_file
from tag_bytes import wav

SPEC = AudioSpec()


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".mp2"])
def test_what_file_servers_for_macs_leave_in_the_working_folder_is_no_part_of_a_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file's name libsndfile looks for ``.AppleDouble/`` and ``._`` there, of MPEG audio first."""
    path = tmp_path / f"a{suffix}"
    if suffix == ".mp2":
        write(path, "mp2", "mp2", noise(3, 48_000), rate=48_000)
    else:
        write_audio(path, noise(3, 48_000), 48_000)
    with closing(open_decoder(path, Limits())) as decoder:
        expected = decoder.read(48_000, 48_000)
    (tmp_path / "here" / ".AppleDouble").mkdir(parents=True)
    (tmp_path / "here" / "._").touch()
    monkeypatch.chdir(tmp_path / "here")
    with closing(open_decoder(path, Limits())) as decoder:
        samples = decoder.read(48_000, 48_000)
    assert len(samples) == len(expected)
    assert np.abs(samples - expected).max() < (1e-3 if suffix == ".mp2" else 1e-6)


def test_not_audio(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.mp3").write_text("not a song\n" * 500)
    (tmp_path / "bytes.mp3").write_bytes(np.random.default_rng(0).bytes(50_000))
    (tmp_path / "folder.mp3").mkdir()
    os.mkfifo(tmp_path / "pipe.mp3")
    assert refusal(tmp_path / "empty.mp3", SPEC) == "the file is empty"
    assert refusal(tmp_path / "missing.mp3", SPEC) == "no such file"
    assert refusal(tmp_path / "folder.mp3", SPEC) == "not a regular file"
    assert refusal(tmp_path / "pipe.mp3", SPEC) == "not a regular file"
    assert "not an audio file" in refusal(tmp_path / "text.mp3", SPEC)
    refusal(tmp_path / "bytes.mp3", SPEC)
    refusal(Path("a\0b.mp3"), SPEC)


def test_what_looks_like_damaged_mp3_is_named(tmp_path: Path) -> None:
    """FFmpeg takes random bytes for MP3. Only where it decodes nothing does the beginning say why."""
    rest, song = np.random.default_rng(1).bytes(300_000), tmp_path / "a.mp3"
    song.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + rest)
    assert refusal(song, SPEC) == "a picture (JPEG), which holds no sound: fetch the song again"
    song.write_bytes(b"%PDF-1.4\n" + rest)
    assert refusal(song, SPEC).startswith("a PDF, which ")
    song.write_bytes(bytes(500_000))
    assert refusal(song, SPEC).startswith("begins with zeros, as a download that did not end: ")
    music = write_mp3(tmp_path / "b.mp3", noise(12, 16_000)[None], 16_000).read_bytes()
    song.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + rest + music)
    assert windows_from_file(song, SPEC, 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_gives_what_it_holds_or_a_reason(tmp_path: Path, suffix: str) -> None:
    rate = 48_000 if suffix in (".opus", ".webm") else 44_100
    whole = write_audio(tmp_path / f"whole{suffix}", noise(60, rate), rate).read_bytes()
    half = tmp_path / f"half{suffix}"
    half.write_bytes(whole[: len(whole) // 2])
    for windows in (3, "all"):
        try:
            read = windows_from_file(half, SPEC, windows)
        except AudioError:
            assert suffix in (".m4a", ".mp4")  # their index stands at the end
            continue
        assert 15 <= read[-1].start_s + 10 <= 31
        assert all(np.abs(window.samples).max() > 0.01 for window in read)


@pytest.mark.parametrize("suffix", [".m4a", ".webm", ".wma"])
def test_id3_tags_in_front_of_a_container_that_has_none_change_nothing(tmp_path: Path, suffix: str) -> None:
    """Players skip them; what the container says of places in the file is then too small."""
    plain = write_audio(tmp_path / f"plain{suffix}", noise(30, 48_000), 48_000)
    tagged = tmp_path / f"tagged{suffix}"
    with_footer = b"ID3\4\0\x10\0\0\x10\0" + bytes(2_048) + b"3DI\4\0\x10\0\0\x10\0"
    tagged.write_bytes(b"ID3\4\0\0\0\0\x10\0" + bytes(2_048) + with_footer + plain.read_bytes())
    right = windows_from_file(plain, SPEC)
    for window, same in zip(windows_from_file(tagged, SPEC), right, strict=True):
        assert np.array_equal(window.samples, same.samples)


def test_an_mp4_without_its_index_says_so(tmp_path: Path) -> None:
    song = write(tmp_path / "a.m4a", "ipod", "aac", noise(12, 44_100))
    whole = song.read_bytes()
    for end in (whole.rindex(b"moov") - 4, len(whole) // 2):
        song.write_bytes(whole[:end])
        assert refusal(song, SPEC).startswith("breaks off before its index (moov)")


@pytest.mark.parametrize("encoder", ["aac", "alac"])
def test_an_mp4_that_breaks_off_in_its_index_says_so(tmp_path: Path, encoder: str) -> None:
    """Where nothing but tags is missing it is heard."""
    song = write(tmp_path / "a.m4a", "ipod", encoder, noise(12, 44_100))
    whole = song.read_bytes()
    index, sizes = whole.rindex(b"moov"), whole.rindex(b"stsz")
    for end in (index + 4, index + 200, sizes - 4, sizes + 100):
        song.write_bytes(whole[:end])
        assert refusal(song, SPEC).startswith("breaks off before its index (moov)")
    song.write_bytes(whole[:-50])
    assert windows_from_file(song, SPEC, 1)


def test_an_mp4_with_its_whole_index_breaks_off_nowhere(tmp_path: Path) -> None:
    """Not even one whose index has another fault."""
    song = write(tmp_path / "a.m4a", "ipod", "aac", noise(12, 44_100))
    whole = song.read_bytes()
    at = whole.index(b"stsd")
    song.write_bytes(whole[:at] + b"free" + whole[at + 4 :])
    assert "index" not in refusal(song, SPEC)


def test_alac_in_caf_without_its_index_says_so(tmp_path: Path) -> None:
    song = tmp_path / "a.caf"
    soundfile.write(song, noise(12, 44_100), 44_100, "ALAC_16", format="CAF")
    whole = song.read_bytes()
    index, sound = whole.index(b"pakt"), whole.index(b"data\0")
    whole = whole[:index] + whole[sound:] + whole[index:sound]  # as FFmpeg and recorders place it
    song.write_bytes(whole)
    assert windows_from_file(song, SPEC, 1)
    half = len(whole) // 2
    for rest in (b"", bytes(len(whole) - half)):
        song.write_bytes(whole[:half] + rest)
        assert refusal(song, SPEC).startswith("breaks off before its index (pakt)")
    song.write_bytes(whole[:4] + bytes(half))
    assert refusal(song, SPEC).startswith("not an audio file")


@pytest.mark.parametrize("kind", ["ZIP", "tar"])
def test_an_archive_is_not_heard_as_if_it_were_one_song(tmp_path: Path, kind: str) -> None:
    songs = [write_mp3(tmp_path / f"{i}.mp3", noise(12, 16_000, i)[None], 16_000) for i in range(2)]
    archive = tmp_path / "songs.mp3"
    if kind == "ZIP":
        with zipfile.ZipFile(archive, "w") as file:
            for song in songs:
                file.write(song, song.name)
    else:
        with tarfile.open(archive, "w") as file:
            for song in songs:
                file.add(song, song.name)
    reason = refusal(archive, SPEC)
    assert reason == f"an archive ({kind}), which mer does not open: unpack it"


def test_what_looks_like_an_archive_inside_of_sound_is_none(tmp_path: Path) -> None:
    sound = write_audio(tmp_path / "a.wav", noise(3, 16_000), 16_000)
    content = bytearray(sound.read_bytes())
    content[257:262] = b"ustar"
    sound.write_bytes(content)
    assert len(windows_from_file(sound, SPEC)) == 1


def test_frames_in_another_format_are_not_its_sound(tmp_path: Path) -> None:
    mp3 = write_audio(tmp_path / "a.mp3", noise(4, 44_100), 44_100).read_bytes()
    as_samples = np.frombuffer(mp3[: len(mp3) // 2 * 2], np.int16).astype(np.float32) * np.float32(2**-15)
    for suffix in (".wav", ".aiff", ".flac"):
        path = write_audio(tmp_path / f"a{suffix}", as_samples, 8_000)
        with closing(open_decoder(path, Limits())) as decoder:
            assert (decoder.sample_rate, decoder.length) == (8_000, len(as_samples))
    movie = tmp_path / "a.mp4"
    movie.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + mp3)
    refusal(movie, SPEC)


@pytest.mark.parametrize("suffix", [".mp3", ".aac"])
def test_junk_before_the_first_frame(tmp_path: Path, suffix: str) -> None:
    plain = write_audio(tmp_path / f"a{suffix}", noise(4, 44_100), 44_100)
    data = plain.read_bytes()
    with closing(open_decoder(plain, Limits())) as decoder:
        expected = decoder.length
    path = tmp_path / f"b{suffix}"
    for junk in (b"<html>" * 99, bytes(5_000), b"ID3\x04\0\0\0\0\1\1" + b"x" * 99, b"ID3\x04\0\0\x7f\7\1\1"):
        path.write_bytes(junk + data)
        with closing(open_decoder(path, Limits())) as decoder:
            assert decoder.length == expected


def test_an_mp3_in_a_wav(tmp_path: Path) -> None:
    """libsndfile guesses its length, and seeks in it by the guess."""
    quiet_and_loud = np.concatenate([noise(4, 44_100) * 1e-3, noise(8, 44_100)])
    plain = write_mp3(tmp_path / "a.mp3", quiet_and_loud[None], 44_100, "variable", xing=False)
    frames = plain.read_bytes()
    frames = frames[frames.find(b"\xff\xfb") :]
    path = tmp_path / "a.wav"
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44_100, 16_000, 1, 0, 12, 1, 2, 417, 1, 0)
    path.write_bytes(wav(fmt, frames))
    with closing(open_decoder(plain, Limits())) as decoder:
        expected = decoder.read(0, decoder.length)
    with closing(open_decoder(path, Limits())) as decoder:
        assert decoder.length == len(expected) >= 12 * 44_100
        np.testing.assert_allclose(
            decoder.read(10 * 44_100, 9_000), expected[10 * 44_100 :][:9_000], atol=1e-6
        )


def in_pcm_wav(content: bytes, rate: int, channels: int) -> bytes:
    return wav(struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16), content)


@pytest.mark.parametrize("front", [b"", struct.pack("<4sI", b"LIST", 4) + b"INFO"])
def test_blocks_of_wavpack_behind_the_header_of_a_wav_are_no_samples(tmp_path: Path, front: bytes) -> None:
    """WavPack 3 kept the header of the WAV, with its size. FFmpeg reads noise there, libsndfile nothing."""
    song = in_pcm_wav(b"wvpk\x08\0\0\0\x03\0\0\0" + np.random.default_rng(0).bytes(400_000), 44_100, 2)
    (tmp_path / "song.wv").write_bytes(song[:12] + front + song[12:])
    reason = refusal(tmp_path / "song.wv", SPEC)
    assert reason.startswith("WavPack from before version 4, which mer does not open")


@pytest.mark.parametrize("suffix", [".mp3", ".aac"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("silent_s", [0, 2])
def test_frames_behind_the_header_of_pcm(tmp_path: Path, suffix: str, channels: int, silent_s: int) -> None:
    sound = noise(8, 44_100)
    sound[: silent_s * 44_100] = 0
    plain = write_audio(tmp_path / f"a{suffix}", sound, 44_100)
    (tmp_path / "a.wav").write_bytes(in_pcm_wav(plain.read_bytes(), 44_100, channels))
    with closing(open_decoder(plain, Limits())) as decoder:
        expected = decoder.read(0, decoder.length)
    with closing(open_decoder(tmp_path / "a.wav", Limits())) as decoder:
        assert decoder.length == len(expected)
        np.testing.assert_allclose(decoder.read(0, decoder.length), expected, atol=1e-6)


@pytest.mark.parametrize("head", ["fffb94c4", "fff14c800c1ffcde", "fff14c80301ffcde"])
def test_samples_like_headers_are_samples(tmp_path: Path, head: str) -> None:
    """A constant, and tones of which each period looks like a frame of the same size."""
    mark = bytes.fromhex(head)
    for period in (len(mark), 96, 128, 384, 480):
        samples = (mark + np.random.default_rng(0).bytes(period - len(mark))) * (1_500_000 // period)
        for rate in (44_100, 48_000):
            (tmp_path / "a.wav").write_bytes(in_pcm_wav(samples, rate, 2))
            with closing(open_decoder(tmp_path / "a.wav", Limits())) as decoder:
                assert decoder.length == len(samples) // 4


def test_layer_2_and_files_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w", format="mp2") as file:
        stream = file.add_stream("mp2", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray((noise(4, 44_100) * 32_767).astype(np.int16)[None], "s16p", "mono")
        frame.sample_rate = 44_100
        resampler = av.AudioResampler("s16", "mono", 44_100, frame_size=1_152)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(part))
    before = len(os.listdir("/proc/self/fd"))
    with closing(open_decoder(path, Limits())) as decoder:
        assert decoder.name.startswith("libsndfile")
        assert decoder.length == pytest.approx(4 * 44_100, abs=2 * 1_152)
        assert len(decoder.read(44_100, 44_100)) == 44_100
    path.write_bytes(b"text" * 1_000)
    refusal(path, SPEC)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".m4a", ".ogg", ".aac", ".mkv"])
@pytest.mark.parametrize("is_song", [False, True])
def test_a_terabyte_of_nothing_is_refused_at_once(tmp_path: Path, suffix: str, is_song: bool) -> None:
    path = tmp_path / f"song{suffix}"
    if is_song:
        write_audio(path, noise(3, 44_100), 44_100)
    path.touch()
    os.truncate(path, 1 << 40)  # sparse: it takes no room
    for read in (refused_reading, refused_tags):
        assert read(path) == "is larger than 128 GB"


def refused_reading(path: Path) -> str:
    return refusal(path, SPEC)


def refused_tags(path: Path) -> str:
    with pytest.raises(AudioError) as error:
        tags_from_file(path)
    return str(error.value)


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".m4a", ".ogg", ".aac", ".mkv", ".wma"])
def test_a_hole_of_a_hundred_gigabytes_costs_no_more_time_than_is_allowed(
    tmp_path: Path, suffix: str
) -> None:
    path = write_audio(tmp_path / f"song{suffix}", noise(11, 44_100), 44_100)
    os.truncate(path, 100 << 30)
    began = time.monotonic()
    reason = ""
    try:
        with closing(open_decoder(path, budget := Budget(Limits(seconds=1)))) as decoder:
            windows = list(windows_from_decoder(decoder, SPEC, budget=budget))
            assert windows[0].start_s == 0
    except AudioError as error:
        reason = str(error)
    assert not reason or re.search(
        "longer than 1 s|^damaged: its|is silent but for|searched no further", reason
    )
    assert time.monotonic() - began < 10


def test_of_tracks_in_ogg_the_first_that_sounds_is_heard(tmp_path: Path) -> None:
    sound = noise(12, 48_000)
    song = write(tmp_path / "a.ogg", "ogg", "libopus", np.zeros_like(sound), sound, rate=48_000)
    assert max(np.abs(window.samples).max() for window in windows_from_file(song, SPEC)) > 0.1


def test_a_hole_in_flac_in_ogg_costs_what_it_covers(tmp_path: Path) -> None:
    sound = noise(40, 16_000)
    song = write(tmp_path / "a.oga", "ogg", "flac", sound, rate=16_000)
    data = bytearray(song.read_bytes())
    first, size = len(data) // 10, len(data) // 100
    data[first : first + size] = bytes(size)
    song.write_bytes(data)
    with closing(open_decoder(song, Limits())) as decoder:
        assert decoder.length == len(sound)
        np.testing.assert_allclose(decoder.read(480_000, 16_000), sound[480_000:496_000], atol=1e-4)


@pytest.mark.parametrize("stated", [0, 160_000, 0xFFFFFFFF])
def test_an_mp4_that_states_another_length(tmp_path: Path, stated: int) -> None:
    sound = noise(40, 16_000)
    song = write(tmp_path / "a.m4a", "ipod", "alac", sound, rate=16_000)
    data = bytearray(song.read_bytes())
    at = data.find(b"mdhd") + 20
    data[at : at + 4] = stated.to_bytes(4, "big")
    song.write_bytes(data)
    with closing(open_decoder(song, Limits())) as decoder:
        assert decoder.length == pytest.approx(len(sound), abs=4_096)
        np.testing.assert_allclose(decoder.read(560_000, 16_000), sound[560_000:576_000], atol=1e-4)


@pytest.mark.skipif(
    av.library_versions["libavformat"] < (62, 12), reason="FFmpeg before 8.1 crashes on VOC: its row says so"
)
@pytest.mark.parametrize(("encoder", "bits"), [("pcm_s16le", 16), ("pcm_u8", 8), ("pcm_alaw", 5)])
def test_voc_of_many_blocks(tmp_path: Path, encoder: str, bits: int) -> None:
    samples = noise(4, 22_050)
    path = write(tmp_path / "a.voc", "voc", encoder, samples, rate=22_050)
    with closing(open_decoder(path, Limits())) as decoder:
        assert decoder.length == pytest.approx(len(samples), abs=200)
        for start in (0, 40_000, 10_000):
            heard = decoder.read(start, 20_000)
            np.testing.assert_allclose(heard, samples[start : start + 20_000], atol=2.0 ** (1 - bits))
        assert decoder.measure() == len(samples)
