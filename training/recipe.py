"""How to train: our best recipe, and what each of the two papers did."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..engine.errors import MerError, SpecError, UsageError
from ..engine.spec import AudioSpec
from ..engine.spectrogram.presets import PRESETS
from .networks.registry import outside_backbone
from .ranges import check_ranges

SplitKind = Literal["grouped", "random", "given"]
"""By group, at random, or as the data itself says (folders or a column of train, validation and test)."""

_FLAWS = ("highpass", "lowpass", "noise", "codec")
FROZEN_FIELDS = frozenset((*_FLAWS, "guard", "balance", "eval_windows", "train_windows"))
"""The recipe's fields that a frozen network's head, which is logistic regression, has a use for."""


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of one training. The defaults are the ``best`` protocol's.

    At 0 these are off: ``label_smoothing``, ``mixup``, ``gain_db``, ``stretch``, ``pitch_mels``,
    ``filter_db``, ``highpass``, ``lowpass``, ``noise``, ``codec``, ``tag_weight``, ``ema``, ``patience``,
    and of teachers ``distill``, ``embedding_weight``, ``unlabelled_share``, ``pretrain``.

    Attributes:
        gain_db: the level of a window changes by up to this many dB, uniformly.
        stretch: the tempo changes by up to this share.
        pitch_mels: the key shifts by up to this many mel bands.
        filter_db: the tone changes by a curve through four random points of up to this many dB
            (FilterAugment, Nam et al., 2022).
        highpass: share of windows that lose what lies below 60 to 500 Hz.
        lowpass: share of windows that lose what lies above 2.5 to 8 kHz.
        noise: share of windows with stationary noise, 10 to 51 dB below the music.
        codec: share of windows with a codec's errors, and of a frozen network's copies that went through one.
        guard: how much a frozen network's head is kept from what these four change in the embedding.
        warmup: share of all steps in which the cosine schedule raises the learning rate; after it the
            rate falls to 0.
        tag_weight: weight of the clips' tags, learnt beside the labels; the labels weigh 1.
        distill: weight of the soft labels, the labels have the rest. Both are summed over a batch and divided
            by its clips with a label, so soft labels weigh more where there are clips without one; a label
            that mixup blends with such a clip counts by the square of its share.
        embedding_weight: weight of the teachers' embeddings, learnt beside the labels.
        unlabelled_share: clips without a label in a batch, for each clip with one.
        pretrain: steps in which it first learns from such clips alone; see ``pretrained_weights``.
        random_crops: train on random windows of each clip; otherwise on its beginning.
        balance: weight each label inversely to its frequency.
        ema: decay per step of the averaged weights (exponential moving average).
        layers: what is trained, all layers or the classifier alone.
        patience: stop after this many epochs without a better validation.
        keep: the epoch that gives the network: the best by validation, or the last. Without
            validation it is the last.
        eval_windows: evenly spread windows of each clip that validation and test use.
        train_windows: windows of a clip that a frozen network's head learns from; 0 is as many as
            ``eval_windows``.

    Raises:
        UsageError: a number that no one can train with; the message names the field and its range.
    """

    epochs: int = 40
    batch_size: int = 16
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.1
    loss: Literal["ce", "bce"] = "ce"
    label_smoothing: float = 0.1
    tag_weight: float = 0.0
    distill: float = 0.0
    embedding_weight: float = 0.0
    unlabelled_share: float = 0.0
    pretrain: int = 0
    mixup: float = 0.3
    gain_db: float = 3.0
    stretch: float = 0.1
    pitch_mels: int = 2
    filter_db: float = 4.0
    highpass: float = 0.0
    lowpass: float = 0.0
    noise: float = 0.0
    codec: float = 0.0
    guard: float = 3.0
    random_crops: bool = True
    balance: bool = True
    ema: float = 0.995
    layers: Literal["all", "head"] = "all"
    patience: int = 30
    keep: Literal["best", "last"] = "best"
    eval_windows: int = 3
    train_windows: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def flaws(self) -> tuple[float, ...]:
        """``highpass``, ``lowpass``, ``noise`` and ``codec``."""
        return tuple(getattr(self, name) for name in _FLAWS)


@dataclass(frozen=True)
class Protocol:
    """Everything that defines a training except the data and the network.

    Attributes:
        test_share: share of the clips that is held out, without cross-validation.
        validation_share: share of the training part that chooses the epoch and the temperature. At 0
            nothing is chosen, and the curves show the test part, as in both papers.
        weights: "imagenet", "none", or a file (see ``build_backbone``).
        sub_clips: above 0 every clip is cut into that many windows, which are split, trained on and
            tested as if they were clips.
        extra_head: keep the network's 1,000 outputs and put the labels' layer after them.
        ours: what the paper leaves open and this project chose.

    Raises:
        UsageError: a share or a seed out of its range.
    """

    name: str
    recipe: Recipe
    audio: AudioSpec
    split: SplitKind
    test_share: float
    validation_share: float
    split_seed: int
    weights: str = "none"
    sub_clips: int = 0
    extra_head: bool = False
    ours: str = ""

    def __post_init__(self) -> None:
        check_ranges(self)


