"""Accuracy, macro-F1 and calibration of a set of labels, as shares from 0 to 1, with intervals; log loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]

_DRAWS = 2_000  # of a bootstrap
# With fewer than ten units a percentile interval of nominal 95 % covers far less. A label of four clips is
# missing from one draw in 55, and its F1 takes few values.
_FEWEST_GROUPS, _FEWEST_CLIPS = 10, 5


def accuracy_and_macro_f1(truth: Integers, predicted: Integers) -> tuple[float, float]:
    """Accuracy, and the mean F1 over the labels that occur in ``truth``.

    An answer outside them is a wrong answer, and no label of its own: the mean of two models on the same
    songs is over the same labels, whatever they answer.

    Args:
        truth: positions of labels, ``[clips]``.
        predicted: the same of the labels that the model gave.
    """
    matrix = confusion_matrix(truth, predicted, int(max(truth.max(), predicted.max())) + 1)
    return _accuracy(matrix), _macro_f1(matrix)


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

    None where the clips are too few for one: fewer than 10 groups, a label of ``truth`` with fewer than 5
    clips, or one label only. A bootstrap draws from the clips that there are, so few clips that happen to
    be answered rightly give an interval from 1 to 1.

    Args:
        groups: each clip's group. Whole groups are drawn then: a model tends to be right or wrong on all
            clips of one artist, and drawing single clips would make the interval too narrow.
    """
    if too_few_clips(truth, groups):
        return None
    score = _macro_f1 if of == "macro_f1" else _accuracy
    return _interval([score(matrix) for (matrix,) in _draws(truth, [predicted], groups)])


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
    return _interval([score(matrix_2) - score(matrix_1) for matrix_1, matrix_2 in draws])


def too_few_clips(truth: Integers, groups: Sequence[str] | None = None) -> bool:
    """Whether no interval is given for these clips: see ``bootstrap_interval``."""
    clips = np.unique(truth, return_counts=True)[1]
    units = len(truth) if groups is None else len(set(groups))
    return len(clips) < 2 or clips.min() < _FEWEST_CLIPS or units < _FEWEST_GROUPS


def _interval(scores: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


def _draws(
    truth: Integers, predictions: Sequence[Integers], groups: Sequence[str] | None
) -> Iterator[list[npt.NDArray[np.int64]]]:
    """For each draw of groups with replacement, the confusion matrix of each prediction."""
    classes = int(max(truth.max(), *(predicted.max() for predicted in predictions))) + 1
    _, group = np.unique(np.arange(len(truth)) if groups is None else np.asarray(groups), return_inverse=True)
    count = int(group.max()) + 1
    # A draw's matrix is the sum of its groups' matrices, so these are counted once.
    by_group = [np.zeros((count, classes * classes), np.int64) for _ in predictions]
    for matrices, predicted in zip(by_group, predictions, strict=True):
        np.add.at(matrices, (group, truth * classes + predicted), 1)
    rng = np.random.default_rng(0)
    for _ in range(_DRAWS):
        times = np.bincount(rng.integers(count, size=count), minlength=count)
        yield [(times @ matrices).reshape(classes, classes) for matrices in by_group]


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
    return float(-np.log(np.maximum(true, least)).mean())


def _accuracy(matrix: npt.NDArray[np.int64]) -> float:
    return float(matrix.diagonal().sum() / matrix.sum())


def _macro_f1(matrix: npt.NDArray[np.int64]) -> float:
    right = matrix.diagonal()
    either = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurs = matrix.sum(axis=1) > 0
    return float((2 * right[occurs] / either[occurs]).mean())
