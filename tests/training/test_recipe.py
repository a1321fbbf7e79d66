"""What a network's own recipe replaces, what a user's choice keeps, and which texts are no choice."""

from __future__ import annotations

import dataclasses

import pytest
from merkit.engine.errors import UsageError
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.recipe import OF_A_NETWORK, PROTOCOLS, TAUGHT, protocol_for, with_overrides

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


@pytest.mark.parametrize("name", PROTOCOLS)
def test_musicnn_hears_its_own_spec_in_every_protocol(name: str):
    protocol, own = PROTOCOLS[name], PRESETS["musicnn"]
    assert protocol_for(protocol, "musicnn").audio == own
    assert protocol_for(protocol, "audiocnn").audio == protocol.audio
    asked = dataclasses.replace(protocol, audio=own)
    long = with_overrides(asked, ["audio.window_samples=160000", "audio.frames=626"])
    assert protocol_for(long, "musicnn").audio == long.audio
    with pytest.raises(
        UsageError, match="musicnn hears the preset musicnn only"
    ):  # the protocol's own, named
        protocol_for(protocol, "musicnn", {"audio.n_mels"})
    for changed in (
        with_overrides(protocol, ["audio.n_mels=64"]),
        with_overrides(asked, ["audio.amin=1e-6"]),
    ):
        with pytest.raises(UsageError, match=r"musicnn hears the preset musicnn only; of it audio\.window"):
            protocol_for(changed, "musicnn")


def test_teachers_add_to_every_protocol_what_was_not_chosen():
    taught = protocol_for(BEST, "audiocnn", taught=True).recipe
    assert {name: getattr(taught, name) for name in TAUGHT} == TAUGHT
    assert taught.learning_rate == OF_A_NETWORK["audiocnn"]["learning_rate"]
    asked = with_overrides(PROTOCOLS["hindi-2022"], ["distill=0.1"])
    kept = protocol_for(asked, "resnet18", {"distill"}, taught=True).recipe
    assert dataclasses.replace(kept, embedding_weight=0, unlabelled_share=0) == asked.recipe


def test_texts_become_values_of_the_fields_types():
    protocol = with_overrides(BEST, ["epochs=3", "balance=false", "loss=bce", "audio.top_db=80", "ema=0"])
    assert protocol.recipe == dataclasses.replace(BEST.recipe, epochs=3, balance=False, loss="bce", ema=0.0)
    assert protocol.audio == dataclasses.replace(BEST.audio, top_db=80.0)
    assert with_overrides(protocol, ["audio.top_db=none"]).audio.top_db is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epochs", "epochs: give NAME=VALUE"),
        ("balance=maybe", "balance=maybe: not a bool"),
        ("audio.mean=3", "mean: is measured, not set"),
    ],
)
def test_texts_that_are_refused(text: str, reason: str):
    with pytest.raises(UsageError, match=reason):
        with_overrides(BEST, [text])


_IMPOSSIBLE = """
epochs=0 epochs=-1 batch_size=0 batch_size=1 learning_rate=0 learning_rate=-1 learning_rate=nan
learning_rate=inf learning_rate=1e999 weight_decay=-0.1 weight_decay=nan warmup=1 warmup=-1
label_smoothing=1 tag_weight=-1 mixup=-0.3 mixup=inf gain_db=nan gain_db=1e38 stretch=1 pitch_mels=-1
filter_db=-inf ema=1 ema=-0.5 patience=-1 eval_windows=0 seed=-1 seed=99999999999999999999
highpass=2 guard=-1 lowpass=1.5 noise=-1 codec=2 distill=2 embedding_weight=-1 unlabelled_share=nan
audio.fmin=nan audio.amin=0 audio.top_db=-1 audio.sample_rate=-16000
"""


@pytest.mark.parametrize("text", _IMPOSSIBLE.split())
def test_numbers_that_no_one_can_train_with(text: str):
    with pytest.raises(UsageError) as refused:
        with_overrides(BEST, [text])
    name = text.partition("=")[0].removeprefix("audio.")
    assert name in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("field", ["test_share", "validation_share", "split_seed"])
@pytest.mark.parametrize("value", [float("nan"), -1, 2**32])
def test_shares_and_seeds_that_no_split_can_have(field: str, value: float):
    with pytest.raises(UsageError, match=f"{field} must be from"):
        dataclasses.replace(BEST, **{field: value})


def test_every_option_is_used_by_a_protocol_or_a_network():
    """A field that is the same everywhere is a constant, not an option."""
    recipes = [protocol.recipe for protocol in PROTOCOLS.values()]
    recipes += [protocol_for(BEST, name, taught=True).recipe for name in OF_A_NETWORK]
    same = {
        field.name
        for field in dataclasses.fields(recipes[0])
        if len({getattr(recipe, field.name) for recipe in recipes}) == 1
    }
    # What the lab has found worth trying, and no protocol has settled on.
    assert same == {"warmup", "highpass", "lowpass", "noise", "codec", "guard", "train_windows", "pretrain"}
