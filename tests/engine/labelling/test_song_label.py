"""Logits to a song's label: softmax, temperature, mean over the windows, the timeline."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from merkit.engine.labelling.file_windows import FileFacts
from merkit.engine.labelling.song_label import (
    SongLabel,
    label_from_json,
    label_from_logits,
    probabilities_from_logits,
    song_probabilities,
)
from merkit.engine.spec import EvidenceSpec, ModelSpec

FACTS = FileFacts((0.0, 5.0, 10.0), 20.0, "a decoder", {}, {"title": "A song"})
LOGITS = np.random.default_rng(0).normal(0, 2, (3, 4)).astype(np.float32)


def test_the_song_is_the_mean_of_its_timeline(spec: ModelSpec) -> None:
    label = label_from_logits("a.mp3", FACTS, LOGITS, spec)
    assert (label.path, label.error, label.duration_s, label.decoder) == ("a.mp3", None, 20.0, "a decoder")
    assert label.tags == {"title": "A song"}
    assert [start for start, _ in label.windows] == [0.0, 5.0, 10.0]
    by_window = probabilities_from_logits(LOGITS, 1.0)
    np.testing.assert_allclose([p for _, p in label.windows if p], by_window, atol=1e-6)
    np.testing.assert_allclose(label.probabilities, by_window.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(label.probabilities, song_probabilities(LOGITS, 1.0), atol=1e-6)
    assert label.emotion == spec.labels[int(np.argmax(label.probabilities))]
    assert label.confidence == max(label.probabilities)


def test_silent_windows_are_in_the_timeline_without_a_vote(spec: ModelSpec) -> None:
    facts = dataclasses.replace(FACTS, silent_s=(15.0, 2.5))
    label = label_from_logits("a.mp3", facts, LOGITS, spec)
    assert label == dataclasses.replace(
        label_from_logits("a.mp3", FACTS, LOGITS, spec), windows=label.windows
    )
    assert [(start, p is None) for start, p in label.windows] == [
        *[(0.0, False), (2.5, True), (5.0, False), (10.0, False), (15.0, True)]
    ]
    assert label_from_json(label.to_json(), label.path) == label


def test_temperature_is_the_specs(spec: ModelSpec) -> None:
    cold, hot = (
        label_from_logits("a", FACTS, LOGITS, dataclasses.replace(spec, temperature=temperature))
        for temperature in (0.5, 5.0)
    )
    assert cold.emotion == hot.emotion
    assert (cold.confidence or 0) > (hot.confidence or 1)


@given(hnp.arrays(np.float32, (5, 4), elements=st.floats(-1e4, 1e4, width=32)), st.floats(0.01, 100))
def test_probabilities(logits: np.ndarray, temperature: float) -> None:
    probabilities = probabilities_from_logits(logits, temperature)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities, probabilities_from_logits(logits + 3, temperature), atol=1e-3)
    assert (probabilities.max(axis=1) == probabilities[np.arange(5), logits.argmax(axis=1)]).all()


@pytest.mark.filterwarnings("error")  # no warning of NumPy's reaches the terminal
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_network_that_gives_nan_is_an_error_row(spec: ModelSpec, bad: float) -> None:
    logits = LOGITS.copy()
    logits[1, 2] = bad
    label = label_from_logits("a", FACTS, logits, spec)
    assert label == SongLabel("a", error="the network gave numbers that are not finite")
    assert label.confidence is None


@pytest.mark.filterwarnings("error")
def test_the_largest_logits_at_the_smallest_temperature(spec: ModelSpec) -> None:
    logits = np.array([[3e38, -3e38, 0, 1]] * 3, np.float32)
    label = label_from_logits("a", FACTS, logits, dataclasses.replace(spec, temperature=1e-3))
    assert (label.error, label.emotion, label.probabilities) == (None, spec.labels[0], (1.0, 0.0, 0.0, 0.0))


EVIDENCE = EvidenceSpec(music=-1.0, distances=(1.0, 2.0, 5.0), far=4.0, confidence=0.5)


@pytest.mark.parametrize(
    ("music", "distance", "first", "least", "verdict", "novelty"),
    [
        (3.0, 1.5, 5.0, None, "sure", 0.25),
        (3.0, 1.5, 5.0, 1.0, "unsure", 0.25),
        (3.0, 3.5, 0.0, None, "unsure", 0.75),  # no label stands out
        (3.0, 3.5, 0.0, 0.2, "sure", 0.75),
        (3.0, 4.5, 5.0, None, "unsure", 11 / 12),
        (3.0, 99.0, 5.0, None, "unsure", 1.0),
        (3.0, -99.0, 5.0, None, "sure", 0.0),
        (-1.1, 1.5, 5.0, None, "not_music", 0.25),
        (-1.1, 99.0, 5.0, 1.0, "not_music", 1.0),
    ],
)
def test_verdict_and_novelty(
    spec: ModelSpec,
    music: float,
    distance: float,
    first: float,
    least: float | None,
    verdict: str,
    novelty: float,
) -> None:
    """By the means over the windows; the novelty is the rank among the training clips' distances."""
    spread = np.array([[-2.0, -0.5], [0, 0], [2, 0.5]])
    outputs = np.hstack([np.tile([first, 0, 0, 0], (3, 1)), np.array([music, distance]) + spread])
    evident = dataclasses.replace(spec, evidence=EVIDENCE)
    label = label_from_logits("a", FACTS, outputs.astype(np.float32), evident, least)
    assert label.verdict == verdict
    assert label.novelty == pytest.approx(novelty, abs=1e-6)
    assert label.probabilities
    assert (label.emotion is None) == (label.confidence is None) == (verdict == "not_music")
    assert label_from_json(label.to_json(), label.path) == label


def test_a_network_without_evidence_has_no_verdict_unless_it_is_asked_for(spec: ModelSpec) -> None:
    label = label_from_logits("a", FACTS, LOGITS, spec)
    assert (label.verdict, label.novelty) == (None, None)
    confidence = label.confidence or 0
    for least, verdict in ((confidence - 0.01, "sure"), (confidence + 0.01, "unsure")):
        asked = label_from_logits("a", FACTS, LOGITS, spec, least)
        assert asked == dataclasses.replace(label, verdict=verdict)


def test_json_and_back(spec: ModelSpec) -> None:
    label = label_from_logits("\udcff odd.mp3", FACTS, LOGITS, spec)
    text = label.to_json()
    assert json.loads(text)["emotion"] == label.emotion
    assert label_from_json(text, label.path) == label
    assert label_from_json(text, "other") == dataclasses.replace(label, path="other")
    failed = SongLabel("a", error="no sound")
    assert label_from_json(failed.to_json(), "a") == failed


def test_labels_can_be_in_sets() -> None:
    one, other = (SongLabel("a", tags={"title": title}, further={"m": SongLabel("a")}) for title in "xy")
    assert len({one, other, dataclasses.replace(one, tags={"title": "x"})}) == 2
