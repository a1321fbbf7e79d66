"""One recording in two clips is found; what merely sounds alike is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from audio_files import noise, write_audio
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.engine.spectrogram.log_mel import decibels_from_audio
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.data.near_copies import near_copies

SPEC = PRESETS["emotion4q"]
RATE = SPEC.sample_rate
FRAME_S = SPEC.hop_length / RATE
SECONDS = 10.0
_TIMES = np.arange(int(SECONDS * RATE)) / RATE


def _melody(seed: int, seconds: float = SECONDS) -> np.ndarray:
    """Notes of random pitch and length with five partials, over a beat of noise."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(int(seconds * RATE))
    start = 0
    while start < len(sound):
        times = np.arange(min(int(rng.uniform(0.15, 0.6) * RATE), len(sound) - start)) / RATE
        pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
        note = sum(np.sin(2 * np.pi * pitch * k * times) / k for k in range(1, 6))
        sound[start : start + len(times)] += note * np.exp(-3 * times)
        start += len(times)
    beat = rng.standard_normal(len(sound)) * np.exp(
        -8 * (np.arange(len(sound)) / RATE % rng.uniform(0.3, 0.6))
    )
    return (0.1 * sound + 0.05 * beat).astype(np.float32)


def _drums() -> np.ndarray:
    """A drum machine: one bar of half a second, again and again."""
    rng = np.random.default_rng(0)
    decay = np.exp(-np.arange(RATE // 4) / 1_000)
    bar = np.concatenate(
        [rng.standard_normal(RATE // 4) * decay, 0.5 * rng.standard_normal(RATE // 4) * decay**3]
    )
    return np.tile(0.2 * bar, int(2 * SECONDS))


def _pairs(sounds: list[np.ndarray]) -> list[tuple[int, int]]:
    return near_copies([decibels_from_audio(s.astype(np.float32), SPEC) for s in sounds], FRAME_S)


def _coded(sound: np.ndarray, path: Path, bits: float | None = None) -> np.ndarray:
    """The sound after a lossy codec; ``bits`` is libsndfile's compression level, 1 the smallest file."""
    if bits is None:
        write_audio(path, sound.astype(np.float32), RATE)
    else:
        soundfile.write(path, sound, RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=bits)
    samples, rate = soundfile.read(path, dtype="float32")
    return samples if rate == RATE else soxr.resample(samples, rate, RATE)


COPIES = {
    "MP3": lambda sound, folder: _coded(sound, folder / "x.mp3"),
    "a small MP3": lambda sound, folder: _coded(sound, folder / "x.mp3", 0.95),
    "Opus": lambda sound, folder: _coded(sound, folder / "x.opus"),
    "10 dB less": lambda sound, folder: sound * 10**-0.5,
    "begun later": lambda sound, folder: sound[int(3.37 * RATE) :],
    "begun later, less, MP3": lambda sound, folder: _coded(0.3 * sound[int(2.21 * RATE) :], folder / "x.mp3"),
    "an excerpt": lambda sound, folder: sound[4 * RATE : 8 * RATE],
}


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_found_among_others(change: str, tmp_path: Path):
    originals = [_melody(seed) for seed in range(8)]
    copies = [COPIES[change](sound, tmp_path) for sound in originals[:3]]
    assert _pairs([*originals, *copies]) == [(0, 8), (1, 9), (2, 10)]


def test_excerpts_that_overlap_are_found():
    song = _melody(0, 30)
    parts = [song[: 16 * RATE], song[10 * RATE : 26 * RATE], _melody(1, 16)]
    assert _pairs(parts) == [(0, 1)]


def _pitches(lowest: float) -> np.ndarray:
    return np.geomspace(lowest, 3_000, 10)


def _tone(pitch: float) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * pitch * _TIMES)


def _struck(pitch: float) -> np.ndarray:
    hiss = np.random.default_rng(int(pitch)).standard_normal(len(_TIMES))
    return _tone(pitch) * np.exp(-4 * (_TIMES % 0.5)) + 1e-3 * hiss


def _white(seed: int) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).standard_normal(len(_TIMES))


ALIKE = {
    "melodies": lambda: [_melody(seed) for seed in range(10)],
    "tones": lambda: [_tone(pitch) for pitch in _pitches(80)],
    "struck tones": lambda: [_struck(pitch) for pitch in _pitches(80)],
    "noise": lambda: [noise(SECONDS, RATE, seed) for seed in range(10)],
    "white noise": lambda: [_white(seed) for seed in range(10)],
    "silence": lambda: [1e-4 * _white(seed) for seed in range(5)] + [np.zeros(len(_TIMES))] * 2,
    "one drum machine under melodies": lambda: [_drums() + 2 * _melody(seed) for seed in range(10)],
    "one drum machine under tones": lambda: [_drums() + _tone(pitch) for pitch in _pitches(200)],
    "too short to tell": lambda: [_melody(0)[: RATE // 4], _melody(0)[: RATE // 4] * 0.5, np.zeros(100)],
}


@pytest.mark.parametrize("kind", ALIKE)
def test_what_sounds_alike_is_no_copy(kind: str):
    assert _pairs(ALIKE[kind]()) == []


def test_nothing_to_compare():
    assert near_copies([], FRAME_S) == []
    assert _pairs([_melody(0)]) == []


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1_000), st.floats(-20, 6), st.floats(0, 6))
def test_level_and_beginning_do_not_matter(seed: int, level_db: float, skip_s: float):
    sound = _melody(seed)
    copy = (10 ** (level_db / 20) * sound)[int(skip_s * RATE) :]
    assert _pairs([sound, _melody(seed + 1), copy]) == [(0, 2)]


def test_specs_with_few_mels():
    rng = np.random.default_rng(0)
    for mels in (1, 2, 8, 32):
        clips = [rng.normal(0, 3, (mels, 300)).cumsum(axis=1).astype(np.float32) for _ in range(3)]
        pairs = near_copies([*clips, clips[1] - 3], 0.032)
        assert set(pairs) <= {(1, 3)}
        assert mels < 8 or pairs == [(1, 3)]
