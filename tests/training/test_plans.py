"""A protocol for a network that was trained before."""

from __future__ import annotations

import dataclasses

from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.plans import FINE_TUNING_RATE, other_mels, protocol_from_trained
from merkit.training.recipe import PROTOCOLS

BEST = PROTOCOLS["best"]


def test_it_learns_slowly_unless_told_otherwise():
    own = AudioSpec(n_mels=40)
    protocol = protocol_from_trained(BEST, own, frozen=False)
    assert (protocol.audio, protocol.recipe.learning_rate) == (own, FINE_TUNING_RATE)
    assert protocol.validation_share == BEST.validation_share
    assert protocol_from_trained(BEST, own, False, {"learning_rate"}).recipe == BEST.recipe
    slow = dataclasses.replace(BEST, recipe=dataclasses.replace(BEST.recipe, learning_rate=1e-5))
    assert protocol_from_trained(slow, own, False).recipe.learning_rate == 1e-5
    assert protocol_from_trained(BEST, own, frozen=True).validation_share == 0


def test_other_mels_are_named_and_other_windows_are_not():
    heard = PRESETS["musicnn"]
    assert other_mels(heard, dataclasses.replace(heard, window_samples=96_000, frames=300)) == ""
    said = other_mels(heard, dataclasses.replace(heard, n_mels=128, mean=(0.0,)))
    assert said == "n_mels 96 then, 128 now"
