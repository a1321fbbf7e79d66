"""The scores are scikit-learn's, and the intervals what the bootstrap gives."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.engine.data.metrics import (
    accuracy_and_macro_f1,
    bootstrap_difference,
    bootstrap_interval,
    calibration_error,
    calibration_error_by_chance,
    confusion_matrix,
    expected_calibration_error,
    log_loss,
)
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import f1_score
from sklearn.metrics import log_loss as sklearn_log_loss


def _guesses(count: int, right: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=count)
    return truth, np.where(rng.random(count) < right, truth, rng.integers(4, size=count))


def _interval(ends: tuple[float, float] | None) -> tuple[float, float]:
    assert ends is not None
    return ends


def test_a_case_by_hand():
    truth, said = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert accuracy_and_macro_f1(truth, said) == pytest.approx((0.75, (2 / 3 + 4 / 5) / 2))
    assert confusion_matrix(truth, said, 2).tolist() == [[1, 1], [0, 2]]


def test_the_confusion_matrix_is_scikit_learns():
    truth, said = _guesses(200, 0.5)
    assert (confusion_matrix(truth, said, 4) == sklearn_confusion(truth, said)).all()


def test_the_interval_is_that_of_drawing_clips():
    truth, said = _guesses(150, 0.7)
    low, high = _interval(bootstrap_interval(truth, said))
    rng = np.random.default_rng(1)
    drawn = (rng.integers(150, size=150) for _ in range(500))
    expected = np.quantile([f1_score(truth[d], said[d], average="macro") for d in drawn], [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)
    assert low < accuracy_and_macro_f1(truth, said)[1] < high
    assert (low, high) == bootstrap_interval(truth, said)


def test_a_difference_is_of_the_same_clips():
    truth, first = _guesses(400, 0.6)
    second = np.where(np.arange(400) % 10 == 0, truth, first)  # one in ten put right
    low, high = _interval(bootstrap_difference(truth, first, second))
    gain = accuracy_and_macro_f1(truth, second)[1] - accuracy_and_macro_f1(truth, first)[1]
    assert 0 < low < gain < high
    apart = [_interval(bootstrap_interval(truth, said)) for said in (first, second)]
    assert high - low < 0.7 * max(end - start for start, end in apart)
    assert bootstrap_difference(truth, first, first) == (0.0, 0.0)
    low, high = _interval(bootstrap_difference(truth, first, second, of="accuracy"))
    assert 0 < low < (truth == second).mean() - (truth == first).mean() < high


def test_groups_that_stand_and_fall_together_widen_the_interval():
    truth, said = _guesses(60, 0.7)
    truth, said = np.tile(truth, 4), np.tile(said, 4)
    alone = _interval(bootstrap_interval(truth, said))
    together = _interval(bootstrap_interval(truth, said, groups=[str(i) for i in range(60)] * 4))
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0, 2, 3]), st.integers(0, 6)), min_size=1, max_size=40))
def test_macro_f1_is_scikit_learns_over_the_labels_of_the_data(answers: list[tuple[int, int]]):
    truth, said = np.array(answers, int).T
    accuracy, macro_f1 = accuracy_and_macro_f1(truth, said)
    by_label = np.asarray(f1_score(truth, said, labels=list(range(7)), average=None, zero_division=0))  # pyright: ignore
    assert macro_f1 == pytest.approx(np.mean([by_label[label] for label in set(truth.tolist())]))
    assert accuracy == pytest.approx((truth == said).mean())


def test_an_answer_that_the_data_has_no_label_for_is_a_wrong_answer():
    truth = np.repeat([0, 1], 10)
    said = truth.copy()
    said[0] = 3
    assert accuracy_and_macro_f1(truth, said)[1] == pytest.approx(
        (18 / 19 + 1) / 2
    )  # of two labels, not three
    low, high = _interval(bootstrap_interval(truth, said))
    assert low > 0.8
    assert high == 1
    # In most draws the second model has one answer outside, and is as much worse as that answer costs.
    low, high = _interval(bootstrap_difference(truth, truth, said))
    assert -0.2 < low < high <= 0


@pytest.mark.parametrize(
    ("truth", "groups"),
    [
        ([0] * 20, None),  # one label: the macro-F1 can be nothing but its F1
        ([0] * 20 + [1] * 4, None),
        ([0] * 5 + [1] * 4, None),
        ([0] * 20 + [1] * 20, [str(i % 9) for i in range(40)]),
        ([0] * 20 + [1] * 20, [str(min(i, 23)) for i in range(40)]),  # a label's are of four
        ([], None),
    ],
)
def test_too_few_clips_have_no_interval(truth: list[int], groups: list[str] | None):
    known = np.array(truth, int)
    assert bootstrap_interval(known, known, groups) is None
    assert bootstrap_interval(known, known, groups, of="accuracy") is None
    assert bootstrap_difference(known, known, known, groups) is None


def test_the_fewest_clips_that_have_an_interval():
    truth = np.repeat([0, 1], 5)
    assert bootstrap_interval(truth, truth, [str(i) for i in range(10)]) == (1.0, 1.0)


def _plain_draws(truth: np.ndarray, said: np.ndarray, groups: np.ndarray) -> list[list[float]]:
    """Accuracy and macro-F1 of each draw's clips themselves."""
    names, number = np.unique(groups, return_inverse=True)
    clips = [np.flatnonzero(number == i) for i in range(len(names))]
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(names), size=len(names)) for _ in range(2_000))
    positions = (np.concatenate([clips[i] for i in draw]) for draw in drawn)
    return [list(accuracy_and_macro_f1(truth[i], said[i])) for i in positions]


