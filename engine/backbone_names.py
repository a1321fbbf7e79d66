"""The canonical names of backbones, and the spellings that are accepted for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BACKBONES: Mapping[str, str] = {
    "alexnet": "AlexNet",
    "vgg16": "VGG16",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2",
    "mobilenetv3": "MobileNetV3-Small",
    "densenet121": "DenseNet-121",
    "efficientnet_b0": "EfficientNet-B0",
    "squeezenet": "SqueezeNet 1.0",
}
"""The papers' nine: canonical name, as in file names and specs, to the spelling of the papers."""

NETWORKS: Mapping[str, str] = {
    **BACKBONES,
    "audiocnn": "AudioCNN (ours)",
    "musicnn": "MusiCNN",
    "audioset": "AudioSet MobileNetV3",
}
"""All that can be trained, as ``BACKBONES``."""

_ALIASES: Mapping[str, str] = {
    "mobilenetv3small": "mobilenetv3",
    "squeezenet1": "squeezenet",
    "squeezenet10": "squeezenet",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "effnetb0": "efficientnet_b0",
}

_NEARNESS = 0.75

ENTRY_POINTS = "merkit.backbones"
"""The group of entry points through which other packages add networks."""


def outside_backbones() -> Mapping[str, EntryPoint]:
    """Networks of other packages, by name; nothing of theirs is imported. Our own names stay ours."""
    from importlib.metadata import entry_points  # it takes long, and no known name needs it

    entries = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    return {name: entry for name, entry in entries.items() if name not in NETWORKS}


def backbone_from_name(name: str) -> str:
    """The canonical name of a backbone, from spellings such as ``VGG-16`` or ``mobilenet-v3-small``.

    A network that another package adds has one spelling.

    Raises:
        UsageError: an unknown name; the message lists the known ones.
    """
    key = _letters_and_digits(name)
    canonical = {_letters_and_digits(known): known for known in NETWORKS}.get(key) or _ALIASES.get(key)
    if canonical is not None:
        return canonical
    outside = outside_backbones()
    if name not in outside:
        known = (*NETWORKS, *outside)
        near = did_you_mean(name, known)
        raise UsageError(f"unknown backbone {name!r}; known: {', '.join(known)}{near}")
    return name


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What belongs behind a message on a name: the known one that is near, whatever its capitals."""
    from difflib import get_close_matches

    by_small = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), by_small, 1, _NEARNESS)
    return f"; did you mean {by_small[near[0]]}?" if near else ""


def _letters_and_digits(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
