"""Sound that is no music, made from random numbers: what a network must learn to give no emotion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from scipy import signal

from ...engine.arrays import Float32

Rng = np.random.Generator
Sound = npt.NDArray[np.float64]

_LEVELS_DB = (-45.0, -3.0)  # of the peak, or the highest that a sound may have by then


def sounds_that_are_no_music(count: int, rate: int, seconds: float, seed: int = 0) -> Iterator[Float32]:
    """``count`` sounds, float32 ``[rate * seconds]``; the kinds take turns. Seeded."""
    kinds = list(NON_MUSIC.values())
    for index in range(count):
        yield non_music(kinds[index % len(kinds)], rate, seconds, np.random.default_rng([seed, index]))


def non_music(make: Callable[[Rng, int, int], Sound], rate: int, seconds: float, rng: Rng) -> Float32:
    """One sound of one of ``NON_MUSIC``, at a random level, sometimes through a room, a band or a hiss."""
    sound = make(rng, rate, round(rate * seconds))
    while not sound.any():  # by chance no event falls into a short time
        sound = make(rng, rate, round(rate * seconds))
    if rng.random() < 0.3:
        sound = _in_room(sound, rng, rate)
    if rng.random() < 0.3:
        sound = _below(sound, _log_uniform(rng, 1_500, 0.45 * rate), rate)
    peak = np.abs(sound).max()
    sound = sound / max(peak, 1e-9) * 10 ** (rng.uniform(*_LEVELS_DB) / 20)
    if rng.random() < 0.5:
        sound = sound + 10 ** (rng.uniform(-80, -50) / 20) * _noise(rng, len(sound), rng.uniform(0, 1))
    return np.clip(sound, -1, 1).astype(np.float32)


def _steady_noise(rng: Rng, rate: int, count: int) -> Sound:
    """White to brown, or blue."""
    return _noise(rng, count, rng.uniform(-1, 2))


def _noise_in_a_band(rng: Rng, rate: int, count: int) -> Sound:
    low = _log_uniform(rng, 40, 0.25 * rate)
    high = min(low * _log_uniform(rng, 1.2, 8), 0.49 * rate)
    band = signal.butter(4, (low, high), "bandpass", fs=rate, output="sos")
    return np.asarray(signal.sosfilt(band, _noise(rng, count, 0)))


def _wind_and_sea(rng: Rng, rate: int, count: int) -> Sound:
    """Noise whose loudness and colour come and go slowly."""
    parts = [
        _noise(rng, count, colour) * _slow(rng, rate, count, rng.uniform(0.1, 2)) for colour in (0.3, 1, 1.8)
    ]
    return np.sum(parts, axis=0)


def _hiss(rng: Rng, rate: int, count: int) -> Sound:
    """A quiet room or a blank tape: noise near the lowest level that is heard, with a few clicks."""
    return _noise(rng, count, rng.uniform(0, 1.5)) + 3 * (rng.random(count) < rng.uniform(0, 2) / rate)


def _tones(rng: Rng, rate: int, count: int) -> Sound:
    """One to three tones that stay."""
    time = np.arange(count) / rate
    pitches = [_log_uniform(rng, 50, 0.4 * rate) for _ in range(rng.integers(1, 4))]
    return np.sum([_wave(rng, rng.uniform() + f * time) for f in pitches], axis=0)


def _sweep(rng: Rng, rate: int, count: int) -> Sound:
    """A siren or a sweep: pitch goes up and down, or one way only."""
    low = _log_uniform(rng, 80, 1_500)
    high = min(low * _log_uniform(rng, 1.3, 10), 0.45 * rate)
    phase = 2 * np.pi * (_log_uniform(rng, 0.08, 4) * np.arange(count) / rate + rng.random())
    place = signal.sawtooth(phase, rng.choice([0.5, 1.0]))
    return _wave(rng, np.cumsum(low * (high / low) ** (place / 2 + 0.5)) / rate)


def _beeps(rng: Rng, rate: int, count: int) -> Sound:
    """Alarms and telephones: the same one or two tones, on and off."""
    time = np.arange(count) / rate
    period = _log_uniform(rng, 0.12, 4)
    place = (time / period + rng.random()) % 1
    on = (place < rng.uniform(0.1, 0.7)) * 1.0
    if rng.random() < 0.5:
        on *= (place * rng.integers(2, 9)) % 1 < 0.5
    first, second = (_log_uniform(rng, 200, 4_000) for _ in range(2))
    tone = _wave(rng, first * time) + (rng.random() < 0.5) * _wave(rng, second * time)
    return tone * _smooth(np.asarray(on, np.float64), rate)


def _dialling(rng: Rng, rate: int, count: int) -> Sound:
    """Pairs of tones as telephones dial, in an order that is no melody."""
    sound = np.zeros(count)
    length = rng.uniform(0.06, 0.25)
    for start in _times(rng, count / rate, 1 / (length * rng.uniform(1.3, 3)), regular=True):
        low, high = rng.choice([697, 770, 852, 941]), rng.choice([1209, 1336, 1477, 1633])
        time = np.arange(int(length * rate)) / rate
        _put(sound, np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time), int(start * rate))
    return sound


def _hum(rng: Rng, rate: int, count: int) -> Sound:
    """Mains, motors and fans: harmonics that stay or follow a speed, with noise."""
    base = rng.choice([50.0, 60.0, _log_uniform(rng, 20, 200)])
    speed = base * (1 + rng.uniform(0, 0.4) * (_slow(rng, rate, count, 0.3) - 0.5) * (rng.random() < 0.5))
    phase = np.cumsum(speed) / rate
    tilt = rng.uniform(0.3, 1.5)
    harmonics = [
        rng.random() * n**-tilt * np.sin(2 * np.pi * n * phase) for n in range(1, 30) if n * base < 0.4 * rate
    ]
    return np.sum(harmonics, axis=0) + rng.uniform(0, 0.5) * _noise(rng, count, rng.uniform(0.5, 1.5))


def _clicks(rng: Rng, rate: int, count: int) -> Sound:
    """Clicks of one kind: a clock, a turn signal, a scratched record, a Geiger counter."""
    sound, click = np.zeros(count), _hit(rng, rate)
    for start in _times(rng, count / rate, _log_uniform(rng, 0.7, 40), regular=rng.random() < 0.5):
        _put(sound, click * rng.uniform(0.5, 1), int(start * rate))
    return sound


def _typing(rng: Rng, rate: int, count: int) -> Sound:
    """Keys that go down and up again, a little different each, with pauses."""
    sound = np.zeros(count)
    busy = _slow(rng, rate, count, 0.5) > rng.uniform(0, 0.4)
    keys = [_hit(rng, rate) for _ in range(5)]
    for start in _times(rng, count / rate, rng.uniform(3, 12), regular=False):
        place = int(start * rate)
        if busy[place]:
            key = keys[rng.integers(5)] * rng.uniform(0.4, 1)
            _put(sound, key, place)
            _put(sound, key * rng.uniform(0.1, 0.6), place + int(rng.uniform(0.05, 0.13) * rate))
    return sound


def _applause_and_rain(rng: Rng, rate: int, count: int) -> Sound:
    """Hundreds of short hits a second, or a few dozen: hands, drops, gravel, fire."""
    sound = np.zeros(count)
    hits = [_hit(rng, rate) for _ in range(12)]
    for start in _times(rng, count / rate, _log_uniform(rng, 30, 900), regular=False):
        _put(sound, hits[rng.integers(12)] * rng.exponential(), int(start * rate))
    return sound * (0.3 + _slow(rng, rate, count, rng.uniform(0.05, 1)))


def _machine(rng: Rng, rate: int, count: int) -> Sound:
    """A hit that comes back evenly and fast, with a hum: engines, printers, trains, sewing machines."""
    sound, hit = np.zeros(count), _hit(rng, rate)
    for start in _times(rng, count / rate, _log_uniform(rng, 5, 60), regular=True):
        _put(sound, hit, int(start * rate))
    hum = _hum(rng, rate, count)
    return sound / max(sound.std(), 1e-9) + rng.uniform(0, 1.5) * hum / max(hum.std(), 1e-9)


def _knocks(rng: Rng, rate: int, count: int) -> Sound:
    """Single events with long pauses: doors, steps, falls, bangs, dishes."""
    sound = np.zeros(count)
    for start in _times(rng, count / rate, _log_uniform(rng, 0.4, 3), regular=rng.random() < 0.3):
        _put(sound, _hit(rng, rate, slow=True) * rng.uniform(0.2, 1), int(start * rate))
    return sound


def _chirps(rng: Rng, rate: int, count: int) -> Sound:
    """Birds, insects, whistles and squeaks: short glides that come back."""
    sound = np.zeros(count)
    base, spread = _log_uniform(rng, 600, 0.3 * rate), _log_uniform(rng, 1.02, 1.6)
    length = _log_uniform(rng, 0.02, 0.4)
    for start in _times(rng, count / rate, rng.uniform(0.5, 0.6 / length), regular=rng.random() < 0.5):
        size = max(8, int(length * rng.uniform(0.6, 1.4) * rate))
        glide = base * spread ** np.interp(np.linspace(0, 2, size), np.arange(3), rng.uniform(-1, 1, 3))
        tone = np.sin(2 * np.pi * np.cumsum(np.minimum(glide, 0.48 * rate)) / rate)
        _put(sound, tone * np.hanning(size) * rng.uniform(0.3, 1), int(start * rate))
    return sound


def _one_voice(rng: Rng, rate: int, count: int) -> Sound:
    """Something like speech: a buzz through formants, and noise, in syllables and pauses."""
    pieces, voice = [], _log_uniform(rng, 75, 320)
    tract = rng.uniform(0.85, 1.25)
    speed = rng.uniform(0.8, 1.4)
    while sum(map(len, pieces)) < count:
        if rng.random() < 0.15:
            pieces.append(np.zeros(int(rng.uniform(0.1, 0.8) * rate)))
        pieces.append(_syllable(rng, rate, voice, tract, speed))
    return np.concatenate(pieces)[:count]


def _many_voices(rng: Rng, rate: int, count: int) -> Sound:
    """A crowd, a restaurant, a playground."""
    voices = [_one_voice(rng, rate, count) for _ in range(rng.integers(2, 7))]
    return np.sum(voices, axis=0) + rng.uniform(0, 0.1) * _noise(rng, count, 1)


def _calls(rng: Rng, rate: int, count: int) -> Sound:
    """Barks, cries, screams and laughter: loud voiced bursts, one much like the other, with pauses."""
    sound, base = np.zeros(count), _log_uniform(rng, 120, 1_500)
    length = _log_uniform(rng, 0.08, 1.2)
    for start in _times(rng, count / rate, rng.uniform(0.3, 0.7) / length, regular=rng.random() < 0.5):
        size = int(length * rng.uniform(0.8, 1.2) * rate)
        bend = base * 2 ** np.interp(np.linspace(0, 2, size), np.arange(3), rng.uniform(-0.6, 0.6, 3))
        rough = rng.uniform(0, 0.6) * rng.standard_normal(size)
        call = signal.sawtooth(2 * np.pi * np.cumsum(bend) / rate) + rough
        _put(sound, _through_formants(call, rng.uniform((300, 900, 2_000), (1_000, 2_000, 3_500)), rate)
             * np.hanning(size) ** 0.5, int(start * rate))  # fmt: skip
    return sound


NON_MUSIC: Mapping[str, Callable[[Rng, int, int], Sound]] = {
    make.__name__.strip("_"): make
    for make in (
        _steady_noise, _noise_in_a_band, _wind_and_sea, _hiss, _tones, _sweep, _beeps, _dialling, _hum,
        _clicks, _typing, _applause_and_rain, _machine, _knocks, _chirps, _one_voice, _many_voices, _calls,
    )
}  # fmt: skip
"""Every kind, by its name: random numbers, the sample rate and the number of samples to a sound."""


def _noise(rng: Rng, count: int, slope: float) -> Sound:
    """Noise whose power falls with frequency to that power: 0 is white, 1 pink, 2 brown, -1 blue."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.arange(len(spectrum)) / count
    spectrum *= np.maximum(frequency, 20 / 48_000) ** (-slope / 2)
    sound = np.fft.irfft(spectrum, count)
    return sound / max(sound.std(), 1e-12)


