"""What a bad recording does to a spectrogram: the treble is lost, and noise fills what was quiet."""

from __future__ import annotations

import numpy as np

from ...engine.arrays import Float32
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import mel_edges

_CUTOFFS_HZ = (2_500.0, 8_000.0)
_SLOPES = (24, 48, 96, 400)  # dB an octave: an old recording's, a filter's, a codec's
_BELOW_DB = (15.0, 45.0)
_TILT_DB = (-18.0, 9.0)  # from the lowest mel to the highest: hum and rumble, or hiss
_DEGREES = 16  # of freedom of a mel's noise power: those of a few bins of the default spec


def random_low_pass(decibels: Float32, spec: AudioSpec, rng: np.random.Generator) -> Float32:
    """Low-passed at 2.5 to 8 kHz, with 24 dB an octave or more. The sound is ``[mels, frames]`` in dB."""
    low, high = _CUTOFFS_HZ
    cutoff = low * (max(min(high, spec.fmax), low) / low) ** rng.random()
    return low_passed(decibels, spec, cutoff, float(rng.choice(_SLOPES)))


def low_passed(decibels: Float32, spec: AudioSpec, cutoff_hz: float, slope: float) -> Float32:
    """Less by ``slope`` dB for each octave above the cutoff."""
    octaves = np.log2(np.maximum(mel_edges(spec)[1:-1] / cutoff_hz, 1))
    return decibels - (slope * octaves).astype(np.float32)[:, None]


def random_noise(decibels: Float32, rng: np.random.Generator) -> Float32:
    """With stationary noise of any tone, 15 to 45 dB below the mean power of all mels."""
    mean = 10 * np.log10(np.exp(np.float32(np.log(10) / 10) * decibels).mean() + 1e-12)
    return with_noise(decibels, float(mean) - rng.uniform(*_BELOW_DB), rng.uniform(*_TILT_DB), rng)


def with_noise(decibels: Float32, level: float, tilt: float, rng: np.random.Generator) -> Float32:
    """With noise of ``level`` dB in the lowest mel and ``level + tilt`` in the highest."""
    power = rng.standard_gamma(_DEGREES / 2, decibels.shape, np.float32) / np.float32(_DEGREES / 2)
    levels = level + np.linspace(0, tilt, len(decibels))
    power *= (10 ** (levels / 10)).astype(np.float32)[:, None]
    power += np.exp(np.float32(np.log(10) / 10) * decibels)
    return np.float32(10 / np.log(10)) * np.log(power)
