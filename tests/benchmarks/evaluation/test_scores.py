"""Every figure is scikit-learn's on the same answers; clips without an emotion are wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.benchmarks.evaluation.answers import Answers, answers_from_labels
from merkit.benchmarks.evaluation.common_labels import common_labels
from merkit.benchmarks.evaluation.scores import NONE, Scores, difference_of, scores_from_answers
from merkit.engine.labelling.song_label import SongLabel
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

NAMES = ("happy", "tense", "sad", "calm")
COMMON = common_labels({"net": NAMES}, {"happy": 1, "sad": 1}, {})


def song(probabilities: np.ndarray) -> SongLabel:
    return SongLabel(
        "x", emotion=NAMES[int(probabilities.argmax())], probabilities=tuple(probabilities.tolist())
    )


def case(clips: int, silent: int, labels: int = 4, seed: int = 0) -> tuple[np.ndarray, Answers, np.ndarray]:
    """Truth, answers of which the first ``silent`` have no emotion, and the probabilities."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(labels, size=clips)
    probabilities = rng.dirichlet(np.full(4, 0.7), clips)
    probabilities[np.arange(clips), truth] += 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    songs = [SongLabel("x", error="silent")] * silent + [song(row) for row in probabilities[silent:]]
    return truth, answers_from_labels(songs, NAMES, COMMON), probabilities


def scored(truth: np.ndarray, answers: Answers, groups: list[str] | None = None, worst: int = 10) -> Scores:
    paths = [f"{i:04}.wav" for i in range(len(truth))]
    return scores_from_answers(answers, truth, NAMES, groups or paths, paths, worst)


@settings(max_examples=25)
@given(st.integers(8, 120), st.integers(0, 7), st.integers(2, 4), st.integers(0, 1000))
def test_the_figures_are_scikit_learns(clips: int, silent: int, labels: int, seed: int) -> None:
    truth, answers, probabilities = case(clips, silent, labels, seed)
    said = np.concatenate([np.full(silent, 4), probabilities[silent:].argmax(axis=1)])
    scores, present = scored(truth, answers), np.unique(truth)
    assert scores.accuracy == pytest.approx(accuracy_score(truth, said))
    assert scores.macro_f1 == pytest.approx(f1_score(truth, said, labels=present, average="macro"))
    expected = log_loss(truth[silent:], probabilities[silent:], labels=range(4))
    assert scores.log_loss == pytest.approx(expected, abs=1e-5)
    assert scores.log_loss_clips == clips - silent
    by_label = precision_recall_fscore_support(truth, said, labels=present, zero_division=0)  # pyright: ignore
    got = [(row.precision, row.recall, row.f1, row.clips) for row in scores.by_label]
    assert np.allclose(got, np.array(by_label).T)
    matrix = confusion_matrix(truth, said, labels=range(5))
    columns = [i for i in range(5) if i in present or matrix[:, i].any()]
    assert np.array_equal(scores.confusion, matrix[present][:, columns])
    assert scores.columns == tuple((*NAMES, NONE)[i] for i in columns)
    assert np.sum(scores.confusion) == clips


def test_coverage_counts_what_is_sure_enough_and_never_what_has_no_emotion() -> None:
    truth, answers, probabilities = case(200, 40)
    scores = scored(truth, answers)
    sure = probabilities[40:].max(axis=1)
    right = probabilities[40:].argmax(axis=1) == truth[40:]
    for row in scores.coverage:
        assert row.clips == (sure >= row.confidence).sum()
        assert row.share == row.clips / 200
        if row.clips:
            assert row.accuracy == pytest.approx(right[sure >= row.confidence].mean())
    assert scores.coverage[0].clips == 160
    # ten bins of equal width, by hand
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = [
        abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in set(bins.tolist())
    ]
    assert scores.calibration_error == pytest.approx(sum(gaps))