@pytest.mark.parametrize("labels", [[0, 1], [2, 3, 7], list(range(0, 60, 2))])
def test_an_interval_is_that_of_the_drawn_clips_to_the_last_digit(labels: list[int]):
    rng = np.random.default_rng(3)
    truth = rng.choice(labels, 700)
    said = np.where(rng.random(700) < 0.6, truth, rng.integers(max(labels) + 3, size=700))
    groups = rng.integers(230, size=700).astype(str)
    draws = np.quantile(_plain_draws(truth, said, groups), [0.025, 0.975], axis=0)
    for of, expected in zip(("accuracy", "macro_f1"), draws.T.tolist(), strict=True):
        assert bootstrap_interval(truth, said, groups.tolist(), of) == tuple(expected)


def test_an_interval_of_many_labels_takes_little_memory():
    rng = np.random.default_rng(0)
    truth, said = np.arange(1_500) % 100, rng.integers(100, size=1_500)
    tracemalloc.start()
    try:
        assert bootstrap_interval(truth, said) is not None
        assert tracemalloc.get_traced_memory()[1] < 60e6  # a matrix of each clip would take 120 MB
    finally:
        tracemalloc.stop()


def test_calibration_error():
    truth = np.array([0, 0, 0, 1])
    sure = np.array([[0.75, 0.25]] * 4)
    assert expected_calibration_error(truth, sure) == pytest.approx(0)
    certain = np.array([[1.0, 0.0]] * 4)
    assert expected_calibration_error(truth, certain) == pytest.approx(0.25)
    # two bins: 0.9 and right half of the time, 0.3 and always right
    halves = calibration_error(np.array([0.9, 0.9, 0.3, 0.3]), np.array([True, False, True, True]))
    assert halves == pytest.approx((0.4 + 0.7) / 2)


def test_log_loss_is_scikit_learns_and_finite_where_a_probability_is_0():
    rng = np.random.default_rng(0)
    truth, probabilities = rng.integers(4, size=50), rng.dirichlet(np.ones(4), 50)
    assert log_loss(truth, probabilities) == pytest.approx(sklearn_log_loss(truth, probabilities))
    ruled_out = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert log_loss(np.array([0, 0]), ruled_out) == pytest.approx(np.log(2) / 2)
    assert log_loss(np.array([0, 1]), ruled_out, 1e-6) == pytest.approx((np.log(2) + 6 * np.log(10)) / 2)


@pytest.mark.parametrize("sure", [1.0, 1 + 1e-7])  # a softmax in float32 may sum to a little more
def test_a_log_loss_of_none_is_printed_without_a_sign(sure: float):
    assert f"{log_loss(np.array([0, 0]), np.array([[sure, 0.0], [sure, 0.0]])):.3f}" == "0.000"


def test_a_log_loss_of_what_is_not_finite_is_not_finite():
    assert np.isnan(log_loss(np.array([0]), np.array([[np.nan, 0.5]])))


def test_the_interval_of_the_accuracy_holds_it_and_narrows() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 400)
    said = np.where(rng.random(400) < 0.7, truth, (truth + 1) % 4)
    low, high = _interval(bootstrap_interval(truth, said, of="accuracy"))
    wide_low, wide_high = _interval(bootstrap_interval(truth[:40], said[:40], of="accuracy"))
    assert low < (truth == said).mean() < high
    assert high - low < 2 * 1.96 * np.sqrt(0.7 * 0.3 / 400) * 1.2
    assert wide_high - wide_low > high - low


def test_calibration_error_by_chance():
    """Of one true confidence in one bin it is the mean deviation of a binomial share."""
    few, many = (calibration_error_by_chance(np.full(count, 0.75)) for count in (48, 4_800))
    assert few == pytest.approx(0.8 * (0.75 * 0.25 / 48) ** 0.5, rel=0.15)
    assert many == pytest.approx(few / 10, rel=0.25)
    assert calibration_error_by_chance(np.ones(9)) == 0
