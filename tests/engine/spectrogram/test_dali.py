"""DALI's images and its decoder against ours; all on its CPU backend."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
from audio_files import noise, write_audio
from hard_sounds import SPECS, music
from merkit.engine.audio.dali import DaliDecoder
from merkit.engine.audio.decoder import Limits
from merkit.engine.audio.open import open_decoder
from merkit.engine.audio.windows import windows_from_decoder
from merkit.engine.errors import AudioError
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.dali import IN_FLIGHT, DaliLogMel
from merkit.engine.spectrogram.log_mel import decibels_from_audio, log_mel_from_audio
from reading import windows_from_file

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")

FITTED = dataclasses.replace(
    AudioSpec(), mean=tuple(np.linspace(-40, 0, 128)), std=tuple(np.linspace(1, 20, 128))
)
ALL = {**SPECS, "fitted": FITTED, "top_db": AudioSpec(top_db=60.0), "max": AudioSpec(reference="max")}


def signals(spec: AudioSpec) -> np.ndarray:
    loud = noise(spec.window_samples / spec.sample_rate, spec.sample_rate)[: spec.window_samples]
    return np.stack([music(spec), loud, 0 * loud, loud * np.float32(1e-7)])


def below_loudest(audio: np.ndarray, spec: AudioSpec) -> np.ndarray:
    """Each cell's dB below the loudest of its window, heard or not: the FFT has rounded by that."""
    wide = dataclasses.replace(spec, fmin=0.0, fmax=spec.sample_rate / 2)
    cells, loudest = (
        np.stack([decibels_from_audio(window, each)[:, : spec.frames] for window in audio])[:, None]
        for each in (spec, wide)
    )
    return loudest.max(axis=(1, 2, 3), keepdims=True) - cells


@pytest.mark.parametrize("name", ALL)
def test_equals_the_reference(name: str) -> None:
    spec = ALL[name]
    audio = signals(spec)
    with DaliLogMel(spec, 4, "cpu") as dali:
        dali.put(audio)
        found = dali.take()
    assert found.dtype == np.float32
    assert found.shape == (4, 1, spec.n_mels, spec.frames)
    std = np.asarray(spec.std)[:, None]
    error = np.abs(found - log_mel_from_audio(audio, spec)) * std  # in dB
    assert error[1:].max() <= 0.01, "noise, silence, whisper"
    assert error[below_loudest(audio, spec) <= 90].max() <= 0.01
    assert error.max() <= 0.3


