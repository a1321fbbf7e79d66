"""Accuracy, macro-F1 and calibration of a set of labels, as shares from 0 to 1, with intervals; log loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]
_Counts = npt.NDArray[Any]

_DRAWS = 2_000  # of a bootstrap
_AT_ONCE = 1_000_000  # numbers of a batch of draws: 8 MB
# With fewer than ten units a percentile interval of nominal 95 % covers far less. A label of four is missing
# from one draw in 55, and its F1 takes few values; of one or two artists the interval covers 77 %.
_FEWEST_GROUPS, _FEWEST_OF_A_LABEL = 10, 5


def accuracy_and_macro_f1(truth: Integers, predicted: Integers) -> tuple[float, float]:
    """Accuracy, and the mean F1 over the labels that occur in ``truth``.

    An answer outside them is a wrong answer, and no label of its own: the mean of two models on the same
    songs is over the same labels, whatever they answer.

    Args:
        truth: positions of labels, ``[clips]``.
        predicted: the same of the labels that the model gave.
    """
    matrix = confusion_matrix(truth, predicted, int(max(truth.max(), predicted.max())) + 1)
    counts = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    return _accuracy(*counts), _macro_f1(*counts)


def confusion_matrix(truth: Integers, predicted: Integers, labels: int) -> npt.NDArray[np.int64]:
    """Counts ``[labels, labels]``: a row for each true label, a column for each predicted one."""
    return np.bincount(truth * labels + predicted, minlength=labels * labels).reshape(labels, labels)


def bootstrap_interval(
    truth: Integers,
    predicted: Integers,
    groups: Sequence[str] | None = None,
    of: Literal["macro_f1", "accuracy"] = "macro_f1",
) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the macro-F1, or of the accuracy.

    None where there are too few for one: fewer than 10 groups, a label of ``truth`` with clips of fewer than
    5, or one label only. A bootstrap draws from the groups that there are, so a few that happen to be
    answered rightly give an interval from 1 to 1.

    Args:
        groups: each clip's group. Whole groups are drawn then: a model tends to be right or wrong on all
            clips of one artist, and drawing single clips would make the interval too narrow. Without
            them each clip is one.
    """
    if too_few_clips(truth, groups):
        return None
    score = _macro_f1 if of == "macro_f1" else _accuracy
    return _interval([score(*counts) for (counts,) in _draws(truth, [predicted], groups)])


def bootstrap_difference(
    truth: Integers,
    first: Integers,
    second: Integers,
    groups: Sequence[str] | None = None,
    of: Literal["macro_f1", "accuracy"] = "macro_f1",
) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of ``second``'s macro-F1, or accuracy, minus ``first``'s.

    Both are scored on the same clips in every draw. Clips that are hard for one model are often hard for the
    other, so this interval is narrower than the two single ones suggest. ``groups`` and None as in
    ``bootstrap_interval``.
    """
    if too_few_clips(truth, groups):
        return None
    score = _macro_f1 if of == "macro_f1" else _accuracy
    draws = _draws(truth, [first, second], groups)
    return _interval([score(*counts_2) - score(*counts_1) for counts_1, counts_2 in draws])


def too_few_clips(truth: Integers, groups: Sequence[str] | None = None) -> bool:
    """Whether no interval is given for these clips: see ``bootstrap_interval``."""
    labels, label = np.unique(truth, return_inverse=True)
    group = _group_numbers(len(truth), groups)
    by_label = np.bincount(np.unique(group * len(labels) + label) % max(1, len(labels)))
    return len(labels) < 2 or by_label.min() < _FEWEST_OF_A_LABEL or len(np.unique(group)) < _FEWEST_GROUPS


def _group_numbers(clips: int, groups: Sequence[str] | None) -> npt.NDArray[np.intp]:
    """Each clip's group, ``[clips]``, counted from 0."""
    units = np.arange(clips) if groups is None else np.asarray(groups)
    return np.unique(units, return_inverse=True)[1]


def _interval(scores: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


def _draws(
    truth: Integers, predictions: Sequence[Integers], groups: Sequence[str] | None
) -> Iterator[_Counts]:
    """For each draw of groups with replacement counts ``[predictions, 3, labels]``.

    The three are, for each label of ``truth``, the clips that have it, that are called so, and both.
    """
    labels, label = np.unique(truth, return_inverse=True)
    group = _group_numbers(len(truth), groups)
    count = int(group.max()) + 1
    # A draw's counts are the sum of its groups', so these are counted once. In float64, for which @ is fast,
    # they are exact below 2^53.
    shape = len(predictions), 3, len(labels)
    by_group = np.zeros((count, math.prod(shape)))
    for one, predicted in enumerate(predictions):
        place = np.minimum(np.searchsorted(labels, predicted), len(labels) - 1)
        known, right = labels[place] == predicted, truth == predicted
        true, said, both = len(labels) * (3 * one + np.arange(3))  # where their columns begin
        np.add.at(by_group, (group, true + label), 1)
        np.add.at(by_group, (group[known], said + place[known]), 1)
        np.add.at(by_group, (group[right], both + label[right]), 1)
    rng = np.random.default_rng(0)
    step = max(1, _AT_ONCE // count)
    for done in range(0, _DRAWS, step):
        times = np.empty((min(step, _DRAWS - done), count))
        for row in times:
            row[:] = np.bincount(rng.integers(count, size=count), minlength=count)
        yield from (times @ by_group).reshape(-1, *shape)


def expected_calibration_error(truth: Integers, probabilities: Floats, bins: int = 10) -> float:
    """``calibration_error`` of the answers that ``probabilities`` ``[clips, labels]`` give."""
    return calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, bins)


def calibration_error(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over bins of equal width (Guo et al., 2017).

    Args:
        confidence: the probability of each answer, ``[clips]``, from 0 to 1.
        right: whether the answer is right, ``[clips]``.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(confidence[place == b].mean() - right[place == b].mean()) * (place == b).mean()
            for b in range(bins)
            if (place == b).any()
        )
    )


def calibration_error_by_chance(confidence: Floats, bins: int = 10) -> float:
    """The ``calibration_error`` to expect where every confidence is true: it is not 0, for clips are few.

    The mean over draws in which each answer is right as often as its confidence ``[clips]`` says.
    """
    rng = np.random.default_rng(0)
    draws = [
        calibration_error(confidence, rng.random(len(confidence)) < confidence, bins) for _ in range(200)
    ]
    return float(np.mean(draws))


def log_loss(truth: Integers, probabilities: Floats, least: float = 1e-12) -> float:
    """Mean negative log-likelihood (nats) of the true labels; ``probabilities`` are ``[clips, labels]``.

    Args:
        least: a probability below this counts as this: of a label that was ruled out the loss stays finite.
    """
    true = probabilities[np.arange(len(truth)), truth]
    return float(0 - np.log(np.clip(true, least, 1)).mean())  # -0.0 would be printed so


def _accuracy(true: _Counts, said: _Counts, right: _Counts) -> float:
    return float(right.sum() / true.sum())


def _macro_f1(true: _Counts, said: _Counts, right: _Counts) -> float:
    occurs = true > 0
    return float((2 * right[occurs] / (true + said)[occurs]).mean())
