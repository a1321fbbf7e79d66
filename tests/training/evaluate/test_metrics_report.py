"""The metrics are the engine's, JSON has no NaN, and a card's Markdown cannot be broken by names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from merkit.engine.data.metrics import accuracy_and_macro_f1, expected_calibration_error
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.training.evaluate.metrics_report import card_from_spec, metrics_from_predictions, write_json
from small_training import drawn_predictions
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error


def test_torchmetrics_and_the_engine_score_alike():
    predictions = drawn_predictions()
    metrics = metrics_from_predictions(predictions, 1.3)
    probabilities = predictions.by_song(1.3)
    expected = accuracy_and_macro_f1(predictions.truth, probabilities.argmax(axis=1))
    assert (metrics["accuracy"], metrics["macro_f1"]) == pytest.approx(expected, abs=1e-4)
    ours = expected_calibration_error(predictions.truth, probabilities)
    theirs = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(predictions.truth), 3, n_bins=10
    )
    assert (
        ours
        == pytest.approx(metrics["calibration_error"], abs=1e-4)
        == pytest.approx(theirs.item(), abs=1e-4)
    )
    assert sum(map(sum, metrics["confusion"])) == 60
    top2 = multiclass_accuracy(
        torch.tensor(probabilities), torch.tensor(predictions.truth), 3, "micro", top_k=2
    )
    assert metrics["accuracy_top2"] == pytest.approx(top2.item(), abs=1e-4)


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
    del provenance["metrics"]["calibration_error_by_chance"]  # as older versions wrote them
    assert "by chance" not in card_from_spec(
        ModelSpec("audiocnn", ("a", "b", "c"), AudioSpec(), 1.3, provenance)
    )
    assert "The split is random" in card
    assert "Not tested" not in card
    untested = {**provenance, "metrics": {**provenance["metrics"], "not_tested": ["sad", "a|b"]}}
    card = card_from_spec(ModelSpec("audiocnn", ("a", "b", "c"), AudioSpec(), 1.3, untested))
    assert r"**Not tested**: sad, a\|b, of which no song is held out" in card