def test_below_that_it_is_float32_and_not_dali() -> None:
    """The same differences come out of any FFT in float32, so no option of DALI's can mend them."""
    spec = AudioSpec()
    padded = np.pad(music(spec), spec.n_fft // 2).astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.n_fft) / spec.n_fft)
    exact = np.abs(np.fft.rfft(frames * hann)) ** 2
    rounded = np.asarray(scipy.fft.rfft((frames * hann).astype(np.float32)), np.complex64)
    single = np.abs(rounded.astype(np.complex128)) ** 2
    error = np.abs(10 * np.log10(np.maximum(single, 1e-10) / np.maximum(exact, 1e-10)))
    assert error.max() > 0.01


def test_batches_stay_apart_and_in_order() -> None:
    spec = AudioSpec()
    audio = signals(spec)
    wanted = log_mel_from_audio(audio, spec)
    with DaliLogMel(spec, 4, "cpu") as dali:
        dali.put(audio[:1])
        for at in (3, 1, 2, 0, 0, 3):
            dali.put(audio[at : at + 1])
            assert dali.take().shape[0] == 1
        last = dali.take()
        np.testing.assert_allclose(last[0], wanted[3], atol=0.01)
        # Alone or in company: the same to the last bit.
        dali.put(audio)
        together = dali.take()
        dali.put(np.ascontiguousarray(audio[::-1]))
        np.testing.assert_array_equal(together[::-1], dali.take())


def test_what_put_refuses() -> None:
    spec = AudioSpec()
    audio = signals(spec)
    with DaliLogMel(spec, 3, "cpu") as dali:
        bad: Any
        for bad in (audio[:, :-1], audio[0], audio.astype(np.float64), audio, audio[:0]):
            with pytest.raises(ValueError, match="windows"):
                dali.put(bad)
        for _ in range(IN_FLIGHT):
            dali.put(audio[:1])
        with pytest.raises(ValueError, match="in flight"):
            dali.put(audio[:1])


def test_dalis_resampler_aliases() -> None:
    """Why DALI never resamples here: 15 kHz cannot be at 22,050 Hz, and comes back as 7,050 Hz."""
    from nvidia.dali import fn
    from nvidia.dali.pipeline import Pipeline

    t = np.arange(44_100) / 44_100
    tone = np.sin(2 * np.pi * 15_000 * t).astype(np.float32)

    pipeline = Pipeline(batch_size=1, num_threads=1, device_id=None)  # pyright: ignore[reportArgumentType]
    with pipeline:
        source = fn.external_source([[tone]], cycle=True)
        pipeline.set_outputs(fn.audio_resample(source, in_rate=44_100, out_rate=22_050))
    pipeline.build()
    out = np.asarray(pipeline.run()[0].at(0))
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    assert np.argmax(spectrum) * 22_050 / len(out) == pytest.approx(7_050, abs=5)
    assert np.sqrt(2) * out[1000:-1000].std() > 0.5, "at nearly its full strength"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus"])
def test_the_decoder_gives_our_windows(tmp_path: Path, suffix: str) -> None:
    rate = 48_000 if suffix == ".opus" else 16_000  # libsndfile opens every Opus file at 48 kHz
    spec = AudioSpec(sample_rate=rate, window_samples=10 * rate, hop_length=rate // 40)
    stereo = np.stack([noise(23.7, rate, 1), noise(23.7, rate, 2)], axis=1)
    path = write_audio(tmp_path / f"a{suffix}", stereo, rate)
    with closing(DaliDecoder(path, Limits(), rate)) as decoder:
        found = list(windows_from_decoder(decoder, spec, "all", 5.0))
    wanted = windows_from_file(path, spec, "all", 5.0)
    assert [window.start_s for window in found] == [window.start_s for window in wanted]
    assert len(found) == 4
    for ours, dalis in zip(wanted, found, strict=True):
        np.testing.assert_allclose(dalis.samples, ours.samples, atol=1e-4)


def test_the_decoder_refuses_what_it_would_get_wrong(tmp_path: Path) -> None:
    song = noise(11, 22_050)
    with pytest.raises(AudioError, match=r"needs 16000 Hz.*aliases"):
        DaliDecoder(write_audio(tmp_path / "a.wav", song, 22_050), Limits(), 16_000)
    for suffix in (".mp3", ".m4a", ".aiff"):
        with pytest.raises(AudioError, match="WAV, FLAC, Ogg Vorbis and Opus"):
            DaliDecoder(write_audio(tmp_path / f"a{suffix}", song, 22_050), Limits(), 22_050)
    long = write_audio(tmp_path / "long.flac", np.zeros((200_000, 2), np.float32), 16_000)
    with pytest.raises(AudioError, match="more than 300000 samples"):
        DaliDecoder(long, Limits(decoded_samples=300_000), 16_000)
    with pytest.raises(AudioError, match="no such file"):
        DaliDecoder(tmp_path / "none.wav", Limits(), 16_000)


def test_a_damaged_file_costs_itself_alone(tmp_path: Path) -> None:
    whole = write_audio(tmp_path / "a.flac", noise(12, 16_000), 16_000)
    broken = tmp_path / "b.flac"
    content = bytearray(whole.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    broken.write_bytes(content)
    try:
        with closing(DaliDecoder(broken, Limits(), 16_000)) as decoder:
            found = decoder.length
        with closing(open_decoder(broken, Limits())) as ours:
            assert found <= ours.length  # libsndfile too makes the best of it
    except AudioError as error:
        assert "DALI cannot decode it" in str(error)  # noqa: PT017
    with closing(DaliDecoder(whole, Limits(), 16_000)) as decoder:
        assert decoder.length == 12 * 16_000
