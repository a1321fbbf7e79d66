"""What a training begins with: trained layers, and a head that fits the labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from merkit.training.data.examples import Examples
from merkit.training.fit.batches import TrainingData
from merkit.training.fit.inference import logits_from_network
from merkit.training.networks.checkpoint import network_from_checkpoint
from merkit.training.runs import beginning
from merkit.training.runs.beginning import network_to_train
from small_training import Trained, fast_job
from torch import nn


@pytest.fixture
def weights(trained: Trained) -> Path:
    return trained.run.folder / "checkpoint.safetensors"


def _data(examples: Examples, weights: Path) -> TrainingData:
    _, spec = network_from_checkpoint(weights)
    every = np.arange(len(examples.clips))
    return TrainingData(examples.decibels, examples.windows, examples.targets, every, every[:0], spec.audio)


def _begin(
    examples: Examples, weights: Path, plan: str, labels: tuple[str, ...], outputs: int, source: str = ""
):
    job = fast_job()
    job = dataclasses.replace(
        job, protocol=dataclasses.replace(job.protocol, weights=source or str(weights)), plan=plan
    )
    clips = [
        dataclasses.replace(clip, label=labels[examples.labels.index(clip.label)]) for clip in examples.clips
    ]
    return network_to_train(job, _data(examples, weights), clips, labels, outputs)


def test_known_labels_keep_their_head_beside_tags(examples: Examples, weights: Path):
    network = _begin(examples, weights, "all", examples.labels, 5)
    before, _ = network_from_checkpoint(weights)
    for path in ("classifier.1", "statistics.classifier.4"):
        new, old = network.get_parameter(f"{path}.weight"), before.get_parameter(f"{path}.weight")
        assert new.shape[0] == 5
        assert torch.equal(new[:2], old)
    stem = "features.0.weight"
    assert torch.equal(network.get_parameter(stem), before.get_parameter(stem))


@pytest.mark.parametrize("outputs", [2, 5])
def test_labels_in_another_order_take_their_rows_of_the_head_along(
    examples: Examples, weights: Path, outputs: int
):
    network = _begin(examples, weights, "all", examples.labels[::-1], outputs)
    before, _ = network_from_checkpoint(weights)
    for path in ("classifier.1.weight", "classifier.1.bias", "statistics.classifier.4.weight"):
        assert torch.equal(network.get_parameter(path)[:2], before.get_parameter(path).flip(0))


@pytest.mark.parametrize("source", ["", "audiocnn"])
def test_what_a_norm_knows_of_all_batches_outlives_the_first_one(
    source: str, examples: Examples, weights: Path
):
    """Also where an .onnx does not say how many they were."""
    network = _begin(examples, weights, "all", examples.labels, 2, source).train()
    norm = network.get_submodule("statistics.scale")
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    network(torch.full((16, 1, 128, 157), 5.0))
    assert 0 < (norm.running_mean - before).abs().max() < 0.1
    assert norm.num_batches_tracked == 901


def test_norms_that_an_export_folded_learn_from_clips_of_all_labels(
    examples: Examples, weights: Path, monkeypatch: pytest.MonkeyPatch
):
    """Folders are read label by label."""
    heard: list[np.ndarray] = []
    log_mels = beginning._log_mels
    monkeypatch.setattr(beginning, "_NORM_CLIPS", 8)
    monkeypatch.setattr(beginning, "_log_mels", lambda data, c: heard.append(c) or log_mels(data, c))
    order = np.argsort(examples.targets, kind="stable")
    data = dataclasses.replace(_data(examples, weights), training=order)
    job = fast_job()
    protocol = dataclasses.replace(job.protocol, weights="audiocnn")
    network_to_train(dataclasses.replace(job, protocol=protocol), data, examples.clips, examples.labels, 2)
    assert len({*heard[0].tolist()}) == 8
    assert np.bincount(examples.targets[heard[0]]).tolist() == [4, 4]


def test_other_labels_get_a_head_that_knows_them(examples: Examples, weights: Path):
    network = _begin(examples, weights, "head", ("first", "second"), 2).eval()
    data = _data(examples, weights)
    logits = logits_from_network(network, data.windows, data.training, data.spec)
    right = np.mean([rows.mean(axis=0).argmax() for rows in logits] == examples.targets)
    assert right > 0.9
    assert all(parameter.requires_grad for parameter in network.parameters())
    random = _begin(examples, weights, "all", ("first", "second"), 2)
    assert not torch.allclose(
        random.get_parameter("classifier.1.weight"), network.get_parameter("classifier.1.weight")
    )
