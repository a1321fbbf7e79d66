"""How right a set of labels is. scikit-learn's measures; no torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


def accuracy_and_macro_f1(truth: Integers, predicted: Integers) -> tuple[float, float]:
    """Accuracy, and the mean F1 over the labels that occur in ``truth`` or ``predicted``."""
    from sklearn.metrics import accuracy_score, f1_score

    return (
        float(accuracy_score(truth, predicted)),
        float(f1_score(truth, predicted, average="macro", zero_division=0)),
    )


def bootstrap_interval(
    truth: Integers, predicted: Integers, rounds: int = 2_000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the macro-F1 over clips drawn with replacement."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(truth), size=(rounds, len(truth)))
    found = [accuracy_and_macro_f1(truth[draw], predicted[draw])[1] for draw in draws]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
