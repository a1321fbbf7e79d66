"""How to train: the best we know, and what each of the two papers did."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..engine.errors import UsageError
from ..engine.spec import PRESETS, AudioSpec


@dataclass(frozen=True)
class Recipe:
    """One training's numbers. The defaults are the ``best`` protocol's.

    ``crops`` are drawn from each clip in an epoch. ``warmup`` is a share of all steps, then the
    schedule takes the rate to 0. ``gain_db``, ``stretch``, ``pitch_mels``, ``filter_db``, ``mixup``,
    ``mask_mels``, ``mask_frames``, ``label_smoothing``, ``tag_weight`` (how much the clips' tags count,
    learnt beside the labels), ``ema`` (a step's decay), ``balance`` (rare labels weigh more) and
    ``patience`` (epochs without a better validation) are off at 0. ``keep`` says which epoch's network
    is the result; without validation it is the last.
    """

    epochs: int = 40
    batch_size: int = 16
    crops: int = 1
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    schedule: Literal["cosine", "onecycle", "constant"] = "cosine"
    warmup: float = 0.1
    loss: Literal["ce", "bce"] = "ce"
    label_smoothing: float = 0.1
    tag_weight: float = 0.0
    mixup: float = 0.3
    mask_mels: int = 0
    mask_frames: int = 0
    gain_db: float = 3.0
    stretch: float = 0.1
    pitch_mels: int = 2
    filter_db: float = 4.0
    random_crops: bool = True
    balance: bool = True
    ema: float = 0.995
    layers: Literal["all", "head"] = "all"
    patience: int = 30
    keep: Literal["best", "last"] = "best"
    eval_windows: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Protocol:
    """Everything of a training but the data and the network.

    ``validation_share`` of the training part chooses the epoch and the temperature; at 0 there is
    none, nothing is chosen, and the curves are of the test set, as in both papers.
    ``sub_clips`` above 0 cuts every clip into that many windows, which are then split, trained on
    and tested as if they were clips. ``ours`` names what the paper leaves open.
    """

    name: str
    recipe: Recipe
    audio: AudioSpec
    split: Literal["grouped", "random"]
    test_share: float
    validation_share: float
    split_seed: int
    weights: str = "none"
    sub_clips: int = 0
    extra_head: bool = False
    ours: str = ""


_PLAIN = Recipe(
    batch_size=64,
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    schedule="constant",
    label_smoothing=0.0,
    mixup=0.0,
    mask_mels=0,
    mask_frames=0,
    gain_db=0.0,
    stretch=0.0,
    pitch_mels=0,
    filter_db=0.0,
    random_crops=False,
    balance=False,
    ema=0.0,
    patience=0,
    keep="last",
    eval_windows=1,
)

PROTOCOLS: Mapping[str, Protocol] = {
    "best": Protocol("best", Recipe(), PRESETS["emotion4q"], "grouped", 0.2, 0.2, 0),
    "hindi-2022": Protocol(
        "hindi-2022",
        dataclasses.replace(_PLAIN, epochs=5, loss="bce", layers="head", seed=42),
        PRESETS["mer500"],
        "random",
        0.2,
        0.0,
        42,
        weights="imagenet",
        ours="the learning rate (Adam's own 0.001), the clip's length (10 s), heads of as many outputs "
        "as there are labels, one mean and one deviation for all mels",
    ),
    "icm-2020": Protocol(
        "icm-2020",
        dataclasses.replace(_PLAIN, epochs=10, batch_size=32),
        PRESETS["jumusemodb"],
        "random",
        0.15,
        0.0,
        0,
        weights="imagenet",
        sub_clips=5,
        extra_head=True,
        ours="optimizer, learning rate, batch size, epochs, ImageNet weights, all layers trained, 128 mels, "
        "decibels, standardisation",
    ),
}


OF_A_NETWORK: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {"learning_rate": 3e-4},
    "vgg16": {"learning_rate": 1e-4},
    "squeezenet": {"learning_rate": 5e-4},
    "audiocnn": {
        "learning_rate": 2e-3,
        "epochs": 20,
        "stretch": 0.0,
        "pitch_mels": 0,
        "mixup": 0.0,
        "label_smoothing": 0.0,
        "tag_weight": 1.0,
    },
}
"""What ``best`` does otherwise for a network. Those without BatchNorm do not learn at the others'
rate, a small one bears more. Jitter of tempo and key, and mixup, blur what ``audiocnn``'s cepstral
statistics count; what tags give it is within chance (docs/RESULTS.md)."""


def protocol_for(protocol: Protocol, model: str, given: Collection[str] = ()) -> Protocol:
    """The protocol as it suits a network, but for the ``given`` fields; the papers' protocols as they are."""
    if protocol.name != "best":
        return protocol
    own = {name: value for name, value in OF_A_NETWORK.get(model, {}).items() if name not in given}
    return dataclasses.replace(protocol, recipe=dataclasses.replace(protocol.recipe, **own))


def with_overrides(protocol: Protocol, texts: Sequence[str]) -> Protocol:
    """A protocol with fields replaced by ``name=value`` texts: of its recipe, or ``audio.name=value``.

    Raises:
        UsageError: an unknown field, or a value of another type.
        SpecError: an AudioSpec whose fields contradict each other.
    """
    recipe: dict[str, Any] = {}
    audio: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: give NAME=VALUE")
        if name.startswith("audio."):
            audio[name[6:]] = _value(protocol.audio, name[6:], value)
        else:
            recipe[name] = _value(protocol.recipe, name, value)
    return dataclasses.replace(
        protocol,
        recipe=dataclasses.replace(protocol.recipe, **recipe),
        audio=dataclasses.replace(protocol.audio, **audio),
    )


def _value(owner: Any, name: str, text: str) -> Any:
    known = {field.name: field for field in dataclasses.fields(owner)}
    if name not in known:
        raise UsageError(f"--set {name}: no such field; known: {', '.join(known)}")
    kind = str(known[name].type)
    try:
        if kind == "bool":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind in ("int", "float"):
            return {"int": int, "float": float}[kind](text)
        if kind == "float | None":
            return None if text.lower() == "none" else float(text)
    except (ValueError, KeyError):
        raise UsageError(f"--set {name}={text}: not a {kind}") from None
    choices = [part.strip("\"' ") for part in kind.removeprefix("Literal[").rstrip("]").split(",")]
    if kind.startswith("Literal[") and text not in choices:
        raise UsageError(f"--set {name}={text}: one of {', '.join(choices)}")
    if kind.startswith("tuple"):
        raise UsageError(f"--set {name}: is measured, not set")
    return text
