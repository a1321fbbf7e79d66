"""What two trainings do not have in common is named, as far as their networks say it."""

from __future__ import annotations

from typing import Any

import pytest
from merkit.engine.spec import ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.runs.differences import differences


def _spec(model: str = "audiocnn", **provenance: Any) -> ModelSpec:
    spec = ModelSpec(model, ("a", "b"), PRESETS["emotion4q"], provenance=provenance)
    return ModelSpec.from_json(spec.to_json())  # as a checkpoint has it


def test_the_first_differences_are_named_and_the_others_counted():
    recipe = {"epochs": 1, "seed": 0, "crop": (1, 2)}
    there = _spec(protocol="best", recipe=recipe, data={"name": "x", "clips": 50})
    assert differences(there, there) == ""
    here = _spec(protocol="best", recipe={**recipe, "epochs": 2}, data={"name": "x", "clips": 49})
    assert differences(there, here) == "epochs: 1 there, 2 here; clips: 50 there, 49 here"
    other = _spec("squeezenet", protocol="icm-2020", recipe={"epochs": 2, "seed": 1, "new": 5})
    assert differences(there, other) == (
        "model: 'audiocnn' there, 'squeezenet' here; protocol: 'best' there, 'icm-2020' here; "
        "epochs: 1 there, 2 here; 3 more"
    )


@pytest.mark.parametrize("there", [{"recipe": 5}, {"data": []}, {"teachers": ["x"]}, {"split": "x"}])
def test_a_file_may_say_anything(there: dict[str, Any]):
    assert differences(_spec(**there), _spec()) == ""
