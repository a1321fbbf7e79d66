"""Crops, jitter and mixup do what their names say, and nothing beyond."""

from __future__ import annotations

import numpy as np
import torch
from merkit.engine.spec import AudioSpec
from merkit.training.data.augment import crop, mixup, random_crop, spread_crops

SPEC = AudioSpec(window_samples=16_000, frames=32, n_mels=8)


def _clip(frames: int) -> np.ndarray:
    return np.tile(np.arange(frames, dtype=np.float32), (8, 1))


def test_short_clips_are_filled_as_the_spec_says():
    assert crop(_clip(20), SPEC, 0)[0].tolist() == [*range(20), *range(12)]
    padded = crop(_clip(20), AudioSpec(window_samples=16_000, frames=32, n_mels=8, short_audio="zeros"), 0)
    assert padded[0].tolist() == [*range(20), *[-100.0] * 12]


def test_spread_crops_are_the_middles_of_equal_parts():
    starts = [log_mel[0, 0] for log_mel in spread_crops(_clip(96), SPEC, 3)]
    assert starts == [0, 32, 64]
    assert len(spread_crops(_clip(20), SPEC, 3)) == 1


def test_random_crops_come_from_everywhere_and_no_further():
    rng = np.random.default_rng(0)
    starts = {random_crop(_clip(40), SPEC, rng, 0)[0, 0] for _ in range(200)}
    assert starts == set(range(9))
    levels = [random_crop(_clip(32), SPEC, rng, 6)[0, 0] for _ in range(200)]
    assert -6 <= min(levels) < -4
    assert 4 < max(levels) <= 6


def test_tempo_key_and_tone_vary_within_their_bounds():
    rng = np.random.default_rng(0)
    slopes = [np.diff(random_crop(_clip(96), SPEC, rng, 0, stretch=0.25)[0]).mean() for _ in range(200)]
    assert 0.74 <= min(slopes) < 0.85
    assert 1.15 < max(slopes) <= 1.27
    rows = np.tile(np.arange(8, dtype=np.float32)[:, None], (1, 40))
    shifts = {float(random_crop(rows, SPEC, rng, 0, pitch_mels=2)[4, 0]) for _ in range(100)}
    assert shifts == {2, 3, 4, 5, 6}
    tones = np.stack([random_crop(0 * rows, SPEC, rng, 0, filter_db=6)[:, 0] for _ in range(200)])
    assert np.abs(tones).max() <= 6
    assert tones.std(axis=1).min() > 0  # a curve over the mels, not one level


def test_mixup_blends_log_mels_and_targets_alike():
    log_mels = torch.eye(4)[:, None, None, :]
    mixed, targets = mixup(log_mels, torch.eye(4), 0.4, np.random.default_rng(0))
    assert torch.equal(mixed[:, 0, 0], targets)
    assert torch.allclose(targets.sum(1), torch.ones(4))
    assert (targets.argmax(1) == torch.arange(4)).all()
    assert mixup(log_mels, torch.eye(4), 0, np.random.default_rng(0))[0] is log_mels
