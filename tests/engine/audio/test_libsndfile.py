"""Files that libsndfile opens."""

from __future__ import annotations

import os
import struct
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from audio_files import noise, write_audio
from ffmpeg_files import LAYOUTS, place_of, write
from merkit.engine.audio.channels import channel_names, two_from_channels
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.libsndfile import SoundFileDecoder
from merkit.engine.audio.open import open_decoder
from merkit.engine.audio.silence import sound_in
from merkit.engine.spec import AudioSpec
from ogg_files import joined
from reading import refusal, windows_from_file
from tag_bytes import wav

SPEC = AudioSpec()


def test_a_suffix_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "talk.vox").write_bytes(b"text that ADPCM would decode " * 1_000)
    (tmp_path / "song.raw").write_bytes(b"\x00\x01" * 50_000)
    refusal(tmp_path / "talk.vox", SPEC)
    refusal(tmp_path / "song.raw", SPEC)
    flac = write_audio(tmp_path / "a.flac", noise(12, 16_000), 16_000).rename(tmp_path / "a.mp3")
    assert len(windows_from_file(flac, SPEC, 1)) == 1


@pytest.mark.parametrize("rate", [22_050, 44_100])
def test_vorbis_after_small_steps_forward(tmp_path: Path, rate: int) -> None:
    """libsndfile is up to 896 samples late after a seek that goes a little way forward."""
    samples = noise(20, rate)
    # Short blocks and long ones in turns, as at the beats of music.
    samples *= np.where(np.arange(len(samples)) * 4 // rate % 2, 1, 0.01).astype(np.float32)
    path = write_audio(tmp_path / "a.ogg", samples, rate)
    whole = soundfile.read(path, dtype="float32")[0]
    with closing(open_decoder(path, Limits())) as decoder:
        for start in [12 * rate, *(round(rate * (1.3 * i + 0.2)) for i in range(12)), 3 * rate]:
            np.testing.assert_allclose(decoder.read(start, rate), whole[start : start + rate], atol=1e-4)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("unit", [2**15, 2**23, 2**31])
def test_float_files_in_units_of_integers(tmp_path: Path, kind: str, subtype: str, unit: int) -> None:
    sound = noise(4, 8_000)
    sound[:8_000] *= np.float32(1e-3)
    soundfile.write(tmp_path / "a", sound.astype(np.float64) * unit, 8_000, subtype, format=kind)
    with closing(open_decoder(tmp_path / "a", Limits())) as decoder:
        np.testing.assert_allclose(decoder.read(100, 2_000), sound[100:2_100], rtol=1e-5)
        np.testing.assert_allclose(decoder.read(0, 32_000), sound, rtol=1e-5)


@pytest.mark.parametrize(
    ("bits", "valid"),
    [(8, 8), (16, 16), (16, 12), (24, 24), (24, 20), (24, 16), (32, 32), (32, 24), (32, 20), (32, 16)],
)
@pytest.mark.parametrize("is_extensible", [False, True])
def test_full_scale_is_one_whatever_the_bits(
    tmp_path: Path, bits: int, valid: int, is_extensible: bool
) -> None:
    """Valid bits are the upper ones of a sample: Microsoft's WAVEFORMATEXTENSIBLE."""
    sound = noise(1, 8_000) / 0.4
    steps = np.clip(np.round(sound * 2.0 ** (valid - 1)), -(2 ** (valid - 1)), 2 ** (valid - 1) - 1).astype(
        np.int64
    )
    values = (steps << bits - valid) + (128 if bits == 8 else 0)
    body = values.astype("<i8").view(np.uint8).reshape(-1, 8)[:, : bits // 8].tobytes()
    size = bits // 8
    fmt = struct.pack("<HHIIHH", 0xFFFE if is_extensible else 1, 1, 8_000, 8_000 * size, size, bits)
    if is_extensible:
        fmt += struct.pack("<HHIH", 22, valid, 4, 1) + bytes.fromhex("000000001000800000aa00389b71")
    (tmp_path / "a.wav").write_bytes(wav(fmt, body))
    with closing(open_decoder(tmp_path / "a.wav", Limits())) as decoder:
        np.testing.assert_allclose(decoder.read(0, 8_000), sound, atol=1.1 / 2 ** (valid - 1))


@pytest.mark.parametrize(("tag", "stated", "level"), [(1, 24, 1.0), (0xFFFE, 32, 1.0), (0xFFFE, 32, 0.003)])
@pytest.mark.parametrize("shift", [0, 8])
def test_24_of_32_bits_are_the_lower_ones_where_others_than_0_are_there(
    tmp_path: Path, tag: int, stated: int, level: float, shift: int
) -> None:
    """As ALSA's ``arecord -f S24_LE`` writes them. Soft sound in the upper ones stays soft."""
    sound = noise(3, 8_000) * np.float32(level)
    body = ((sound * 2.0**23).astype(np.int32) << shift).astype("<i4").tobytes()
    fmt = struct.pack("<HHIIHH", tag, 1, 8_000, 32_000, 4, stated)
    if tag != 1:
        fmt += struct.pack("<HHIH", 22, 24, 4, 1) + bytes.fromhex("000000001000800000aa00389b71")
    (tmp_path / "a.wav").write_bytes(wav(fmt, body))
    with closing(open_decoder(tmp_path / "a.wav", Limits())) as decoder:
        assert decoder.length == len(sound)
        np.testing.assert_allclose(decoder.read(0, len(sound)), sound, atol=2 / 2**23)


@pytest.mark.parametrize("tag", [6, 7])
def test_telephone_codes(tmp_path: Path, tag: int) -> None:
    """A-law and u-law by their loudest codes: 32,256 and 32,124 of 32,768 (ITU-T G.711)."""
    codes = b"\xaa\x2a" if tag == 6 else b"\x80\x00"
    fmt = struct.pack("<HHIIHHH", tag, 1, 8_000, 8_000, 1, 8, 0)
    (tmp_path / "a.wav").write_bytes(wav(fmt, codes * 4_000))
    loudest = (32_256 if tag == 6 else 32_124) / 32_768
    with closing(open_decoder(tmp_path / "a.wav", Limits())) as decoder:
        np.testing.assert_allclose(decoder.read(0, 8_000), [loudest, -loudest] * 4_000, atol=1e-6)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_room_of_loudspeakers(tmp_path: Path, kind: str, subtype: str) -> None:
    """Front left and right of six channels are heard as loud as of two."""
    rate, left, right = 48_000, noise(2, 48_000, 1), noise(2, 48_000, 2)
    room = np.zeros((len(left), 6), np.float32)
    names = channel_names(6, "vorbis" if kind == "OGG" else "wav")
    room[:, names.index("FL")], room[:, names.index("FR")] = left, right
    room[:, names.index("LFE")] = 0.5
    with soundfile.SoundFile(tmp_path / "a", "w", rate, 6, subtype, format=kind) as file:
        for start in range(0, len(room), 8_192):
            file.write(room[start : start + 8_192])
    with closing(open_decoder(tmp_path / "a", Limits())) as decoder:
        mono, expected = decoder.read(rate, 20_000), (left + right)[rate : rate + 20_000] / 2
    assert np.mean((mono - expected) ** 2) < (0.2 if kind == "OGG" else 1e-6) * np.mean(expected**2)
    assert np.std(mono) == pytest.approx(np.std(expected), rel=0.1)


@pytest.mark.parametrize("channels", range(3, 8))
@pytest.mark.parametrize(("kind", "suffix"), [("caf", ".caf"), ("ipod", ".m4a")])
def test_a_room_in_alac_has_an_order_of_its_own(
    tmp_path: Path, channels: int, kind: str, suffix: str
) -> None:
    """Whatever the header of a CAF says: FFmpeg and libsndfile write there what their samples are not."""
    room = np.stack([noise(2, 48_000, seed) for seed in range(channels)], axis=1)
    path = write(tmp_path / f"a{suffix}", kind, "alac", room, rate=48_000)
    names = tuple(channel.name for channel in av.AudioLayout(LAYOUTS[channels]).channels)
    with closing(open_decoder(path, Limits())) as decoder:
        mono = decoder.read(0, 96_000)
    np.testing.assert_allclose(mono, two_from_channels(room, names).mean(axis=1), atol=1e-3)


@pytest.mark.parametrize("junk", [8 << 20, 512 << 20])
def test_layer_2_is_sought_in_no_junk(tmp_path: Path, junk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a download that is not finished: mpg123 would seek for half a second in each MB."""
    path = write(tmp_path / "a.mp2", "mp2", "mp2", noise(30, 44_100))
    with closing(open_decoder(path, Limits())) as decoder:
        whole = decoder.read(0, decoder.length)
    os.truncate(path, path.stat().st_size + junk)
    monkeypatch.setattr(soundfile.SoundFile, "seek", None)
    with closing(open_decoder(path, Limits())) as decoder:
        assert decoder.length == pytest.approx(30 * 44_100, abs=4_096)
        part = decoder.read(20 * 44_100, 44_100)
    assert abs(place_of(part, whole[19 * 44_100 :][: 3 * 44_100]) - 44_100) < 2_400


def test_damage_in_layer_2_costs_what_is_damaged(tmp_path: Path) -> None:
    sound = noise(30, 44_100)
    data = bytearray(write(tmp_path / "a.mp2", "mp2", "mp2", sound).read_bytes())
    with closing(open_decoder(tmp_path / "a.mp2", Limits())) as decoder:
        whole = decoder.read(0, decoder.length)
    for share in (0.1, 0.6):
        place = int(share * len(data))
        data[place : place + len(data) // 100] = bytes(len(data) // 100)
    (tmp_path / "a.mp2").write_bytes(data)
    with closing(open_decoder(tmp_path / "a.mp2", Limits())) as decoder:
        assert decoder.length == pytest.approx(len(whole), abs=4_096)
        for start_s in (25, 8):
            part = decoder.read(start_s * 44_100, 44_100)
            near = whole[(start_s - 1) * 44_100 :][: 3 * 44_100]
            moved = place_of(part, near) - 44_100  # what a hole lacks, nothing in the stream says
            assert -0.05 * 44_100 < moved < 0.02 * 30 * 44_100 + 2_304


@pytest.mark.parametrize("back", [0, 312, 900])
def test_opus_that_was_joined_without_encoding_is_heard_behind_each_joint(tmp_path: Path, back: int) -> None:
    """libsndfile calls it malformed there, as the clock goes back by less than a packet."""
    path, rate, parts = tmp_path / "a.opus", 48_000, 4
    data = write_audio(path, noise(9, rate), rate).read_bytes()
    with closing(open_decoder(path, Limits())) as decoder:
        whole = decoder.read(0, decoder.length)
    path.write_bytes(joined(data, parts, 2, back))
    for measured in (False, True):
        with closing(open_decoder(path, Limits())) as decoder:
            if measured:
                decoder.measure()
            assert decoder.length == pytest.approx(parts * len(whole), abs=0.1 * rate)
            for start in range(0, decoder.length - 2 * rate, rate // 2 * 3):
                part = decoder.read(start, 2 * rate)
                assert len(part) == 2 * rate
                number, place = divmod(start, len(whole))
                if place + 2 * rate < len(whole):
                    assert abs(place_of(part, whole) - place) <= 0.03 * rate * max(1, number)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS")])
@pytest.mark.parametrize(("channels", "links"), [(1, 1), (2, 2), (6, 1)])
def test_a_good_ogg_is_opened_by_no_second_decoder(
    tmp_path: Path, kind: str, subtype: str, channels: int, links: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.tile(noise(5, 48_000)[:, None], channels)
    with soundfile.SoundFile(tmp_path / "a", "w", 48_000, channels, subtype, format=kind) as file:
        for start in range(0, len(sound), 8_192):
            file.write(sound[start : start + 8_192])
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes() * links)
    monkeypatch.setattr(SoundFileDecoder, "by_ffmpeg", None)
    with closing(open_decoder(tmp_path / "a", Limits())) as decoder:
        assert len(decoder.read(decoder.length - 48_000, 48_000)) == 48_000
        assert decoder.measure() == decoder.length


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
@pytest.mark.parametrize("links", [1, 2])
def test_what_is_read_on_end_stands_where_it_should_behind_a_hole(
    tmp_path: Path, suffix: str, links: int
) -> None:
    """libsndfile closes the gap that a block of a disk leaves, and counts nothing for it."""
    path, rate = tmp_path / f"a{suffix}", 48_000
    sound = noise(20, rate)
    sound[14 * rate : 17 * rate] = 0
    data = bytearray(write_audio(path, sound, rate).read_bytes())
    hole = len(data) // 10
    data[2 * hole : 3 * hole] = bytes(hole)
    path.write_bytes(bytes(data) * links)
    with closing(open_decoder(path, Limits())) as decoder:
        parts = [decoder.read(start, 2 * rate) for start in range(0, 12 * rate, 2 * rate)]
        assert abs(place_of(parts[-1], sound) - 10 * rate) < 0.01 * rate
        first, second = sound_in(decoder, 2.0).stretches[:2]
    assert (first[1], second[0]) == pytest.approx((14 * rate, 17 * rate), abs=0.15 * rate)