def test_clips_without_an_emotion_are_wrong_and_counted_by_reason() -> None:
    songs = [
        song(np.array([0.9, 0.05, 0.03, 0.02])),
        SongLabel("x", error="silent"),
        SongLabel("x", probabilities=(0.4, 0.3, 0.2, 0.1), verdict="not_music"),
        SongLabel("x", error="damaged"),
        SongLabel("x", verdict="silence"),
    ]
    scores = scored(np.array([0, 0, 0, 2, 2]), answers_from_labels(songs, NAMES, COMMON))
    assert (scores.accuracy, scores.errors) == (0.2, 2)
    assert scores.no_emotion == {"silent": 1, "not_music": 1, "damaged": 1, "silence": 1}
    assert scores.by_verdict == ()
    assert scores.columns == ("happy", "sad", NONE)
    assert scores.confusion == ((1, 0, 2), (0, 0, 2))
    assert scores.log_loss == pytest.approx(-(np.log(0.9) + np.log(0.4)) / 2)
    assert scores.wrong == ()


def test_what_a_verdict_is_worth() -> None:
    truth, answers, _ = case(100, 10)
    verdicts = tuple("sure" if place % 3 else "unsure" for place in range(100))
    answers = dataclasses.replace(answers, verdicts=verdicts)
    right = answers.said == truth
    sure, unsure = scored(truth, answers).by_verdict
    places = np.array([place for place in range(10, 100) if place % 3])
    assert (sure.verdict, sure.clips) == ("sure", len(places))
    assert sure.accuracy == pytest.approx(right[places].mean())
    assert (unsure.verdict, unsure.clips) == ("unsure", 90 - len(places))
    assert scored(truth, dataclasses.replace(answers, verdicts=("",) * 100)).by_verdict == ()


def test_nothing_but_errors() -> None:
    answers = answers_from_labels([SongLabel("x", error="silent")] * 3, NAMES, COMMON)
    scores = scored(np.array([0, 1, 1]), answers)
    assert (scores.accuracy, scores.macro_f1, scores.log_loss, scores.calibration_error) == (0, 0, None, None)
    assert scores.coverage[0].accuracy is None


def test_the_surest_mistakes_come_first() -> None:
    truth, answers, probabilities = case(100, 0)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    expected = sorted(wrong, key=lambda i: -probabilities[i].max())[:5]
    named = scored(truth, answers, worst=5).wrong
    assert [clip.path for clip in named] == [f"{i:04}.wav" for i in expected]
    assert [clip.label for clip in named] == [NAMES[truth[i]] for i in expected]
    assert scored(truth, answers, worst=0).wrong == ()


def test_labels_that_count_as_one_add_up_and_the_answer_stays_mer_labels() -> None:
    common = common_labels({"net": NAMES}, {"happy": 1, "sad": 1}, {"tense": "happy"})
    answers = answers_from_labels([song(np.array([0.3, 0.3, 0.4, 0.0]))], NAMES, common)
    assert common.names == ("happy", "sad", "calm")
    assert answers.probabilities.tolist() == [pytest.approx([0.6, 0.4, 0.0])]
    assert (answers.said.tolist(), answers.confidence.tolist()) == ([1], [0.4])


def test_a_difference_is_paired_and_groups_are_drawn_whole() -> None:
    truth, first, _ = case(200, 0)
    said = first.said.copy()
    mended = np.flatnonzero(said != truth)[::2]
    said[mended] = truth[mended]
    second = Answers(said, first.confidence, first.probabilities, first.reasons, first.verdicts, 0)
    alone = [str(i) for i in range(200)]
    difference = difference_of(first, second, truth, alone)
    assert difference.accuracy == pytest.approx(len(mended) / 200)
    assert difference.other_answers == len(mended)
    assert difference.accuracy_interval is not None
    low, high = difference.accuracy_interval
    assert 0 < low < difference.accuracy < high
    paired = difference.macro_f1_interval
    assert paired is not None
    assert 0 < paired[0] < difference.macro_f1 < paired[1]
    # The variance of a mean of 200 draws with replacement
    spread = 1.96 * np.std((said == truth).astype(float) - (first.said == truth)) / np.sqrt(200)
    assert (high - low) / 2 == pytest.approx(spread, rel=0.1)
    few = difference_of(first, second, truth, ["one", "two"] * 100)
    assert (few.macro_f1_interval, few.accuracy_interval) == (None, None)
