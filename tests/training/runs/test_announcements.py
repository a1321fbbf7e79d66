"""What is said of a training's figures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from merkit.training.evaluate.predictions import fit_temperature
from merkit.training.runs.announcements import note_on_the_labels, note_on_the_temperature
from small_training import drawn_predictions


@pytest.mark.parametrize(
    ("right", "says"),
    [(True, "its bound, 0.05, since the network errs in none of"), (False, "its bound, 20, ")],
)
def test_a_temperature_at_its_bound_is_said(right: bool, says: str):
    drawn = drawn_predictions()
    assert note_on_the_temperature(fit_temperature(drawn)) == ""
    best = np.eye(3, dtype=np.float32)[(drawn.truth + (not right)) % 3][:, None] + 0.0
    fitted = fit_temperature(dataclasses.replace(drawn, logits=tuple(best)))
    assert says in note_on_the_temperature(fitted)


def test_labels_that_stand_for_none_are_said():
    assert note_on_the_labels(("calm", "Error", "unsure")) == ""
    assert note_on_the_labels(("silence", "calm", "error")).startswith(
        "in a pipe, mer-label writes error, silence for"
    )
