"""What a clip says of its recording and its file alone: level, band, bitrate; nothing of its music."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ...engine.arrays import Float32
from ...engine.audio.decoder import Limits
from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError
from ...engine.labelling.file_windows import WindowOptions, samples_from_file
from ...engine.labelling.packed_samples import samples_from_packed
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ...engine.spec import AudioSpec

FACTS = (
    *("level", "peak", "crest", "samples at the peak", "offset", "quietest tenth"),
    *("upper edge at -60 dB", "upper edge at -80 dB", "lower edge", "above 10 kHz", "fall at the edge"),
    *("bits a second", "seconds"),
)
"""What each column is: levels in dB of full scale, edges of the band in kHz, the last two as logarithms."""

FACTS_VERSION = 2
"""Of how they are computed: figures made with another are made anew."""

_RATE = 44_100  # above it a file has nothing that is heard
_SPEC = AudioSpec(sample_rate=_RATE, window_samples=10 * _RATE, frames=1, fmax=_RATE / 2)
_FFT = 4_096
_BLOCK = 2_205  # 50 ms
_SILENCE = 1e-10


def recording_facts(clips: Sequence[Clip], workers: int = 0) -> list[Float32 | MerError]:
    """Each clip's ``[len(FACTS)]``, or why it cannot be heard; of the three windows that labelling hears.

    Args:
        workers: child processes that decode; 0 is one a core.
    """
    results: list[Float32 | MerError] = [np.empty(0, np.float32)] * len(clips)
    options = WindowOptions(_SPEC)
    with WorkerPool(_facts, options, workers, Limits().seconds) as pool:
        for number, result in pool.map([str(clip.path) for clip in clips]):
            results[number] = MerError(result.reason) if isinstance(result, Failure) else result
    return results


def _facts(path: str, options: WindowOptions) -> Float32:
    """In a child process: a file's facts."""
    file = samples_from_file(path, options)
    seconds = max(file.facts.duration_s, 0.1)
    bits = 8 * os.stat(path).st_size / seconds
    return facts_from_samples(samples_from_packed(np.asarray(file.samples), file.scales), bits, seconds)


def facts_from_samples(samples: Float32, bits: float, seconds: float) -> Float32:
    """The facts of windows ``[windows, samples]`` at 44,100 Hz.

    Args:
        bits: of the file, a second.
        seconds: of the file.
    """
    power = float(np.square(samples, dtype=np.float64).mean())
    peak = float(np.abs(samples).max())
    blocks = samples[:, : samples.shape[1] // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    quiet = np.percentile(np.square(blocks, dtype=np.float64).mean(axis=1), 10)
    return np.asarray(
        [
            _decibels(power),
            _decibels(peak**2),
            _decibels(peak**2) - _decibels(power),
            np.log10(np.mean(np.abs(samples) > 0.99 * peak) + 1e-7),
            np.log10(abs(float(samples.mean())) + 1e-7),
            _decibels(quiet),
            *_band(samples),
            np.log10(bits + 1),
            np.log10(seconds),
        ],
        np.float32,
    )


def _band(samples: Float32) -> list[float]:
    """Where the sound's band ends, by its mean spectrum, smoothed over a third of a kHz."""
    cut = samples[:, : samples.shape[1] // _FFT * _FFT].reshape(-1, _FFT) * np.hanning(_FFT)
    power = np.square(np.abs(np.fft.rfft(cut, axis=1))).mean(axis=0)
    smooth = np.convolve(power, np.ones(32) / 32, "same")
    level = 10 * np.log10(smooth + _SILENCE) - 10 * np.log10(smooth.max() + _SILENCE)
    khz = np.fft.rfftfreq(_FFT, 1 / _RATE) / 1_000
    upper = [float(khz[np.flatnonzero(level > floor)[-1]]) for floor in (-60, -80)]
    lower = float(khz[np.flatnonzero(level > -40)[0]])
    high = _decibels(float(power[khz > 10].sum() / (power.sum() + _SILENCE)))
    return [*upper, lower, high, upper[1] - upper[0]]


def _decibels(power: float) -> float:
    return 10 * float(np.log10(power + _SILENCE))
