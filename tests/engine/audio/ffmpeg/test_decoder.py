"""Files that libsndfile cannot open."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from av.codec.codec import Codec, UnknownCodecError
from ffmpeg_files import copied, decoder, place_of, with_skeleton, with_tag_of_priming, write
from merkit.engine.errors import AudioError
from merkit.engine.spec import AudioSpec
from ogg_files import speex
from reading import refusal, windows_from_file
from tag_bytes import wav

SPEC = AudioSpec()


def test_playlists_and_concat_scripts_open_nothing(tmp_path: Path) -> None:
    write_audio(tmp_path / "secret.wav", noise(12, 16_000), 16_000)
    (tmp_path / "song.mp3").write_text("ffconcat version 1.0\nfile secret.wav\n")
    (tmp_path / "song.m4a").write_text("#EXTM3U\n#EXTINF:10,\nsecret.wav\n#EXT-X-ENDLIST\n")
    for name in ("song.mp3", "song.m4a"):
        assert "a playlist" in refusal(tmp_path / name, SPEC)


def test_video_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "mute.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert refusal(tmp_path / "mute.mp4", SPEC) == "holds no audio stream"


@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_64_bits(tmp_path: Path, channels: int) -> None:
    samples = noise(11, 16_000)
    wide = (samples[None].repeat(channels, 0).astype(np.float64) * 2.0**62).astype("<i8").T.tobytes()
    block, rate = 8 * channels, 16_000
    song = tmp_path / "a.wav"
    song.write_bytes(wav(struct.pack("<HHIIHH", 1, channels, rate, rate * block, block, 64), wide))
    (window, *_) = windows_from_file(song, SPEC, 1)
    start = round(window.start_s * rate)
    np.testing.assert_allclose(window.samples, samples[start : start + len(window.samples)] / 2, atol=1e-6)


def stereo(seconds: float, rate: int = 44_100, seed: int = 0) -> np.ndarray:
    return np.stack([noise(seconds, rate, seed), noise(seconds, rate, seed + 1)], axis=1)


STARTS_S = (9.5, 3.1, 7.7, 0.0, 5.0)


def need_encoder(name: str) -> None:
    try:
        Codec(name, "w")
    except UnknownCodecError:
        pytest.skip(f"FFmpeg without the encoder {name}")


@pytest.mark.parametrize(
    ("kind", "encoder", "rate"),
    [
        ("matroska", "pcm_s16le", 44_100),
        ("matroska", "pcm_s24le", 22_050),
        ("matroska", "alac", 44_100),
        ("matroska", "alac", 48_000),
        ("matroska", "truehd", 44_100),
        ("ipod", "alac", 44_100),
        ("mov", "pcm_s16be", 48_000),
        ("wav", "pcm_s64le", 16_000),
        ("ogg", "flac", 44_100),
    ],
)
def test_lossless_sound_is_exact_wherever_it_is_read(
    tmp_path: Path, kind: str, encoder: str, rate: int
) -> None:
    need_encoder(encoder)
    samples = stereo(12, rate)
    song = decoder(write(tmp_path / "song", kind, encoder, samples, rate=rate))
    assert song.length == pytest.approx(len(samples), abs=0.07 * rate)
    mono = samples.mean(axis=1)
    for start in (round(start_s * rate) for start_s in STARTS_S):
        read = song.read(start, 2 * rate)
        np.testing.assert_allclose(read, mono[start : start + 2 * rate], atol=1 / 16_000)
    np.testing.assert_allclose(song.read(0, len(mono)), mono, atol=1 / 16_000)


def test_flac_in_ogg_that_begins_in_the_middle_has_no_gap(tmp_path: Path) -> None:
    """A radio's recording: FFmpeg times the first page from 0, and the next one by the station's clock."""
    rate = 44_100
    samples = noise(12, rate)
    path = write(tmp_path / "a.oga", "ogg", "flac", samples, rate=rate)
    pages = path.read_bytes().split(b"OggS")[1:]
    heads = sum(page[2:10] in (bytes(8), b"\xff" * 8) for page in pages[:4])
    path.write_bytes(b"".join(b"OggS" + page for page in pages[:heads] + pages[heads + 5 :]))
    song = decoder(path)
    heard = samples[len(samples) - song.length :]
    assert 6 * rate < len(heard) < 8 * rate
    for start in (5 * rate, 0, len(heard) - rate, 2 * rate, rate // 2):
        np.testing.assert_allclose(song.read(start, rate), heard[start : start + rate], atol=1 / 16_000)
    assert song.measure() == len(heard)


def test_speex_stands_in_its_place_whatever_is_read_first(tmp_path: Path) -> None:
    """FFmpeg's times of it are late after a seek."""
    path, rate = tmp_path / "a.spx", 8_000
    path.write_bytes(speex(30))
    with av.open(str(path)) as file:
        whole = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    for first_s in (18, 7.3, 0):
        with closing(decoder(path)) as song:
            assert (song.sample_rate, song.length) == (rate, len(whole))
            for start in (round(first_s * rate), 25 * rate, 12 * rate + 5):
                part = whole[start : start + rate]
                error = song.read(start, rate) - part
                assert np.sqrt(np.mean(error**2)) < 0.01 * part.std()


