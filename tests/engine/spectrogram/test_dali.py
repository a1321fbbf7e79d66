"""DALI's log-mels against the reference, on its CPU backend."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.fft
from audio_files import noise
from hard_sounds import SPECS, music
from merkit.engine.errors import DeviceError, DeviceMemoryError
from merkit.engine.labelling.packed_samples import packed_from_samples, samples_from_packed
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.dali import IN_FLIGHT, DaliLogMel
from merkit.engine.spectrogram.log_mel import decibels_from_audio, log_mel_from_audio

pytest.importorskip("nvidia.dali", reason="DALI runs on Linux only")

FITTED = dataclasses.replace(
    AudioSpec(), mean=tuple(np.linspace(-40, 0, 128)), std=tuple(np.linspace(1, 20, 128))
)
ALL = {**SPECS, "fitted": FITTED, "top_db": AudioSpec(top_db=60.0), "max": AudioSpec(reference="max")}
ALL["mean"] = AudioSpec(reference="mean", top_db=80.0)


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
        log_mels = dali.take()
    assert log_mels.dtype == np.float32
    assert log_mels.shape == (4, 1, spec.n_mels, spec.frames)
    std = np.asarray(spec.std)[:, None]
    error = np.abs(log_mels - log_mel_from_audio(audio, spec)) * std  # in dB
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
    expected = log_mel_from_audio(audio, spec)
    with DaliLogMel(spec, 4, "cpu") as dali:
        dali.put(audio[:1])
        for i in (3, 1, 2, 0, 0, 3):
            dali.put(audio[i : i + 1])
            assert dali.take().shape[0] == 1
        last = dali.take()
        np.testing.assert_allclose(last[0], expected[3], atol=0.01)
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


def test_packed_samples_are_those_that_they_stand_for() -> None:
    """int16 and a scale a window, from quiet to far beyond full scale, alone or with others."""
    spec = AudioSpec()
    levels = np.asarray([[1.0], [40.0], [0.0], [1e-3]], np.float32)
    pairs = [packed_from_samples(window) for window in signals(spec) * levels]
    packed, scales = np.stack([numbers for numbers, _ in pairs]), np.asarray([scale for _, scale in pairs])
    with DaliLogMel(spec, 4, "cpu") as plain, DaliLogMel(spec, 4, "cpu", packed=True) as dali:
        plain.put(samples_from_packed(packed, scales))
        expected = plain.take()
        dali.put(packed, scales)
        np.testing.assert_allclose(dali.take(), expected, atol=1e-5)
        dali.put(packed[1:2], scales[1:2])
        np.testing.assert_allclose(dali.take(), expected[1:2], atol=1e-5)
        with pytest.raises(ValueError, match="must be int16"):
            dali.put(samples_from_packed(packed, scales), scales)
        wrongs: tuple[Any, ...] = (None, scales[:2], scales.astype(np.float64))
        for wrong in wrongs:
            with pytest.raises(ValueError, match=r"scales must be float32 \[4\]"):
                dali.put(packed, wrong)


def test_a_batch_that_was_taken_makes_room_for_one() -> None:
    """DALI would wait for ever, or write over samples, with more in flight."""
    spec = AudioSpec()
    audio = np.zeros((1, spec.window_samples), np.float32)
    with DaliLogMel(spec, 1, "cpu") as dali:
        for _ in range(IN_FLIGHT):
            dali.put(audio)
        dali.take()
        dali.put(audio)
        with pytest.raises(ValueError, match=f"after {IN_FLIGHT} batches in flight"):
            dali.put(audio)


INVALID = "Current pipeline object is no longer valid.\nCurrent pipeline object is no longer valid."


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (MemoryError("CUDA allocation failed"), DeviceMemoryError, "CUDA allocation failed"),
        (
            RuntimeError(
                "Critical error in pipeline:\nCritical error in pipeline:\nError in GPU operator "
                "`nvidia.dali.fn.spectrogram`,\nwhich was used in the pipeline definition with the following "
                'traceback:\n\n  File "dali.py", line 134, in pipeline\n    power = fn.spectrogram(\n\n'
                f"encountered:\n\nCan't allocate 134217728 bytes on device 0.\n{INVALID}"
            ),
            DeviceMemoryError,
            "Can't allocate 134217728 bytes on device 0.",
        ),
        (
            RuntimeError(f"Critical error in pipeline:\nCUDA runtime API error: out of memory\n{INVALID}"),
            DeviceMemoryError,
            "CUDA runtime API error: out of memory",
        ),
        (RuntimeError(f"std::bad_alloc\n{INVALID}"), DeviceMemoryError, INVALID.splitlines()[0]),
        (
            RuntimeError(f"Critical error in pipeline:\nCUDA driver: 719\n{INVALID}"),
            DeviceError,
            "CUDA driver: 719",
        ),
    ],
)
def test_what_dali_says_on_a_gpu(
    error: Exception, raised: type[DeviceError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two are DALI 2.4's words on an H200 whose memory was full."""
    spec = AudioSpec()

    def fail(**_: Any) -> None:
        raise error

    with DaliLogMel(spec, 2, "cpu") as dali:
        dali.put(np.zeros((2, spec.window_samples), np.float32))
        monkeypatch.setattr(dali._pipeline, "outputs", fail)
        with pytest.raises(DeviceError) as caught:
            dali.take()
        assert type(caught.value) is raised
        assert str(caught.value) == f"DALI makes no log-mels: {message}"
