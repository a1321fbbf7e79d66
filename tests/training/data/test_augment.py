"""Crops, jitter and mixup do what their names say, and nothing beyond."""

from __future__ import annotations

import numpy as np
import torch
from merkit.engine.spec import AudioSpec
from merkit.training.data.augment import crop, first_crop, mixup, random_crop, spread_crops
from merkit.training.recipe import Recipe

SPEC = AudioSpec(window_samples=16_000, frames=32, n_mels=8)


def _recipe(**fields: float) -> Recipe:
    """Nothing is changed but what the fields say."""
    plain = {"gain_db": 0.0, "stretch": 0.0, "pitch_mels": 0, "filter_db": 0.0}
    return Recipe(**{**plain, **fields})  # pyright: ignore[reportArgumentType]


def _clip(frames: int) -> np.ndarray:
    return np.tile(np.arange(frames, dtype=np.float32), (8, 1))


def test_short_clips_are_filled_as_the_spec_says():
    assert crop(_clip(20), SPEC, 0)[0].tolist() == [*range(20), *range(12)]
    padded = crop(_clip(20), AudioSpec(window_samples=16_000, frames=32, n_mels=8, short_audio="zeros"), 0)
    assert padded[0].tolist() == [*range(20), *[-100.0] * 12]


def test_spread_crops_are_the_middles_of_equal_parts():
    starts = [window[0, 0] for window in spread_crops(_clip(96), SPEC, 3)]
    assert starts == [0, 32, 64]
    assert len(spread_crops(_clip(20), SPEC, 3)) == 1


def test_random_crops_come_from_everywhere_and_no_further():
    rng = np.random.default_rng(0)
    starts = {random_crop(_clip(40), SPEC, rng, _recipe())[0, 0] for _ in range(200)}
    assert starts == set(range(9))
    levels = [random_crop(_clip(32), SPEC, rng, _recipe(gain_db=6))[0, 0] for _ in range(200)]
    assert -6 <= min(levels) < -4
    assert 4 < max(levels) <= 6


def test_tempo_key_and_tone_vary_within_their_bounds():
    rng = np.random.default_rng(0)
    recipe = _recipe(stretch=0.25)
    slopes = [np.diff(random_crop(_clip(96), SPEC, rng, recipe)[0]).mean() for _ in range(200)]
    assert 0.74 <= min(slopes) < 0.85
    assert 1.15 < max(slopes) <= 1.27
    rows = np.tile(np.arange(8, dtype=np.float32)[:, None], (1, 40))
    shifts = {float(random_crop(rows, SPEC, rng, _recipe(pitch_mels=2))[4, 0]) for _ in range(100)}
    assert shifts == {2, 3, 4, 5, 6}
    recipe = _recipe(filter_db=6)
    tones = np.stack([random_crop(0 * rows, SPEC, rng, recipe)[:, 0] for _ in range(200)])
    assert np.abs(tones).max() <= 6
    assert tones.std(axis=1).min() > 0  # a curve over the mels, not one level


def test_bad_recordings_are_as_frequent_as_asked():
    rng = np.random.default_rng(0)
    spec = AudioSpec(window_samples=16_000, frames=32, n_mels=64)
    flat = np.zeros((64, 32), np.float32)
    dull = [random_crop(flat, spec, rng, _recipe(lowpass=0.3)) for _ in range(300)]
    assert 0.2 < np.mean([crop[-1, 0] < -3 for crop in dull]) < 0.4
    assert all((crop[:30] == 0).all() for crop in dull)  # below 2.5 kHz nothing is lost
    noisy = [random_crop(flat, spec, rng, _recipe(noise=0.3)) for _ in range(300)]
    assert 0.2 < np.mean([crop.std() > 0 for crop in noisy]) < 0.4
    coded = [random_crop(flat, spec, rng, _recipe(codec=0.3)) for _ in range(300)]
    assert 0.2 < np.mean([crop.std() > 0 for crop in coded]) < 0.4
    # Noise is 15 dB below or less, and 9 dB more of it in the treble.
    assert max(crop.mean() for crop in noisy) < 1


def test_a_quiet_clip_made_louder_brings_no_floor_with_it():
    spec = AudioSpec(window_samples=16_000, frames=32, n_mels=8, amin=1e-6)
    rng = np.random.default_rng(0)
    quiet = np.full((8, 32), -90, np.float32)
    louder = [random_crop(quiet, spec, rng, _recipe(gain_db=40)).max() for _ in range(100)]
    assert -60 == min(louder) < max(louder) < -50
    assert (first_crop(quiet, spec) == -60).all()
    assert (spread_crops(quiet, spec, 2) == -60).all()


def test_mixup_blends_log_mels_and_targets_alike():
    log_mels = torch.eye(4)[:, None, None, :]
    mixed, targets = mixup(log_mels, torch.eye(4), 0.4, np.random.default_rng(0))
    assert torch.equal(mixed[:, 0, 0], targets)
    assert torch.allclose(targets.sum(1), torch.ones(4))
    assert (targets.argmax(1) == torch.arange(4)).all()
    assert mixup(log_mels, torch.eye(4), 0, np.random.default_rng(0))[0] is log_mels
