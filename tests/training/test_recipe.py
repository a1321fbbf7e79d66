"""What a network's own recipe replaces, and what a user's choice keeps."""

from merkit.training.recipe import OF_A_NETWORK, PROTOCOLS, protocol_for, with_overrides


def test_a_network_has_its_own_recipe_where_nothing_was_asked_for():
    best = PROTOCOLS["best"]
    own = protocol_for(best, "audiocnn").recipe
    assert {name: getattr(own, name) for name in OF_A_NETWORK["audiocnn"]} == OF_A_NETWORK["audiocnn"]
    asked = with_overrides(best, ["gain_db=2.5"])
    kept = protocol_for(asked, "audiocnn", {"gain_db", "epochs"}).recipe
    assert (kept.gain_db, kept.epochs) == (2.5, best.recipe.epochs)
    assert kept.learning_rate == OF_A_NETWORK["audiocnn"]["learning_rate"]
    assert protocol_for(best, "resnet18") == best
    assert protocol_for(PROTOCOLS["hindi-2022"], "audiocnn") == PROTOCOLS["hindi-2022"]
