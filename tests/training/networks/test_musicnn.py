"""MusiCNN equals its authors' definition, written out here in NumPy, on weights of TensorFlow's layout."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.networks import musicnn_weights
from merkit.training.networks.backbones import build_backbone
from merkit.training.networks.musicnn import MusiCNN
from numpy.lib.stride_tricks import sliding_window_view
from tensorflow_files import random_musicnn, write_musicnn_wheel


def _reference(tensors: dict[str, np.ndarray], power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 200 features and the logits of a power spectrogram ``[frames, mels]``: musicnn's models.py."""
    w = {name: values.astype(np.float64) for name, values in tensors.items()}

    def norm(x: np.ndarray, i: int) -> np.ndarray:
        n = f"batch_normalization_{i}" if i else "batch_normalization"
        centred = (x - w[f"{n}/moving_mean"]) / np.sqrt(w[f"{n}/moving_variance"] + 0.001)
        return centred * w[f"{n}/gamma"] + w[f"{n}/beta"]

    def conv(x: np.ndarray, i: int) -> np.ndarray:
        """``[frames, width]`` to ``[frames, width', filters]``; "same" in time, "valid" across."""
        n = f"conv2d_{i}" if i else "conv2d"
        kernel = w[f"{n}/kernel"][:, :, 0]
        before = (len(kernel) - 1) // 2
        padded = np.pad(x, ((before, len(kernel) - 1 - before), (0, 0)))
        patches = sliding_window_view(padded, kernel.shape[:2])
        return np.maximum(np.tensordot(patches, kernel, ([2, 3], [0, 1])) + w[f"{n}/bias"], 0)

    x = norm(np.log10(10_000 * power + 1)[..., None], 0)[..., 0]
    front = np.concatenate([norm(conv(x, i), i + 1).max(axis=1) for i in range(5)], axis=1)
    first = norm(conv(front, 5)[:, 0], 6)
    second = norm(conv(first, 6)[:, 0], 7) + first
    third = norm(conv(second, 7)[:, 0], 8) + second
    series = np.concatenate([front, first, second, third], axis=1)
    pooled = np.stack([series.max(axis=0), series.mean(axis=0)], axis=1).ravel()
    hidden = np.maximum(norm(pooled, 9) @ w["dense/kernel"] + w["dense/bias"], 0)
    features = norm(hidden, 10)
    return features, features @ w["dense_1/kernel"] + w["dense_1/bias"]


@pytest.mark.parametrize("frames", [187, 40])
def test_published_weights_give_the_published_network(
    frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tensors = random_musicnn()
    wheel = write_musicnn_wheel(tmp_path / "musicnn.whl", (tensors, random_musicnn(1)))
    monkeypatch.setattr(musicnn_weights, "_WHEEL_SHA256", hashlib.sha256(wheel).hexdigest())
    monkeypatch.setenv("MER_HOME", str(tmp_path / "home"))
    network = cast(MusiCNN, build_backbone("musicnn", 50, str(tmp_path / "musicnn.whl")).eval())

    decibels = np.random.default_rng(2).uniform(-110, 35, (96, frames))  # from silence to the loudest music
    audio = PRESETS["musicnn"]
    image = torch.from_numpy((decibels - audio.mean[0]) / audio.std[0])[None, None].float()
    features, logits = _reference(tensors, 10 ** (decibels.T / 10))
    with torch.inference_mode():
        np.testing.assert_allclose(network.features(image)[0], features, atol=2e-4)
        np.testing.assert_allclose(network(image)[0], logits, atol=2e-4)


def test_the_loudest_sound_stays_within_fp16():
    """Its power times 10,000 would not: 0 dB of it are a hundred times FP16's largest number."""
    network = MusiCNN(2).eval()
    loud = torch.tensor([-110.0, 0, 60]).reshape(1, 1, 3, 1)
    image = (loud - network.mean) / network.std
    with torch.inference_mode():
        full, half = network._compressed(image), network.half()._compressed(image.half())
    torch.testing.assert_close(full.flatten(), torch.tensor([4.3e-8, 4.000043, 10.0]), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(half.float(), full, atol=0.02, rtol=0)


def test_it_learns_and_its_front_does_the_same_in_training():
    torch.manual_seed(0)
    network, images = MusiCNN(3), torch.randn(2, 1, 96, 40)
    network(images).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    part = network.timbral[0]
    with torch.inference_mode():
        torch.testing.assert_close(part.train()(images), part.eval()(images))