@pytest.mark.parametrize(
    ("kind", "encoder", "rate"),
    [
        ("matroska", "aac", 44_100),
        ("matroska", "libmp3lame", 44_100),
        ("matroska", "ac3", 44_100),
        ("matroska", "mp2", 44_100),
        ("webm", "libopus", 48_000),
        ("webm", "libvorbis", 44_100),
        ("asf", "wmav2", 44_100),
        ("asf", "wmav1", 22_050),
        ("wav", "wmav2", 44_100),
        ("wav", "adpcm_yamaha", 22_050),
        ("wav", "ac3", 44_100),
        ("mp4", "libopus", 48_000),
        ("caf", "libmp3lame", 44_100),
        ("caf", "ac3", 48_000),
    ],
)
def test_lossy_sound_stands_in_the_same_place_wherever_it_is_read(
    tmp_path: Path, kind: str, encoder: str, rate: int
) -> None:
    need_encoder(encoder)
    samples = stereo(12, rate)
    song = decoder(write(tmp_path / "song", kind, encoder, samples, rate=rate))
    assert song.length == pytest.approx(len(samples), abs=0.1 * rate)
    mono = samples.mean(axis=1)
    # Encoders add some time before the sound; not all containers can say how much.
    starts = [round(start_s * rate) for start_s in STARTS_S]
    delays = []
    for start in starts:
        part, first = song.read(start, 2 * rate)[4_096:], max(0, start - 4_096)
        delays.append(start + 4_096 - first - place_of(part, mono[first : start + 3 * rate]))
    assert np.ptp(delays) <= 0.001 * rate
    assert abs(delays[0]) <= 0.06 * rate
    assert np.count_nonzero(song.read(0, 11 * rate) == 0) < 0.06 * rate


def test_sound_that_begins_late_counts_from_its_beginning(tmp_path: Path) -> None:
    for kind, encoder in (("matroska", "pcm_s16le"), ("mov", "pcm_s16le"), ("asf", "pcm_s16le")):
        samples = stereo(12)
        song = decoder(write(tmp_path / kind, kind, encoder, samples, late_s=7.0))
        assert song.length == pytest.approx(len(samples), abs=100), kind
        for start in (0, 200_000):
            read = song.read(start, 44_100)
            np.testing.assert_allclose(read, samples.mean(axis=1)[start : start + 44_100], atol=1 / 16_000)


DEFAULT, DUB, COMMENT, FOR_THE_BLIND = 1, 2, 8, 256


@pytest.mark.parametrize("kind", ["matroska", "mp4"])
@pytest.mark.parametrize(
    ("dispositions", "chosen"),
    [
        ((0, DEFAULT), 1),
        ((DEFAULT, 0), 0),
        ((DEFAULT | COMMENT, DEFAULT), 1),
        ((FOR_THE_BLIND, 0), 1),
        ((DUB, 0), 1),
    ],
)
def test_the_track_that_players_take(
    tmp_path: Path, kind: str, dispositions: tuple[int, int], chosen: int
) -> None:
    if kind == "mp4" and any(flags & ~DEFAULT for flags in dispositions):
        pytest.skip("MP4 does not say so")
    if kind == "mp4" and dispositions[0]:
        dispositions = DEFAULT, 0
    tracks = [noise(3, 44_100, seed) for seed in (1, 2)]
    song = decoder(write(tmp_path / "song", kind, "alac", *tracks, dispositions=dispositions))
    np.testing.assert_allclose(song.read(1_000, 44_100), tracks[chosen][1_000:45_100], atol=1 / 16_000)


