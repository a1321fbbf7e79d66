"""What a bad recording does to a spectrogram: lost treble and bass, noise in the quiet, a codec's errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...engine.arrays import Float32
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import mel_edges

WIDE_HZ = 8_000.0
"""A network that hears more than that hears where a file of 16 or 22.05 kHz ends, and its noise with it."""

SLOPES = (24.0, 48.0, 96.0, 400.0)
"""In dB an octave: an old recording's, a filter's, a codec's."""

ABRUPT = 4_000.0
"""A resampler's slope. Heads that are guarded against it change no fewer labels; it is for the evidence."""

_CUTOFFS_HZ = (2_500.0, 8_000.0)
_BASS_HZ = (60.0, 500.0)
_BASS_SLOPES = (6.0, 12.0, 24.0, 48.0)  # a horn, a small loudspeaker, a telephone
_HALF_RATES_HZ = (4_000.0, 5_512.5, 8_000.0, 11_025.0, 12_000.0)
_BELOW_DB = (15.0, 45.0)  # of the lowest mel's noise
_TILT_DB = (-18.0, 9.0)  # from the lowest mel to the highest: hum and rumble, or hiss
_STRENGTH = (0.3, 1.5)  # of a codec's errors: MP3 at 32 kbit/s is about 0.8, Opus at 16 kbit/s 1
_DEGREES = 16  # of freedom of a mel's noise power: those of a few bins of the default spec


def random_low_pass(
    decibels: Float32, spec: AudioSpec, rng: np.random.Generator, slopes: Sequence[float] = SLOPES
) -> Float32:
    """Low-passed at 2.5 to 8 kHz, with one of the slopes. The sound is ``[mels, frames]`` in dB."""
    low, high = _CUTOFFS_HZ
    cutoff = low * (max(min(high, spec.fmax), low) / low) ** rng.random()
    return low_passed(decibels, spec, cutoff, float(rng.choice(slopes)))


def random_high_pass(decibels: Float32, spec: AudioSpec, rng: np.random.Generator) -> Float32:
    """High-passed at 60 to 500 Hz, with one of the slopes: discs of 78 rpm, radio, small loudspeakers."""
    low, high = _BASS_HZ
    return high_passed(decibels, spec, low * (high / low) ** rng.random(), float(rng.choice(_BASS_SLOPES)))


def at_a_lower_rate(
    decibels: Float32, spec: AudioSpec, rng: np.random.Generator, slope: float = max(SLOPES)
) -> Float32:
    """As a file of 8 to 24 kHz has it: nothing above half of its rate."""
    return low_passed(decibels, spec, float(rng.choice(_HALF_RATES_HZ)), slope)


def low_passed(decibels: Float32, spec: AudioSpec, cutoff_hz: float, slope: float) -> Float32:
    """Less by ``slope`` dB for each octave above the cutoff."""
    octaves = np.log2(np.maximum(mel_edges(spec)[1:-1] / cutoff_hz, 1))
    return decibels - (slope * octaves).astype(np.float32)[:, None]


def high_passed(decibels: Float32, spec: AudioSpec, cutoff_hz: float, slope: float) -> Float32:
    """Less by ``slope`` dB for each octave below the cutoff."""
    octaves = np.log2(np.maximum(cutoff_hz / np.maximum(mel_edges(spec)[1:-1], 1), 1))
    return decibels - (slope * octaves).astype(np.float32)[:, None]


def random_noise(decibels: Float32, rng: np.random.Generator) -> Float32:
    """With stationary noise of any tone, 10 to 51 dB below the mean power of all mels.

    It is 15 to 45 dB below in the lowest one, and tilted from there to the highest.
    """
    mean = 10 * np.log10(np.exp(np.float32(np.log(10) / 10) * decibels).mean() + 1e-12)
    return with_noise(decibels, float(mean) - rng.uniform(*_BELOW_DB), rng.uniform(*_TILT_DB), rng)


def with_noise(decibels: Float32, level: float, tilt: float, rng: np.random.Generator) -> Float32:
    """With noise of ``level`` dB in the lowest mel and ``level + tilt`` in the highest."""
    power = rng.standard_gamma(_DEGREES / 2, decibels.shape, np.float32) / np.float32(_DEGREES / 2)
    levels = level + np.linspace(0, tilt, len(decibels))
    power *= (10 ** (levels / 10)).astype(np.float32)[:, None]
    power += np.exp(np.float32(np.log(10) / 10) * decibels)
    return np.float32(10 / np.log(10)) * np.log(power)


def random_codec(decibels: Float32, rng: np.random.Generator) -> Float32:
    """With the errors that a codec of few bits leaves."""
    return coded(decibels, rng.uniform(*_STRENGTH), rng)


def coded(decibels: Float32, strength: float, rng: np.random.Generator) -> Float32:
    """With errors that are larger where a mel is farther below the loudest of its frame, as codecs mask them.

    At strength 1 their deviation is 1 dB there, and 0.07 dB more for each dB below; errors of neighbours go
    together by a half. So measured on music through Opus at 16 kbit/s.
    """
    mels, frames = decibels.shape
    error = rng.standard_normal((mels + 1, frames + 1), np.float32)
    error = error[1:] + error[:-1]
    error = (error[:, 1:] + error[:, :-1]) / 2
    below = np.minimum(decibels.max(axis=0) - decibels, 60)
    return decibels + np.float32(strength) * (1 + np.float32(0.07) * below) * error
