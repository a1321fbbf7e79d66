"""How right a set of labels is. scikit-learn's measures; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


def accuracy_and_macro_f1(truth: Integers, predicted: Integers) -> tuple[float, float]:
    """Accuracy, and the mean F1 over the labels that occur in ``truth`` or ``predicted``."""
    from sklearn.metrics import accuracy_score, f1_score

    return (
        float(accuracy_score(truth, predicted)),
        float(f1_score(truth, predicted, average="macro", zero_division=0)),  # pyright: ignore
    )


def confusion_matrix(truth: Integers, predicted: Integers, labels: int) -> npt.NDArray[np.int64]:
    """Counts ``[labels, labels]``: rows are the truth, columns what was said."""
    return np.bincount(truth * labels + predicted, minlength=labels * labels).reshape(labels, labels)


def bootstrap_interval(
    truth: Integers,
    predicted: Integers,
    rounds: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    of: Literal["macro_f1", "accuracy"] = "macro_f1",
) -> tuple[float, float]:
    """Percentile interval of the macro-F1 (or accuracy) over clips drawn with replacement.

    Args:
        groups: each clip's group; whole groups are then drawn, since clips of one artist are right
            or wrong together, and drawing them one by one would make the interval too narrow.
    """
    measure = _macro_f1 if of == "macro_f1" else _accuracy
    return _middle([measure(matrix) for (matrix,) in _drawn(truth, [predicted], rounds, seed, groups)], level)


def bootstrap_difference(
    truth: Integers, first: Integers, second: Integers, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """95 % percentile interval of ``second``'s macro-F1 minus ``first``'s, on the same clips in every draw.

    What makes clips hard makes them so for both, so this is narrower than the two intervals would have it.
    ``groups`` as in ``bootstrap_interval``.
    """
    draws = _drawn(truth, [first, second], 2_000, 0, groups)
    return _middle([_macro_f1(theirs) - _macro_f1(ours) for ours, theirs in draws], 0.95)


def _middle(found: Sequence[float], level: float) -> tuple[float, float]:
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _drawn(
    truth: Integers, said: Sequence[Integers], rounds: int, seed: int, groups: Sequence[str] | None
) -> Iterator[list[npt.NDArray[np.int64]]]:
    """The confusion matrices of all of ``said`` in each draw of groups with replacement."""
    classes = int(max(truth.max(), *(each.max() for each in said))) + 1
    _, group = np.unique(np.arange(len(truth)) if groups is None else np.asarray(groups), return_inverse=True)
    # Every group's own confusion matrix; a draw's is the sum of its groups'.
    counts = [np.zeros((int(group.max()) + 1, classes * classes), np.int64) for _ in said]
    for count, each in zip(counts, said, strict=True):
        np.add.at(count, (group, truth * classes + each), 1)
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        times = np.bincount(rng.integers(len(counts[0]), size=len(counts[0])), minlength=len(counts[0]))
        yield [(times @ count).reshape(classes, classes) for count in counts]


def expected_calibration_error(truth: Integers, probabilities: Floats, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Guo et al., 2017)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(confidence[place == b].mean() - right[place == b].mean()) * (place == b).mean()
            for b in range(bins)
            if (place == b).any()
        )
    )


def _accuracy(matrix: npt.NDArray[np.int64]) -> float:
    return float(matrix.diagonal().sum() / matrix.sum())


def _macro_f1(matrix: npt.NDArray[np.int64]) -> float:
    right = matrix.diagonal()
    either = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurs = either > 0
    return float((2 * right[occurs] / either[occurs]).mean())