def test_a_silent_track_gives_way_to_one_that_is_heard(tmp_path: Path) -> None:
    silence, music = np.zeros(200_000, np.float32), noise(5, 44_100)
    path = write(tmp_path / "song", "matroska", "alac", silence, music, dispositions=(DEFAULT, 0))
    np.testing.assert_allclose(decoder(path).read(9_000, 44_100), music[9_000:53_100], atol=1 / 16_000)
    both = write(tmp_path / "both", "matroska", "alac", silence, silence, dispositions=(0, DEFAULT))
    assert not decoder(both).read(0, 200_000).any()


def test_channels_in_antiphase_are_heard(tmp_path: Path) -> None:
    left = noise(5, 44_100)
    path = write(tmp_path / "song", "ipod", "aac", np.stack([left, -left], axis=1))
    read = decoder(path).read(44_100, 88_200)
    assert np.corrcoef(np.abs(read), np.abs(left[44_100:132_300]))[0, 1] > 0.9


@pytest.mark.parametrize("options", [{}, {"live": "1"}])
@pytest.mark.parametrize(("encoder", "rate"), [("libopus", 48_000), ("flac", 44_100), ("alac", 44_100)])
def test_joined_files_are_heard_to_their_end(
    tmp_path: Path, options: dict[str, str], encoder: str, rate: int
) -> None:
    first, second = noise(6, rate, 1), noise(9, rate, 2)
    kind = "webm" if encoder == "libopus" else "matroska"
    parts = [
        write(tmp_path / f"{i}", kind, encoder, part, rate=rate, options=options)
        for i, part in enumerate((first, second))
    ]
    (tmp_path / "joined").write_bytes(b"".join(part.read_bytes() for part in parts))
    song = decoder(tmp_path / "joined")
    assert song.length == pytest.approx(15 * rate, abs=0.06 * rate)
    whole = np.concatenate([first, second])
    for start_s in (12.0, 2.0, 8.0):
        start = round(start_s * rate)
        assert place_of(song.read(start, 2 * rate), whole) == pytest.approx(start, abs=0.01 * rate)


def test_a_clock_that_goes_back_hides_no_end(tmp_path: Path) -> None:
    """Of a recorder that was started again: the header states both, and the last packets the second alone."""
    rate, parts = 44_100, (noise(5, 44_100, 1), noise(9, 44_100, 2))
    first, second = (
        write(tmp_path / f"{i}", "matroska", "pcm_s16le", part).read_bytes() for i, part in enumerate(parts)
    )
    cluster, index, seek_head = b"\x1fC\xb6u", b"\x1cS\xbbk", b"\x11M\x9bt"
    data = bytearray(first[: first.rindex(index)] + second[second.index(cluster) : second.rindex(index)])
    size = data.index(b"\x18S\x80g") + 4  # of the segment, which from now on reaches to the end
    data[size : size + 8] = b"\x01" + b"\xff" * 7
    data[data.index(seek_head) + 3] += 1  # is none any more
    struct.pack_into(">d", data, data.index(b"\x44\x89\x88") + 3, 14_000)
    (tmp_path / "song").write_bytes(data)
    song = decoder(tmp_path / "song")
    assert song.length == pytest.approx(14 * rate, abs=100)
    whole = np.concatenate(parts)
    for start in (12 * rate, 2 * rate, 5 * rate, 13 * rate):
        np.testing.assert_allclose(song.read(start, rate), whole[start : start + rate], atol=1 / 16_000)


