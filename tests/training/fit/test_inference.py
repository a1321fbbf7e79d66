"""Each clip's logits are those of its windows, whatever batch they were computed in."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from merkit.engine.spec import AudioSpec
from merkit.training.fit import inference
from merkit.training.fit.inference import logits_from_network
from torch import nn

SPEC = AudioSpec(window_samples=16_000, frames=32, n_mels=8, mean=(0.5,), std=(2.0,))


def test_logits_are_by_clip_in_order(monkeypatch):
    monkeypatch.setattr(inference, "_WINDOWS_AT_ONCE", 4)
    rng = np.random.default_rng(0)
    windows = [rng.normal(size=(count, 8, 32)).astype(np.float32) for count in (3, 1, 3, 2, 3)]
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(8 * 32, 2), nn.Dropout(0.5))
    logits = logits_from_network(network, windows, np.array([3, 1, 0, 2]), SPEC)
    assert [rows.shape for rows in logits] == [(2, 2), (1, 2), (3, 2), (3, 2)]
    assert {rows.dtype for rows in logits} == {np.dtype(np.float32)}
    for position, rows in zip([3, 1, 0, 2], logits, strict=True):
        standardised = torch.from_numpy((windows[position] - 0.5) / 2)[:, None]
        with torch.inference_mode():
            np.testing.assert_allclose(rows, network(standardised).numpy(), rtol=1e-5, atol=1e-6)
    assert logits_from_network(network, windows, np.arange(0), SPEC) == []
    relative = dataclasses.replace(SPEC, reference="max", mean=(0.0,), std=(1.0,))
    (rows,) = logits_from_network(network, windows, np.array([0]), relative)
    loudest = windows[0] - windows[0].max(axis=(1, 2), keepdims=True)  # of each window, not of the clip
    with torch.inference_mode():
        expected = network(torch.from_numpy(loudest)[:, None]).numpy()
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)