def _slow(rng: Rng, rate: int, count: int, per_second: float) -> Sound:
    """A random curve from 0 to 1 with so many turns a second."""
    knots = rng.random(max(2, int(count / rate * per_second) + 2))
    return np.interp(np.linspace(0, len(knots) - 1, count), np.arange(len(knots)), knots)


def _times(rng: Rng, seconds: float, per_second: float, regular: bool) -> Sound:
    """When events come: evenly, but for a little, or by chance."""
    if not regular:
        return np.sort(rng.uniform(0, seconds, rng.poisson(seconds * per_second) + 1))
    times = np.arange(rng.uniform(0, 1 / per_second), seconds, 1 / per_second)
    return np.clip(times + rng.normal(0, rng.choice([0, 0.03]) / per_second, len(times)), 0, seconds)


def _put(sound: Sound, event: Sound, place: int) -> None:
    room = max(0, len(sound) - place)
    sound[place : place + len(event)] += event[:room]


def _hit(rng: Rng, rate: int, slow: bool = False) -> Sound:
    """A short noise or a few modes that ring and fade, as struck things do."""
    decay = _log_uniform(rng, 0.05, 0.6) if slow else _log_uniform(rng, 0.001, 0.05)
    time = np.arange(int(5 * decay * rate) + 8) / rate
    modes = [
        rng.random() * np.sin(2 * np.pi * (_log_uniform(rng, 60, 0.4 * rate) * time + rng.random()))
        * np.exp(-time / decay * rng.uniform(0.5, 3))
        for _ in range(rng.integers(0, 5))
    ]  # fmt: skip
    noise = _noise(rng, len(time), rng.uniform(-0.5, 1.5)) * np.exp(-time / decay)
    return np.sum([rng.uniform(0.2, 1) * noise, *modes], axis=0)