@pytest.mark.parametrize("stated_s", [4.0, 400.0])
def test_a_stated_length_that_is_wrong(tmp_path: Path, stated_s: float) -> None:
    path = write(tmp_path / "song", "matroska", "pcm_s16le", noise(20, 44_100))
    data = bytearray(path.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes
    data[place : place + 8] = struct.pack(">d", stated_s * 1_000)
    path.write_bytes(data)
    assert decoder(path).length == pytest.approx(20 * 44_100, abs=100)
    path.write_bytes(data[: len(data) // 2])
    half = decoder(path)
    assert half.length == pytest.approx(10 * 44_100, rel=0.1)
    assert len(half.read(0, half.length)) == pytest.approx(half.length, abs=50)


@pytest.mark.parametrize(("kind", "encoder"), [("matroska", "alac"), ("ipod", "alac"), ("matroska", "aac")])
def test_what_cannot_be_decoded_keeps_its_place(tmp_path: Path, kind: str, encoder: str) -> None:
    samples = noise(20, 44_100)
    path = write(tmp_path / "song", kind, encoder, samples)
    whole = decoder(path).read(0, len(samples))
    data = bytearray(path.read_bytes())
    damage = np.random.default_rng(0)
    for place in damage.integers(len(data) // 4, len(data) // 3, 8):
        data[place : place + 30] = damage.bytes(30)
    path.write_bytes(data)
    read = decoder(path).read(0, len(samples))
    assert len(read) == len(whole)
    np.testing.assert_allclose(read[-400_000:], whole[-400_000:], atol=0.1 if encoder == "aac" else 0)


@pytest.mark.parametrize(("lost", "said"), [(100, "damaged: no window of its sound"), (50, "is silent: ")])
def test_silence_that_was_lost_for_the_most_part_is_damage(tmp_path: Path, lost: int, said: str) -> None:
    samples = np.zeros(130 * 4_096, np.float32)
    samples[4_096 : lost * 4_096] = noise(10, 44_100)[: (lost - 1) * 4_096]
    path = write(tmp_path / "song", "ipod", "alac", samples)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        for packet in file.demux():
            if packet.pts and 0 < packet.pts < lost * 4_096:
                place = packet.pos or 0
                data[place : place + packet.size] = b"\x60" * packet.size  # FFmpeg's decoder refuses it
    path.write_bytes(data)
    assert refusal(path, SPEC).startswith(said)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 16_000])
def test_sizes_of_a_wav_that_lie(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "song", "wav", "g722", noise(12, 16_000), rate=16_000)
    right = decoder(path)
    whole = right.read(0, right.length)
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    struct.pack_into("<I", data, place, size)
    struct.pack_into("<I", data, 4, size)
    path.write_bytes(data)
    song = decoder(path)
    assert song.length == pytest.approx(12 * 16_000, abs=64)
    np.testing.assert_array_equal(song.read(100_000, 16_000), whole[100_000:116_000])
    np.testing.assert_array_equal(song.read(20_000, 16_000), whole[20_000:36_000])


@pytest.mark.parametrize(("encoder", "rate"), [("pcm_f64le", 48_000), ("g722", 16_000), ("flac", 44_100)])
def test_w64_of_what_libsndfile_does_not_read(tmp_path: Path, encoder: str, rate: int) -> None:
    """libsndfile 1.2.2 knows no W64 of an extensible format with 64-bit floats, and none of these codecs."""
    samples = noise(12, rate)
    path = write(tmp_path / "song", "w64", encoder, samples, rate=rate)
    song = decoder(path)
    assert song.length == pytest.approx(len(samples), abs=64)
    late = 22 if encoder == "g722" else 0  # what its filters hold back
    assert abs(place_of(song.read(100_000, rate), samples) + late - 100_000) <= late
    assert abs(place_of(song.read(20_000, rate), samples) + late - 20_000) <= late


def test_priming_that_only_a_tag_states(tmp_path: Path) -> None:
    samples = noise(12, 44_100)
    options = {"use_editlist": "0"}
    path = write(tmp_path / "song", "ipod", "aac", samples, options=options)
    titled = copied(path, tmp_path / "titled", "ipod", {"title": "A title"}, options=options)
    tagged = with_tag_of_priming(titled.read_bytes(), 1_024, 0, len(samples))
    path.write_bytes(tagged)
    song = decoder(path)
    assert song.length == pytest.approx(len(samples), abs=1_100)
    assert place_of(song.read(200_000, 44_100), samples) == 200_000
    assert place_of(song.read(0, 44_100)[2_048:], samples) == 2_048


@pytest.mark.parametrize(
    ("kind", "encoder", "start", "heard"),
    [
        ("ipod", "aac", 1_024, 0),
        ("ipod", "aac", 2_112, 1_088),  # as Apple's encoder states its priming
        ("ipod", "alac", 0, 0),
        ("ipod", "alac", 312, 0),
        ("ipod", "alac", 90_000, 0),
        ("mov", "pcm_s16le", 1_600, 0),
    ],
)
def test_an_edit_list_that_leaves_out_all_is_not_believed(
    tmp_path: Path, kind: str, encoder: str, start: int, heard: int
) -> None:
    """A duration of 0 in it means up to the end where fragments follow. Here FFmpeg keeps a frame at most."""
    samples = noise(12, 44_100)
    path = write(tmp_path / "song", kind, encoder, samples)
    data = bytearray(path.read_bytes())
    struct.pack_into(">II", data, data.index(b"elst") + 12, 0, start)
    path.write_bytes(data)
    song = decoder(path)
    assert song.length == pytest.approx(len(samples), abs=2_048)
    for first in (0, 400_000, 200_000):
        place = place_of(song.read(first, 44_100), samples)
        assert place == pytest.approx(first + heard, abs=64)


@pytest.mark.parametrize("first_edit_s", [1, 0])
def test_an_edit_list_of_a_track_holds_whatever_that_of_another_says(
    tmp_path: Path, first_edit_s: int
) -> None:
    samples, rate = noise(12, 44_100), 44_100
    in_ms = {"movie_timescale": "1000"}  # FFmpeg 9 chooses another
    path = write(tmp_path / "song", "ipod", "alac", np.zeros_like(samples), samples, options=in_ms)
    data = bytearray(path.read_bytes())
    silent = data.index(b"elst")
    struct.pack_into(">I", data, silent + 12, first_edit_s * 1_000)
    struct.pack_into(">II", data, data.index(b"elst", silent + 1) + 12, 9_000, 3 * rate)
    path.write_bytes(data)
    song = decoder(path)
    assert song.length == 9 * rate
    np.testing.assert_allclose(song.read(rate, rate), samples[4 * rate : 5 * rate], atol=1 / 16_000)


def test_a_gap_costs_like_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "song", "matroska", "pcm_s16le", noise(2, 44_100))
    with av.open(str(path)) as source, av.open(str(tmp_path / "gap"), "w", format="matroska") as file:
        stream = file.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.pts = packet.dts = packet.dts + (5_000 if packet.dts > 1_000 else 0)
                packet.stream = stream
                file.mux(packet)
    song = decoder(tmp_path / "gap")
    assert song.length == pytest.approx(7 * 44_100, abs=50)
    read = song.read(0, song.length)
    assert read[:44_000].any()
    assert not read[46_000 : 6 * 44_100].any()
    assert read[-40_000:].any()
    with pytest.raises(AudioError, match="decodes to more than"):
        decoder(tmp_path / "gap", decoded_samples=200_000).read(0, song.length)


def test_after_an_error_reading_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "song", "ipod", "alac", noise(20, 44_100))
    right = decoder(path).read(500_000, 20_000)
    song = decoder(path)
    song.read(0, 500_000)
    song._blocks = iter(())  # as after an error
    np.testing.assert_array_equal(song.read(400_000, 120_000)[100_000:], right)


def test_vorbis_beside_another_stream_is_what_it_is_alone(tmp_path: Path) -> None:
    rate = 44_100
    clicks = np.exp(-8 * (np.arange(12 * rate) * 3.7 / rate % 1))  # so that the size of blocks changes
    plain = tmp_path / "plain.ogg"
    with soundfile.SoundFile(plain, "w", rate, 1, "VORBIS", format="OGG") as file:
        for block in np.split(noise(12, rate) * (0.05 + clicks), 120):
            file.write(block)
    alone, _ = soundfile.read(plain, dtype="float32")
    (tmp_path / "both.ogg").write_bytes(with_skeleton(plain.read_bytes()))
    song = decoder(tmp_path / "both.ogg")
    assert song.length == len(alone)
    for start in (round(start_s * rate) for start_s in STARTS_S):
        np.testing.assert_allclose(song.read(start, 2 * rate), alone[start : start + 2 * rate], atol=1e-4)
