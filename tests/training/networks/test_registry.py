"""A network that another package adds is trained, embedded and exported as ours are."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from merkit.engine.data.labelled_audio import LabelledAudio
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.training.networks import registry
from merkit.training.networks.backbones import build_backbone, check_weights, head_parameters, keep_outputs
from merkit.training.networks.checkpoint import network_from_checkpoint, save_checkpoint
from merkit.training.networks.embedding import Embedding
from merkit.training.networks.registry import Backbone
from merkit.training.recipe import PROTOCOLS, protocol_for
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.plan_check import check_plan
from merkit.training.runs.settings import Session
from torch import nn

AUDIO = AudioSpec(n_mels=16, frames=32, window_samples=16_000)


def build(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, outputs))


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands for an installed package's entry point."""
    theirs = Backbone(build, ("3",), AUDIO, {"learning_rate": 5e-4})
    made = SimpleNamespace(name="theirs", value="their.module:theirs", dist=None, load=lambda: theirs)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [made])
    registry.outside_backbone.cache_clear()
    yield made
    registry.outside_backbone.cache_clear()


def test_it_is_a_backbone_like_others(entry: Any, tmp_path: Path):
    images = torch.zeros(2, 1, 16, 32)
    network = build_backbone("theirs", 3)
    assert network(images).shape == (2, 3)
    assert Embedding(network, "theirs")(images).shape == (2, 5)
    assert [tuple(p.shape) for p in head_parameters(network, "theirs")] == [(3, 5), (3,)]
    assert keep_outputs(network, "theirs", 2)(images).shape == (2, 2)
    protocol = protocol_for(PROTOCOLS["best"], "theirs")
    assert (protocol.audio, protocol.recipe.learning_rate) == (AUDIO, 5e-4)
    save_checkpoint(network, ModelSpec("theirs", ("a", "b"), AUDIO), tmp_path / "theirs.safetensors")
    again, _ = network_from_checkpoint(tmp_path / "theirs.safetensors")
    assert torch.equal(again(images), network.eval()(images))


def test_it_begins_with_random_weights_alone(entry: Any):
    check_weights(["theirs"], "none")
    with pytest.raises(MerError, match="no published weights"):
        check_weights(["theirs"], "imagenet")


def test_a_package_that_fails_is_named(entry: Any):
    def broken() -> Any:
        raise ImportError("no module named theirs")

    entry.load = broken
    with pytest.raises(MerError, match=r"theirs of their.module:theirs cannot be loaded"):
        build_backbone("theirs", 2)
    entry.load = lambda: build  # a function, and no Backbone
    with pytest.raises(MerError, match="is no merkit Backbone"):
        build_backbone("theirs", 2)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"heads": "fc"}, r"has wrong attributes \(heads \(a tuple of paths\)\): see"),
        ({"heads": ()}, r"wrong attributes \(heads"),
        ({"audio": "audioset", "recipe": [("epochs", 1)]}, r"wrong attributes \(audio, recipe\): see"),
        ({"recipe": {"lr": 1e-3}}, "the backbone theirs brings a recipe that cannot be: .*'lr'"),
        ({"recipe": {"learning_rate": -1}}, "recipe that cannot be: learning_rate"),
        ({"recipe": {"learning_rate": "low"}}, "recipe that cannot be"),
    ],
)
def test_what_a_package_says_wrong_of_its_network(entry: Any, changed: dict[str, Any], said: str):
    theirs = dataclasses.replace(entry.load(), **changed)
    entry.load = lambda: theirs
    with pytest.raises(MerError, match=said):
        protocol_for(PROTOCOLS["best"], "theirs")


def test_a_package_whose_network_fails_is_named(entry: Any):
    def fails(outputs: int) -> nn.Module:
        raise KeyError("width")

    theirs = dataclasses.replace(entry.load(), build=fails)
    entry.load = lambda: theirs
    session = Session(LabelledAudio((), (), "clip"), "x", ("theirs",), PROTOCOLS["best"], Path("out"))
    with pytest.raises(UsageError, match=r"^theirs cannot take images of 16 mels and 32 frames: .* KeyError"):
        check_plan(session, NoObserver())