def _syllable(rng: Rng, rate: int, voice: float, tract: float, speed: float) -> Sound:
    size = int(rng.uniform(0.1, 0.3) / speed * rate)
    pitch = voice * 2 ** np.interp(np.linspace(0, 2, size), np.arange(3), rng.normal(0, 0.2, 3))
    source = signal.sawtooth(2 * np.pi * np.cumsum(pitch) / rate) + 0.1 * rng.standard_normal(size)
    formants = tract * rng.uniform((280, 800, 2_200), (800, 2_300, 3_200))
    vowel = _through_formants(source, formants, rate) * np.hanning(size)
    consonant = _noise(rng, int(rng.uniform(0.02, 0.12) * rate), rng.uniform(-1.5, 0.5)) * rng.uniform(0, 0.3)
    return np.concatenate([consonant * np.hanning(len(consonant)), vowel / max(np.abs(vowel).max(), 1e-9)])


def _through_formants(sound: Sound, formants: Sound, rate: int) -> Sound:
    if min(formants) >= 0.45 * rate:  # so low a rate has none of them
        return sound
    out = np.zeros(len(sound))
    for gain, frequency in zip((1, 0.6, 0.3), formants, strict=True):
        if frequency < 0.45 * rate:
            b, a = signal.iirpeak(frequency, frequency / (60 + 0.05 * frequency), fs=rate)
            out += gain * np.asarray(signal.lfilter(b, a, sound))
    return out


def _wave(rng: Rng, phase: Sound) -> Sound:
    """A sine, a square or a sawtooth of a phase in cycles."""
    kind = rng.integers(4)
    if kind == 2:
        return np.sign(np.sin(2 * np.pi * phase))
    return signal.sawtooth(2 * np.pi * phase) if kind == 3 else np.sin(2 * np.pi * phase)


def _smooth(curve: Sound, rate: int) -> Sound:
    """Without the clicks of steps: edges of 5 ms."""
    size = max(1, rate // 200)
    return np.convolve(curve, np.full(size, 1 / size), "same")


def _below(sound: Sound, cutoff: float, rate: int) -> Sound:
    return np.asarray(signal.sosfilt(signal.butter(4, cutoff, fs=rate, output="sos"), sound))


def _in_room(sound: Sound, rng: Rng, rate: int) -> Sound:
    size = int(rng.uniform(0.1, 0.8) * rate)
    echo = rng.standard_normal(size) * np.exp(-6 * np.arange(size) / size)
    echo[0] = rng.uniform(5, 40)
    return signal.oaconvolve(sound, echo)[: len(sound)]


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(min(low, high)), np.log(high))))  # a low rate may have no more
