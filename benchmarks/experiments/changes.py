"""Changes of sound that are no change of emotion: level, band, codec, noise, age, start, pace, channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import soundfile
import soxr

from ...engine.arrays import Float32
from ...engine.errors import UsageError
from ...training.data.codecs import check_encoders, through_codec

_LONGEST = 1 << 27  # samples, as the engine's own limit on clips
_SLOPE = 0.05  # of the cutoff on both sides of it: where a low-pass falls
_OFFSET = 0.05  # of full scale
_CLICKS_A_SECOND, _CLICK = 40, 8  # so many, and so many times the hiss


@dataclass(frozen=True)
class Sound:
    """Decoded sound: ``samples`` is mono, float32 ``[samples]``, full scale 1; ``rate`` in Hz."""

    samples: Float32
    rate: int
    path: str = ""


Make = Callable[[Sound, np.random.Generator], Float32 | None]


@dataclass(frozen=True)
class Change:
    """``make`` gives the changed samples, at the same rate; None where a song has nothing to change.

    Nothing is clipped. ``what`` says in words what is done.
    """

    name: str
    what: str
    make: Make
    encoder: str = ""


def changes_from_names(names: Iterable[str] = ()) -> list[Change]:
    """The changes of these names, each once, in the order of ``CHANGES``; all without names.

    Raises:
        UsageError: an unknown name.
        MerError: FFmpeg's libraries lack an encoder.
    """
    asked = set(names) or set(CHANGES)
    if unknown := sorted(asked - set(CHANGES)):
        raise UsageError(f"unknown change {', '.join(unknown)}; there are: {', '.join(CHANGES)}")
    changes = [change for name, change in CHANGES.items() if name in asked]
    check_encoders(change.encoder for change in changes if change.encoder)
    return changes


def _level(sound: Sound, rng: np.random.Generator, decibels: float) -> Float32:
    return sound.samples * np.float32(10 ** (decibels / 20))


def _low_pass(sound: Sound, rng: np.random.Generator, cutoff: float) -> Float32:
    """Nothing above ``cutoff`` Hz, by a filter without delay that falls within 5 % on both sides of it."""
    place = np.clip((_frequencies(sound) / cutoff - (1 - _SLOPE)) / (2 * _SLOPE), 0, 1)
    return _filtered(sound, 0.5 + 0.5 * np.cos(np.pi * place))


def _high_pass(sound: Sound, rng: np.random.Generator, cutoff: float) -> Float32:
    """As a small loudspeaker has it: 12 dB an octave less below ``cutoff`` Hz."""
    return _filtered(sound, _bass_lost(sound, cutoff))


def _old(sound: Sound, rng: np.random.Generator) -> Float32:
    """As from a disc of 78 rpm: 200 Hz to 5 kHz, and 18 dB below it the hiss and 40 clicks a second."""
    gains = _bass_lost(sound, 200) * (1 - _bass_lost(sound, 5_000))
    music = dataclasses.replace(sound, samples=_filtered(sound, gains))
    flaws = rng.standard_normal(len(sound.samples), dtype=np.float32)
    clicks = rng.integers(len(flaws), size=round(_CLICKS_A_SECOND * len(flaws) / sound.rate))
    flaws[clicks] += _CLICK * rng.standard_normal(len(clicks), dtype=np.float32)
    return _with(flaws, music, 18)


def _bass_lost(sound: Sound, cutoff: float) -> np.ndarray:
    """The gain of each frequency where 12 dB an octave are lost below ``cutoff``."""
    return 1 - 1 / (1 + np.square(_frequencies(sound) / cutoff))


def _frequencies(sound: Sound) -> np.ndarray:
    return np.fft.rfftfreq(len(sound.samples), 1 / sound.rate)


def _filtered(sound: Sound, gains: np.ndarray) -> Float32:
    """Each frequency times its gain, without delay."""
    return np.fft.irfft(np.fft.rfft(sound.samples) * gains, len(sound.samples)).astype(np.float32)


def _codec(sound: Sound, rng: np.random.Generator, encoder: str, bits_a_second: int) -> Float32:
    return through_codec(sound.samples, sound.rate, encoder, bits_a_second)


def _noise(sound: Sound, rng: np.random.Generator, decibels: float) -> Float32:
    """White noise so many decibels below the song's own power."""
    return _with(rng.standard_normal(len(sound.samples), dtype=np.float32), sound, decibels)


def _with(noise: Float32, sound: Sound, decibels: float) -> Float32:
    power = np.mean(np.square(sound.samples, dtype=np.float64))
    noise_power = power * 10 ** (-decibels / 10) / np.mean(np.square(noise, dtype=np.float64))
    return (sound.samples + np.float32(np.sqrt(noise_power)) * noise).astype(np.float32)


def _later(sound: Sound, rng: np.random.Generator, seconds: float) -> Float32 | None:
    begin = round(seconds * sound.rate)
    return sound.samples[begin:] if begin < len(sound.samples) else None


def _faster(sound: Sound, rng: np.random.Generator, ratio: float) -> Float32:
    """As a tape that runs too fast: the pitch rises too."""
    return soxr.resample(sound.samples, sound.rate * ratio, sound.rate, quality="HQ")


def _offset(sound: Sound, rng: np.random.Generator) -> Float32:
    return sound.samples + np.float32(_OFFSET)


def _left(sound: Sound, rng: np.random.Generator) -> Float32 | None:
    """The first of two channels. Decoders give mono, so the file is read again, where libsndfile reads it."""
    try:
        with soundfile.SoundFile(sound.path) as file:
            if file.channels != 2 or not 0 < file.frames <= _LONGEST or file.samplerate != sound.rate:
                return None
            return np.array(file.read(dtype="float32")[:, 0], np.float32)
    except (soundfile.LibsndfileError, OSError):
        return None


_DECIBELS = (6, -6, 10, -10, -20, -30)
_CHANGES = (
    *(Change(f"level{by:+}", f"level {by:+} dB", partial(_level, decibels=by)) for by in _DECIBELS),
    Change("lowpass8000", "low-pass at 8 kHz", partial(_low_pass, cutoff=8_000)),
    Change("lowpass5500", "low-pass at 5.5 kHz", partial(_low_pass, cutoff=5_500)),
    Change("lowpass4000", "low-pass at 4 kHz", partial(_low_pass, cutoff=4_000)),
    Change(
        "opus16",
        "Opus at 16 kbit/s, mono",
        partial(_codec, encoder="libopus", bits_a_second=16_000),
        "libopus",
    ),
    Change(
        "mp3-32",
        "MP3 at 32 kbit/s, mono",
        partial(_codec, encoder="libmp3lame", bits_a_second=32_000),
        "libmp3lame",
    ),
    Change("noise25", "white noise 25 dB below", partial(_noise, decibels=25)),
    Change("noise15", "white noise 15 dB below", partial(_noise, decibels=15)),
    Change("highpass300", "high-pass at 300 Hz, 12 dB an octave", partial(_high_pass, cutoff=300)),
    Change("old", "200 Hz to 5 kHz, hiss and clicks 18 dB below", _old),
    Change("later1", "begun 1 s later", partial(_later, seconds=1)),
    Change("later2", "begun 2 s later", partial(_later, seconds=2)),
    Change("faster3", "3 % faster", partial(_faster, ratio=1.03)),
    Change("offset", "offset of 5 % of full scale", _offset),
    Change("left", "left channel alone", _left),
)
CHANGES = {change.name: change for change in _CHANGES}
"""All changes by name."""
