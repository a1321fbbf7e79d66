"""DTS and AC-3 in the place of 16-bit samples, against the sound that they were made of."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from audio_files import noise
from ffmpeg_files import write
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from merkit.engine.audio import coded_pcm
from merkit.engine.audio.coded_pcm import CodedPcmDecoder
from merkit.engine.audio.containers.pcm_streams import stream_in_samples
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.libsndfile import SoundFileDecoder
from merkit.engine.audio.open import open_decoder
from merkit.engine.errors import AudioError

RATE = 48_000
PERIOD = 11 * 512  # samples
Words = npt.NDArray[np.uint16]


def packets(codec: str, sound: np.ndarray, bits: int, layout: str = "stereo") -> list[bytes]:
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.layout, encoder.bit_rate = RATE, layout, bits
    encoder.format = "fltp"
    encoder.open(strict=False)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T, np.float32), "fltp", layout)
    frame.sample_rate = RATE
    resampler = av.AudioResampler(encoder.format, layout, RATE, frame_size=encoder.frame_size)
    parts = [*resampler.resample(frame), None]
    return [bytes(packet) for part in parts for packet in encoder.encode(part)]


def dts_frames() -> list[bytes]:
    """DTS of ``song(PERIOD)``, 512 samples a frame: its first period, and then another again and again.

    PyAV has no encoder for it. The file has the frames of two periods as ``ffmpeg -c:a dca -strict -2 -b:a
    512000 -f dts`` wrote them.
    """
    data = (Path(__file__).parent / "data" / "periodic_noise.dts").read_bytes()
    sync, count = b"\x7f\xfe\x80\x01", PERIOD // 512
    frames = [sync + frame for frame in data.split(sync)[1:]]
    assert len(frames) == 2 * count
    return frames[:count] + 25 * frames[count:]


def cd_words(frames: list[bytes], bits: int = 16) -> Words:
    """DTS as a CD holds it, in words of 16 or 14 bits: a frame in the place of 512 samples."""
    words = np.zeros((len(frames), 1_024), np.uint16)
    for row, frame in zip(words, frames, strict=True):
        ones = np.unpackbits(np.frombuffer(frame, np.uint8))
        ones = np.pad(ones, (0, -len(ones) % bits)).reshape(-1, bits)
        values = ones.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1))
        row[: len(values)] = np.where(values & 0x2000, values | 0xC000, values) if bits == 14 else values
    return words.reshape(-1)


def burst_words(frames: list[bytes], kind: int, samples: int) -> Words:
    """Bursts of IEC 61937, each in the place of so many stereo samples."""
    words = np.zeros((len(frames), 2 * samples), np.uint16)
    for row, frame in zip(words, frames, strict=True):
        row[:4] = 0xF872, 0x4E1F, kind, 8 * len(frame)
        content = np.frombuffer(frame + bytes(len(frame) % 2), ">u2")
        row[4 : 4 + len(content)] = content
    return words.reshape(-1)


def decoder_of(
    path: Path, words: Words, kind: str, subtype: str = "PCM_16", rate: int = RATE
) -> CodedPcmDecoder:
    soundfile.write(path, words.view(np.int16).reshape(-1, 2), rate, subtype, format=kind)
    budget = Budget(Limits())
    samples = SoundFileDecoder(os.open(path, os.O_RDONLY), budget)
    stream = samples.coded_stream()
    assert stream
    return CodedPcmDecoder(samples, stream, budget)


def song(period: int = 3 * RATE) -> np.ndarray:
    """Noise without the treble that codecs leave out; after so many samples it begins anew."""
    mono = np.resize(noise(3, RATE)[:period], 3 * RATE)
    mono = np.convolve(mono, np.ones(12) / 6, "same").astype(np.float32)
    return np.stack([mono, 0.5 * mono], axis=1)


def check_windows(decoder: CodedPcmDecoder, mono: np.ndarray, delay: int) -> None:
    for start in (2 * RATE, RATE, RATE + 77, 12_345):
        window = decoder.read(start, 20_000)
        expected = mono[start - delay : start - delay + 20_000]
        assert np.mean((window - expected) ** 2) < 0.01 * np.mean(expected**2)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16")]
)
@pytest.mark.parametrize(("bits", "swapped"), [(16, False), (16, True), (14, False), (14, True)])
def test_dts(tmp_path: Path, kind: str, subtype: str, bits: int, swapped: bool) -> None:
    sound = song(PERIOD)
    words = cd_words(dts_frames(), bits)
    silence = np.zeros(2 * RATE // 2, np.uint16)
    coded = np.concatenate([silence, words.byteswap() if swapped else words])
    with closing(decoder_of(tmp_path / "cd", coded, kind, subtype)) as decoder:
        expected = np.concatenate([np.zeros(RATE // 2, np.float32), sound.mean(axis=1)])
        check_windows(decoder, expected, 512)  # the filters' delay, which no decoder takes back


def test_dts_as_a_digital_output_sends_it(tmp_path: Path) -> None:
    with closing(decoder_of(tmp_path / "a", burst_words(dts_frames(), 11, 512), "FLAC")) as decoder:
        assert "DTS" in decoder._stream.title
        head = 2  # samples: the frames are found by their own sync, as on a CD, behind the burst's
        check_windows(decoder, song(PERIOD).mean(axis=1), 512 + head)


@pytest.mark.parametrize("swapped", [False, True])
def test_ac3_as_a_digital_output_sends_it(tmp_path: Path, swapped: bool) -> None:
    sound = song()
    words = burst_words(packets("ac3", sound, 448_000), 1, 1_536)
    with closing(decoder_of(tmp_path / "a", words.byteswap() if swapped else words, "FLAC")) as decoder:
        assert "AC-3" in decoder._stream.title
        check_windows(decoder, sound.mean(axis=1), 256)


@pytest.mark.parametrize(("kind", "encoder"), [("ipod", "alac"), ("matroska", "pcm_s16le")])
def test_streams_in_what_ffmpeg_reads_are_named(tmp_path: Path, kind: str, encoder: str) -> None:
    words = burst_words(packets("ac3", song(), 448_000), 1, 1_536)
    samples = (words.view(np.int16).reshape(-1, 2) / 32_768).astype(np.float32)
    path = write(tmp_path / "a", kind, encoder, samples, rate=RATE)
    with pytest.raises(AudioError, match="holds AC-3 in the place of samples: unpack it first"):
        open_decoder(path, Limits())
    open_decoder(write(tmp_path / "b", kind, encoder, song(), rate=RATE), Limits()).close()


def dsd_over_pcm(first: int) -> npt.NDArray[np.int32]:
    """DSD of noise, as samples of 32 bits of which the upper 24 are written."""
    bits = np.random.default_rng(0).integers(0, 1 << 16, (100_000, 2))
    markers = np.where(np.arange(len(bits)) % 2 == first, 0x05, 0xFA)[:, None]
    return (markers << 24 | bits << 8).astype(np.uint32).view(np.int32)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("rate", [176_400, 352_800])
@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_24"), ("FLAC", "PCM_24"), ("AIFF", "PCM_24"), ("WAV", "PCM_32")]
)
@pytest.mark.parametrize("silent", [0, 20_000])
def test_dsd_is_named(tmp_path: Path, first: int, rate: int, kind: str, subtype: str, silent: int) -> None:
    samples = dsd_over_pcm(first)
    samples[:silent] = 0
    soundfile.write(tmp_path / "a", samples, rate, subtype, format=kind)
    with pytest.raises(AudioError, match="holds DSD in the place of samples"):
        open_decoder(tmp_path / "a", Limits())


@pytest.mark.parametrize(("kind", "encoder"), [("ipod", "alac"), ("matroska", "pcm_s24le")])
def test_dsd_in_what_ffmpeg_reads_is_named(tmp_path: Path, kind: str, encoder: str) -> None:
    samples = (dsd_over_pcm(0) / 2.0**31).astype(np.float32)
    path = write(tmp_path / "a", kind, encoder, samples, rate=176_400)
    with pytest.raises(AudioError, match="holds DSD in the place of samples"):
        open_decoder(path, Limits())


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("peak", [0.0, 0.04, 0.9])
def test_tones_of_half_the_rate_are_no_dsd(tmp_path: Path, subtype: str, peak: float) -> None:
    tone = peak * np.where(np.arange(100_000) % 2, -1, 1) + 0.01 * noise(1, 100_000)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], axis=1), 176_400, subtype)
    open_decoder(tmp_path / "a.wav", Limits()).close()


def test_channels_in_a_room(tmp_path: Path) -> None:
    stereo = song()
    room = np.zeros((len(stereo), 6), np.float32)
    room[:, :2] = stereo  # FL and FR
    words = burst_words(packets("ac3", room, 448_000, "5.1"), 1, 1_536)
    with closing(decoder_of(tmp_path / "a", words, "WAV")) as decoder:
        check_windows(decoder, stereo.mean(axis=1), 256)


def test_a_stream_in_another_time_than_the_samples(tmp_path: Path) -> None:
    words = burst_words(packets("ac3", song(), 448_000), 1, 2_000)
    with pytest.raises(AudioError, match=r"holds AC-3 in the place of samples.*decode it first"):
        decoder_of(tmp_path / "a", words, "WAV")


@pytest.mark.parametrize("block", [1 << 18, 30_000])
def test_a_long_stretch_is_that_of_short_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(coded_pcm, "_BLOCK", block)
    sound = song()
    words = burst_words(packets("ac3", sound, 448_000), 1, 1_536)
    words[60_000:200_000] = 0  # a gap longer than a block
    with closing(decoder_of(tmp_path / "a", words, "WAV")) as decoder:
        whole = decoder.read(0, decoder.length)
        assert len(whole) == len(words) // 2
        for start in range(0, len(whole), 20_000):
            part = whole[start : start + 20_000]
            difference = decoder.read(start, 20_000) - part
            assert np.mean(difference**2) <= 0.02 * np.mean(part**2)  # AC-3 fills in noise, and mixes


def test_frames_that_are_damaged(tmp_path: Path) -> None:
    words = cd_words(dts_frames())
    words[RATE : RATE + 20_000] = 0
    with closing(decoder_of(tmp_path / "a", words, "WAV")) as decoder:
        window = decoder.read(0, decoder.length)
        assert not window[RATE // 2 + 2_000 : RATE // 2 + 8_000].any()
        assert np.abs(window[2 * RATE : 2 * RATE + 9_000]).max() > 0.05


@given(
    arrays(np.int16, (2_000, 2)),
    st.sampled_from([0x7FFE8001, 0xFE7F0180, 0x1FFFE800, 0xFF1F00E8, 0xF8724E1F]),
)
def test_sound_is_no_stream(samples: np.ndarray, sync: int) -> None:
    """Not even where samples look like the beginning of a frame, or of many."""
    assert stream_in_samples(samples) is None
    samples[::7] = np.array([sync >> 16, sync & 0xFFFF], np.uint16).view(np.int16)
    assert stream_in_samples(samples) is None
    samples[:] = samples[0]
    assert stream_in_samples(samples) is None


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_no_stream(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert stream_in_samples(rng.integers(-(1 << 15), 1 << 15, (1 << 18, 2), np.int16)) is None
