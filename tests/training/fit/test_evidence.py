"""Fitting the second output: thresholds of held-out clips, and music told from what is none."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import pytest
import torch
from merkit.engine.labelling.song_label import verdict_from_evidence
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.log_mel import log_mel_from_decibels
from merkit.training.data.non_music import NON_MUSIC
from merkit.training.fit import evidence as module
from merkit.training.fit.evidence import (
    FittedEvidence,
    Sounds,
    fit_evidence,
    least_confidence,
    sounds_that_are_generated,
)

AUDIO = AudioSpec(
    window_samples=16_000, frames=32, hop_length=512, n_mels=32, amin=1e-6, mean=(-30.0,), std=(15.0,)
)


def chords(count: int, seed: int, windows: int = 2) -> Sounds:
    """Chords that change every quarter of a window, over a falling spectrum: "music" enough for a test."""
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        notes = rng.integers(2, 28, (windows, 4, 3))
        clip = np.tile(np.linspace(-25, -50, 32)[None, :, None], (windows, 1, 32)) + rng.normal(
            0, 2, (windows, 32, 32)
        )
        for window, of_window in zip(clip, notes, strict=True):
            for quarter, chord in enumerate(of_window):
                window[chord, 8 * quarter : 8 * quarter + 8] += np.linspace(20, 8, 8)
        clips.append(np.maximum(clip, -60).astype(np.float32))
    return Sounds(clips, [f"artist {i // 2}" for i in range(count)])


def noises(count: int, seed: int) -> Sounds:
    rng = np.random.default_rng(seed)
    kinds = ("steady", "clicks", "hum")
    windows = []
    for i in range(count):
        window = rng.uniform(-50, -20) + rng.normal(0, 3, (1, 32, 32))
        window[..., rng.integers(32, size=6)] += 25 * (i % 3 == 1)
        window[:, rng.integers(32, size=2)] += 25 * (i % 3 == 2)
        windows.append(np.clip(window, -60, 0).astype(np.float32))
    return Sounds(windows, [kinds[i % 3] for i in range(count)])


@pytest.fixture(scope="module")
def fitted() -> FittedEvidence:
    return fit_evidence(chords(60, 0), noises(60, 1), AUDIO, 0.35)


def evidence(fitted: FittedEvidence, sounds: Sounds) -> list[np.ndarray]:
    with torch.inference_mode():
        return [
            fitted.network(
                torch.from_numpy(np.stack([log_mel_from_decibels(w, AUDIO) for w in windows]))[:, None]
            ).numpy()
            for windows in sounds.windows
        ]


def test_new_sounds_get_the_right_verdict(fitted: FittedEvidence) -> None:
    verdicts = {
        name: [verdict_from_evidence(each, 0.9, fitted.spec)[0] for each in evidence(fitted, sounds)]
        for name, sounds in (("music", chords(40, 7)), ("none", noises(30, 8)))
    }
    assert verdicts["music"].count("not_music") <= 1
    assert verdicts["music"].count("sure") >= 35
    assert verdicts["none"].count("not_music") >= 28


@pytest.mark.parametrize("last", [12, 16, 20, 24])
def test_music_that_ends_abruptly_stays_music(fitted: FittedEvidence, last: int) -> None:
    """As a film song of 1955 does, or a file of a lower rate."""
    music = chords(60, 7)
    for windows in music.windows:
        windows[:, last:] = -60
    verdicts = [verdict_from_evidence(each, 0.9, fitted.spec)[0] for each in evidence(fitted, music)]
    assert verdicts.count("not_music") <= 2


def test_novelty_is_the_rank_among_training_clips(fitted: FittedEvidence) -> None:
    novelties = [verdict_from_evidence(each, 0.9, fitted.spec)[1] for each in evidence(fitted, chords(60, 9))]
    assert 0.3 < np.mean(np.array(novelties, float)) < 0.7  # uniform, for more of the same
    strange = [verdict_from_evidence(each, 0.9, fitted.spec)[1] for each in evidence(fitted, noises(30, 8))]
    assert np.mean(np.array(strange, float)) > 0.95


def test_it_says_how_it_did_on_what_was_held_out(fitted: FittedEvidence) -> None:
    assert set(fitted.caught) == {"steady", "clicks", "hum"}
    assert fitted.kept >= 0.98  # the threshold is that of these clips
    assert fitted.kept_degraded >= 0.98
    spec = fitted.spec
    assert len(spec.distances) == 101
    assert spec.distances[95] < spec.far <= spec.distances[-1]
    assert spec.confidence == 0.35


def test_the_same_again(fitted: FittedEvidence) -> None:
    again = fit_evidence(chords(60, 0), noises(60, 1), AUDIO, 0.35)
    assert dataclasses.replace(again, network=fitted.network) == fitted
    for name, tensor in again.network.state_dict().items():
        assert torch.equal(tensor, fitted.network.state_dict()[name])


def test_copies_are_in_memory_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All copies of 3,000 clips, as some presets hear them, would be 24 GB."""
    made: list[weakref.ref[np.ndarray]] = []
    at_once: list[int] = []
    degraded = module._degraded

    def counted(*arguments):
        copy = degraded(*arguments)
        made.append(weakref.ref(copy))
        at_once.append(sum(one() is not None for one in made))
        return copy

    monkeypatch.setattr(module, "_degraded", counted)
    fit_evidence(chords(60, 0), noises(60, 1), AUDIO, 0.35)
    assert len(made) == 360
    assert max(at_once) <= 64


def test_generated_sounds_are_as_many_of_each_kind_as_the_clips_need() -> None:
    sounds = sounds_that_are_generated(AUDIO, clips=5)
    assert len(sounds.windows) == 2 * len(NON_MUSIC)
    assert {*sounds.groups} == {*NON_MUSIC}
    assert {window.shape for window in sounds.windows} == {(1, 32, 32)}
    assert all(window.min() >= -60 for window in sounds.windows)


def test_the_least_sure_one_in_eighty() -> None:
    confidences = np.linspace(0, 1, 1_001, dtype=np.float32)
    assert least_confidence(confidences) == pytest.approx(0.0125, abs=1e-4)
