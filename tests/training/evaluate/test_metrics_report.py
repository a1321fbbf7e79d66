"""The metrics are the engine's, JSON has no NaN, and a card's Markdown cannot be broken by names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.data.metrics import accuracy_and_macro_f1, expected_calibration_error
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.training.evaluate.metrics_report import (
    _figures,
    card_from_spec,
    metrics_from_predictions,
    write_json,
)
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from small_training import drawn_predictions


def test_figures_are_those_of_the_engine():
    predictions = drawn_predictions()
    metrics = metrics_from_predictions(predictions, 1.3)
    probabilities = predictions.by_song(1.3)
    expected = accuracy_and_macro_f1(predictions.truth, probabilities.argmax(axis=1))
    assert (metrics["accuracy"], metrics["macro_f1"]) == pytest.approx(expected, abs=1e-4)
    error = expected_calibration_error(predictions.truth, probabilities)
    assert metrics["calibration_error"] == pytest.approx(error, abs=1e-4)
    assert sum(map(sum, metrics["confusion"])) == 60
    top2 = top_k_accuracy_score(predictions.truth, probabilities, k=2)
    assert metrics["accuracy_top2"] == pytest.approx(top2, abs=1e-4)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_figures_are_those_of_scikit_learn(answers: list[tuple[int, int]]):
    """Of labels that nothing has, and that nothing is called, too."""
    truth, said = np.array(answers).T
    zero: Any = 0  # scikit-learn's own type hints know a text alone
    probabilities = np.full((len(said), 4), 0.1)
    probabilities[np.arange(len(said)), said] = 0.7
    figures = _figures(truth, probabilities, "abcd")
    assert figures["accuracy"] == pytest.approx(accuracy_score(truth, said), abs=1e-4)
    assert figures["confusion"] == confusion_matrix(truth, said, labels=range(4)).tolist()
    occurs = sorted(set(truth.tolist()))
    by_label: Any = precision_recall_fscore_support(truth, said, labels=range(4), zero_division=zero)
    assert figures["macro_f1"] == pytest.approx(by_label[2][occurs].mean(), abs=1e-4)
    for name, scores in zip(("precision", "recall", "f1"), by_label, strict=False):
        expected = [pytest.approx(scores[i], abs=1e-4) if i in occurs else None for i in range(4)]
        assert [figures["per_label"][label][name] for label in "abcd"] == expected
    assert [figures["per_label"][label]["songs"] for label in "abcd"] == by_label[3].tolist()


def test_what_is_no_number_is_null(tmp_path: Path):
    write_json({"loss": float("nan"), "rows": [(1, float("inf"))], "text": "é"}, tmp_path / "metrics.json")
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"loss": None, "rows": [[1, None]], "text": "é"}


def test_a_card_says_data_split_and_figures_and_escapes_names():
    provenance = {
        "protocol": "best",
        "data": {"name": "<b>songs</b>", "clips": 60, "labels": {"a": 20, "b": 20, "c": 20}, "tags": ["x|y"]},
        "split": {"kind": "random", "note": "random", "hash": "0" * 64},
        "weights": "none",
        "licence": "CC*BY*",
        "metrics": metrics_from_predictions(drawn_predictions(), 1.3),
    }
    card = card_from_spec(ModelSpec("audiocnn", ("a", "b", "c"), AudioSpec(), 1.3, provenance))
    assert r"\<b\>songs\</b\>, 60 clips (a 20, b 20, c 20)." in card
    assert r"Learnt beside the labels: x\|y." in card
    assert r"CC\*BY\*" in card
    assert "| label | songs | precision | recall | F1 |" in card
    assert (
        f"({provenance['metrics']['calibration_error_by_chance']:.3f} by chance alone) at temperature 1.3."
        in card
    )
    assert "The split is random" in card
    evidence = {"caught": 0.9, "caught_by_kind": {"rain": 0.9}, "sounds": 10, "kept": 1.0}
    for grouped_by, end in (
        ("clip", "0.0% of its music."),
        ("artist", "0.0% of its music by other artists."),
    ):
        data = {**provenance["data"], "grouped_by": grouped_by}
        known = {**provenance, "data": data, "evidence": evidence}
        assert end in card_from_spec(ModelSpec("audiocnn", ("a", "b", "c"), AudioSpec(), 1.3, known))
    assert "Not tested" not in card
    untested = {**provenance, "metrics": {**provenance["metrics"], "not_tested": ["sad", "a|b"]}}
    card = card_from_spec(ModelSpec("audiocnn", ("a", "b", "c"), AudioSpec(), 1.3, untested))
    assert r"**Not tested**: sad, a\|b, of which no song is held out" in card
