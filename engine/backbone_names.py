"""The backbones by name, and the names people type for them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import UsageError

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
"""Canonical name (of files and specs) to the papers' spelling."""

_ALIASES: Mapping[str, str] = {
    "mobilenetv3small": "mobilenetv3",
    "squeezenet1": "squeezenet",
    "squeezenet10": "squeezenet",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "effnetb0": "efficientnet_b0",
}


def backbone_from_name(name: str) -> str:
    """``VGG-16``, ``resnet_18``, ``mobilenet-v3-small`` to the canonical name.

    Raises:
        UsageError: an unknown name; the message lists the known ones.
    """
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    found = {re.sub(r"[^a-z0-9]", "", known): known for known in BACKBONES}.get(bare) or _ALIASES.get(bare)
    if found is None:
        raise UsageError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
    return found