_PLAIN = Recipe(
    batch_size=64,
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    schedule="constant",
    label_smoothing=0.0,
    mixup=0.0,
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
    "audiocnn": {"learning_rate": 2e-3, "epochs": 20, "stretch": 0.0, "pitch_mels": 0, "mixup": 0.0,
                 "label_smoothing": 0.0, "tag_weight": 1.0},
    "musicnn": {"learning_rate": 3e-4},
    "audioset": {"learning_rate": 3e-4},
}  # fmt: skip
"""Where ``best`` differs for a network. Networks without BatchNorm need a lower learning rate; a small
one learns faster at a higher rate. ``audiocnn`` has no jitter of tempo and key and no mixup: they distort
its cepstral statistics. Its gain from tags is within chance (docs/RESULTS.md)."""

TAUGHT: Mapping[str, Any] = {"distill": 0.6, "embedding_weight": 0.5, "unlabelled_share": 1.0}
"""What a recipe takes from teachers, where there are some and nothing else was asked for."""

AUDIO_OF_A_NETWORK: Mapping[str, tuple[str, ...]] = {
    "musicnn": ("musicnn",),
    "audioset": ("audioset", "audioset-relative", "audioset-short", "audioset-16k"),
}
"""The presets that a network can hear, in every protocol, since it is built for them: the first, if no other
is asked for. Only its windows may be of another length."""

_OF_WINDOWS = ("window_samples", "frames", "short_audio")


def protocol_for(
    protocol: Protocol, model: str, chosen: Collection[str] = (), taught: bool = False
) -> Protocol:
    """The protocol with a network's own recipe fields, except those that the user has ``chosen``.

    The papers' recipes keep all but what teachers add. One of ``AUDIO_OF_A_NETWORK`` hears its own AudioSpec.

    Raises:
        UsageError: the user has chosen another AudioSpec than such a network's.
        MerError: another package's network cannot be loaded, or brings a recipe that cannot be.
    """
    protocol = dataclasses.replace(protocol, audio=_audio_for(protocol, model, chosen))
    outside = outside_backbone(model)
    own = outside.recipe if outside else OF_A_NETWORK.get(model, {})
    own = own if protocol.name == "best" else {}
    own = {name: value for name, value in {**own, **(TAUGHT if taught else {})}.items() if name not in chosen}
    try:
        return dataclasses.replace(protocol, recipe=dataclasses.replace(protocol.recipe, **own))
    except (TypeError, UsageError) as error:  # of another package's
        raise MerError(f"the backbone {model} brings a recipe that cannot be: {error}") from None


def _audio_for(protocol: Protocol, model: str, chosen: Collection[str]) -> AudioSpec:
    outside = outside_backbone(model)
    presets = AUDIO_OF_A_NETWORK.get(model, ())
    own = [outside.audio] if outside else [PRESETS[name] for name in presets]
    if not own or own[0] is None:
        return protocol.audio
    if not audio_chosen(protocol, chosen):
        return own[0]
    if not any(differs_in_windows_only(protocol.audio, audio) for audio in own if audio):
        hears = "its own AudioSpec" if outside else f"the preset {' or '.join(presets)}"
        raise UsageError(f"{model} hears {hears} only; of it audio.{', audio.'.join(_OF_WINDOWS)} may be set")
    return protocol.audio


def audio_chosen(protocol: Protocol, chosen: Collection[str]) -> bool:
    """Whether an AudioSpec was asked for: by ``chosen`` fields, or as another than the protocol's own."""
    return protocol.audio != PROTOCOLS[protocol.name].audio or any(n.startswith("audio.") for n in chosen)


def differs_in_windows_only(asked: AudioSpec, own: AudioSpec) -> bool:
    """Whether two specs are the same but for how long a window is, and what fills up a short file."""
    fixed = [field.name for field in dataclasses.fields(own) if field.name not in _OF_WINDOWS]
    return all(getattr(asked, name) == getattr(own, name) for name in fixed)


def with_overrides(protocol: Protocol, texts: Sequence[str]) -> Protocol:
    """The protocol with fields replaced by texts: ``name=value`` of its recipe, or ``audio.name=value``.

    Raises:
        UsageError: an unknown field, a value of another type or out of its range, or fields of the
            AudioSpec that contradict each other.
    """
    recipe: dict[str, Any] = {}
    audio: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text}: give NAME=VALUE")
        if name.startswith("audio."):
            audio[name[6:]] = _value(protocol.audio, name[6:], value)
        else:
            recipe[name] = _value(protocol.recipe, name, value)
    try:
        spec = dataclasses.replace(protocol.audio, **audio)
    except SpecError as error:
        raise UsageError(str(error)) from None
    return dataclasses.replace(protocol, recipe=dataclasses.replace(protocol.recipe, **recipe), audio=spec)


def _value(owner: Any, name: str, text: str) -> Any:
    known = {field.name: field for field in dataclasses.fields(owner)}
    if name not in known:
        raise UsageError(f"{name}: no such field; known: {', '.join(known)}")
    kind = str(known[name].type)
    try:
        if kind == "bool":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind in ("int", "float"):
            return {"int": int, "float": float}[kind](text)
        if kind == "float | None":
            return None if text.lower() == "none" else float(text)
    except (ValueError, KeyError):
        raise UsageError(f"{name}={text}: not a {kind}") from None
    choices = [part.strip("\"' ") for part in kind.removeprefix("Literal[").rstrip("]").split(",")]
    if kind.startswith("Literal[") and text not in choices:
        raise UsageError(f"{name}={text}: one of {', '.join(choices)}")
    if kind.startswith("tuple"):
        raise UsageError(f"{name}: is measured, not set")
    return text
