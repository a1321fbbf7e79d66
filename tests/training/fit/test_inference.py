"""Each clip's logits are those of its windows, whatever batch they were computed in."""

from __future__ import annotations

import numpy as np
import torch
from merkit.engine.spec import AudioSpec
from merkit.training.fit import inference
from merkit.training.fit.inference import logits_from_network
from torch import nn

SPEC = AudioSpec(window_samples=16_000, frames=32, n_mels=8)


def test_logits_are_by_clip_in_order(monkeypatch):
    monkeypatch.setattr(inference, "_WINDOWS_AT_ONCE", 4)
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=(8, frames)).astype(np.float32) for frames in (96, 20, 70, 96, 40)]
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(8 * 32, 2), nn.Dropout(0.5))
    logits = logits_from_network(network, clips, np.array([3, 1, 0, 2]), SPEC, 3)
    assert [rows.shape for rows in logits] == [(3, 2), (1, 2), (3, 2), (3, 2)]  # a short clip has one window
    assert {rows.dtype for rows in logits} == {np.dtype(np.float32)}
    for position, rows in zip([3, 1, 0, 2], logits, strict=True):
        (alone,) = logits_from_network(network, clips, np.array([position]), SPEC, 3)
        np.testing.assert_allclose(rows, alone, rtol=1e-5, atol=1e-6)
    assert logits_from_network(network, clips, np.arange(0), SPEC, 3) == []
