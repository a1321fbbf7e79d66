"""What of a network that was trained before is trained further."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Literal

from ..engine.spec import AudioSpec
from .recipe import Protocol

Plan = Literal["frozen", "head", "all"]
"""``frozen``: nothing but a linear layer over its embedding, by logistic regression. ``head``: a head fitted
so, and then all layers. ``all``: all layers at once, with a head of random weights."""

FINE_TUNING_RATE = 3e-4
"""The learning rate from trained weights: at that of random ones they are forgotten in the first steps."""

FOR_FEW_CLIPS = "accurate"
"""The bundled network that the texts name for few clips: it hears three windows of 10 s of a song."""

_OF_A_WINDOW = ("window_samples", "frames", "short_audio", "mean", "std")


def protocol_from_trained(
    protocol: Protocol, audio: AudioSpec, frozen: bool, chosen: Collection[str] = ()
) -> Protocol:
    """The protocol for a network that was trained before.

    Under ``best`` it learns more slowly. A frozen one needs no validation part: inner folds give the
    temperature.

    Args:
        audio: what it hears.
        chosen: the recipe's fields that the user has set.
    """
    recipe = protocol.recipe
    if protocol.name == "best" and "learning_rate" not in chosen:
        recipe = dataclasses.replace(recipe, learning_rate=min(recipe.learning_rate, FINE_TUNING_RATE))
    share = 0.0 if frozen else protocol.validation_share
    return dataclasses.replace(protocol, audio=audio, recipe=recipe, validation_share=share)


def other_mels(heard: AudioSpec, now: AudioSpec) -> str:
    """What differs between the log-mels that a network heard and those that it is to hear; "" if nothing."""
    names = [field.name for field in dataclasses.fields(now) if field.name not in _OF_A_WINDOW]
    differing = [
        f"{name} {getattr(heard, name)} then, {getattr(now, name)} now"
        for name in names
        if getattr(heard, name) != getattr(now, name)
    ]
    return ", ".join(differing)
