"""What a session's networks cannot do is told before any clip is read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from merkit.engine.data.labelled_audio import LabelledAudio
from merkit.engine.errors import UsageError
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.networks.checkpoint import save_checkpoint
from merkit.training.options import chosen_fields
from merkit.training.recipe import PROTOCOLS, with_overrides
from merkit.training.runs import plan_check
from merkit.training.runs.observer import NoObserver
from merkit.training.runs.plan_check import check_plan
from merkit.training.runs.settings import Session
from small_training import Says


def _check(model: str, *sets: str) -> None:
    protocol = with_overrides(PROTOCOLS["best"], [*sets])
    check_plan(Session(LabelledAudio((), (), "clip"), "x", (model,), protocol, Path("out")), NoObserver())


@pytest.mark.parametrize(
    ("model", "field", "shape"),
    [
        ("audiocnn", "audio.n_mels=1", r"1 mels and \d+ frames"),
        ("audiocnn", "audio.frames=10", "128 mels and 10 frames"),
        ("squeezenet", "audio.n_mels=16", r"16 mels and \d+ frames"),
    ],
)
def test_images_that_a_network_cannot_take(model: str, field: str, shape: str):
    with pytest.raises(UsageError, match=f"^{model} cannot take images of {shape}, most likely too few"):
        _check(model, field)


def test_small_images_that_a_network_can_take():
    _check("audiocnn", "audio.n_mels=32", "audio.frames=32")
    _check("resnet18", "audio.frames=10")


def test_a_network_that_needs_values_is_not_refused(monkeypatch: pytest.MonkeyPatch):
    class Values(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :2] * float(images.mean().item())

    monkeypatch.setattr(plan_check, "build_backbone", lambda name, classes: Values())
    with pytest.raises(RuntimeError):
        Values()(torch.zeros(1, 1, 8, 8, device="meta"))
    _check("audiocnn")


def _session(folder: Path, heard: AudioSpec = PRESETS["emotion4q"], **fields: Any) -> Session:
    """Begins with a network of the labels a and b, x.safetensors."""
    weights = folder / "x.safetensors"
    save_checkpoint(AudioCNN(2), ModelSpec("audiocnn", ("a", "b"), heard), weights)
    protocol = dataclasses.replace(PROTOCOLS["best"], weights=str(weights))
    data = LabelledAudio((), fields.pop("labels", ("a", "b")), "clip")
    return Session(data, "x", ("audiocnn",), protocol, folder, **fields)


@pytest.mark.parametrize(
    ("labels", "said"), [(("b", "a"), []), (("a", "c"), ["x.safetensors has other labels (a, b): "])]
)
def test_a_new_head_is_said(tmp_path: Path, labels: tuple[str, ...], said: list[str]):
    check_plan(_session(tmp_path, labels=labels), says := Says())
    assert says.lines == [f"{line}the network's head is new" for line in said]


@pytest.mark.parametrize(("chosen", "mels"), [((), 96), (("audio.n_mels",), 128)])
def test_an_audiospec_that_is_named_is_heard_also_where_it_is_the_protocols(
    tmp_path: Path, chosen: tuple[str, ...], mels: int
):
    heard = dataclasses.replace(PRESETS["emotion4q"], n_mels=96)
    session = _session(tmp_path, heard, chosen=frozenset(chosen))
    assert session.protocol_of("audiocnn").audio.n_mels == mels
    check_plan(session, says := Says())
    assert ["n_mels 96 then, 128 now" in line for line in says.lines] == [True] * len(chosen)


def test_what_a_frozen_network_has_no_use_for_is_said(tmp_path: Path):
    chosen = chosen_fields({"sets": ("guard=2",), "seed": 7, "layers": "head", "validation": 0.3})
    check_plan(_session(tmp_path, plan="frozen", chosen=chosen), says := Says())
    assert says.lines == [
        "a frozen network has a head by logistic regression: layers, seed, validation_share not used"
    ]
