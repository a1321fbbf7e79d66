"""What a network's own recipe replaces, what a user's choice keeps, and which texts are no choice."""

from __future__ import annotations

import dataclasses

import pytest
from merkit.engine.errors import SpecError, UsageError
from merkit.training.recipe import OF_A_NETWORK, PROTOCOLS, protocol_for, with_overrides

BEST = PROTOCOLS["best"]


def test_a_network_has_its_own_recipe_where_nothing_was_asked_for():
    own = protocol_for(BEST, "audiocnn").recipe
    assert {name: getattr(own, name) for name in OF_A_NETWORK["audiocnn"]} == OF_A_NETWORK["audiocnn"]
    asked = with_overrides(BEST, ["gain_db=2.5"])
    kept = protocol_for(asked, "audiocnn", {"gain_db", "epochs"}).recipe
    assert (kept.gain_db, kept.epochs) == (2.5, BEST.recipe.epochs)
    assert kept.learning_rate == OF_A_NETWORK["audiocnn"]["learning_rate"]
    assert protocol_for(BEST, "resnet18") == BEST
    assert protocol_for(PROTOCOLS["hindi-2022"], "audiocnn") == PROTOCOLS["hindi-2022"]


def test_texts_become_values_of_the_fields_types():
    protocol = with_overrides(BEST, ["epochs=3", "balance=false", "loss=bce", "audio.top_db=80", "ema=0"])
    assert protocol.recipe == dataclasses.replace(BEST.recipe, epochs=3, balance=False, loss="bce", ema=0.0)
    assert protocol.audio == dataclasses.replace(BEST.audio, top_db=80.0)
    assert with_overrides(protocol, ["audio.top_db=none"]).audio.top_db is None


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("epochs", UsageError, "epochs: give NAME=VALUE"),
        ("speed=3", UsageError, "speed: no such field; known: epochs, batch_size"),
        ("mixup=much", UsageError, "mixup=much: not a float"),
        ("balance=maybe", UsageError, "balance=maybe: not a bool"),
        ("loss=hinge", UsageError, "loss=hinge: one of ce, bce"),
        ("audio.mean=3", UsageError, "mean: is measured, not set"),
        ("audio.n_mels=0", SpecError, "n_mels must be above 0"),
    ],
)
def test_texts_that_are_refused(text: str, error: type[Exception], reason: str):
    with pytest.raises(error, match=reason):
        with_overrides(BEST, [text])


def test_every_option_is_used_by_a_protocol_or_a_network():
    """A field that is the same everywhere is a constant, not an option."""
    recipes = [protocol.recipe for protocol in PROTOCOLS.values()]
    recipes += [protocol_for(BEST, name).recipe for name in OF_A_NETWORK]
    same = {
        field.name
        for field in dataclasses.fields(recipes[0])
        if len({getattr(recipe, field.name) for recipe in recipes}) == 1
    }
    assert same == {"warmup"}
