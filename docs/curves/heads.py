"""Heads that could take the place of the curve's logistic regression: the search of docs/RESULTS.md.

python docs/curves/heads.py DATA WEIGHTS...

DATA is the folder with emotion4q, mirex5 and hindi5. Prints a Markdown row a head: macro-F1 on other groups'
clips with 20 clips a label, ten draws (those of mer-train curve), on 4Q, mirex5, hindi5 by artist, by source.
At the end what the regression reads on all of mirex5, in five folds by artist.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from merkit.training.curves.few_clips import draws_by_label
from merkit.training.embeddings.embeddings import window_embeddings
from merkit.training.runs.session import read_data
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC

Array = np.ndarray[Any, Any]
Head = Callable[[Array, Array, Array, Array], Array]
"""Features, labels, positions given and tested, to scores ``[tested, labels]`` in the order of the labels."""


def regression(strength: float = 0.003) -> Head:
    def head(x: Array, y: Array, given: Array, test: Array) -> Array:
        span = np.linalg.qr(x[given].T)[0]
        fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
        return fitted.fit(x[given] @ span, y[given]).predict_proba(x[test] @ span)

    return head


def kernel(x: Array, y: Array, given: Array, test: Array) -> Array:
    fitted = SVC(C=1, gamma=0.25 / x.shape[1], class_weight="balanced", decision_function_shape="ovr")
    scores = np.exp(fitted.fit(x[given], y[given]).decision_function(x[test]))
    return scores / scores.sum(axis=1, keepdims=True)


def prototypes(x: Array, y: Array, given: Array, test: Array) -> Array:
    means = np.stack([x[given][y[given] == name].mean(axis=0) for name in np.unique(y[given])])
    means = means - x[given].mean(axis=0)
    return (
        x[test]
        / np.linalg.norm(x[test], axis=1, keepdims=True)
        @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    )


def self_training(x: Array, y: Array, given: Array, test: Array) -> Array:
    """All other clips, as the first head labels them, weigh half as much as those that were given."""
    rest = np.setdiff1d(np.arange(len(x)), given)
    span = np.linalg.svd(x, full_matrices=False)[2].T
    names, counts = np.unique(y[given], return_counts=True)
    shares = regression()(x, y, given, rest)
    sure = shares.max(axis=1)
    weights = np.r_[
        (len(given) / len(names) / counts)[np.searchsorted(names, y[given])],
        0.5 * sure * len(given) / sure.sum(),
    ]
    fitted = LogisticRegression(C=0.003, max_iter=500)
    rows = np.r_[given, rest]
    fitted.fit(x[rows] @ span, np.r_[y[given], names[shares.argmax(axis=1)]], sample_weight=weights)
    return fitted.predict_proba(x[test] @ span)


def equal_shares(x: Array, y: Array, given: Array, test: Array) -> Array:
    """The regression, with each label's shares divided by its mean share among the other clips."""
    rest = np.setdiff1d(np.arange(len(x)), given)
    return regression()(x, y, given, test) / regression()(x, y, given, rest).mean(axis=0)


def mean_of(*heads: Head) -> Head:
    def head(*given: Array) -> Array:
        logs = [np.log(one(*given)) for one in heads]
        return np.asarray(sum(rows / rows.std() for rows in logs))

    return head


def standardised(windows: Array) -> Array:
    x = windows.mean(axis=1)
    return (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)


def of_length_one(windows: Array) -> Array:
    x = standardised(windows)
    return x * (x.shape[1] ** 0.5 / np.linalg.norm(x, axis=1, keepdims=True))


def clipped(windows: Array) -> Array:
    return np.clip(standardised(windows), -2.5, 2.5)


def whitened(power: float) -> Callable[[Array], Array]:
    def features(windows: Array) -> Array:
        x = standardised(windows)
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        variances = s**2 / len(x)
        x = u * s * (variances + variances.mean() * len(variances) / x.shape[1]) ** (-power / 2)
        return x * (windows.shape[2] / np.square(x).sum(axis=1).mean()) ** 0.5

    return features


def smoothed(windows: Array) -> Array:
    """Each clip blended with the ten most like it, three times (Gasteiger et al., 2019)."""
    x = standardised(windows)
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    alike = z @ z.T
    np.fill_diagonal(alike, -1)
    links = np.zeros_like(alike)
    np.put_along_axis(links, np.argsort(-alike, axis=1)[:, :10], 1, axis=1)
    links = np.maximum(links, links.T)
    links /= np.sqrt(np.outer(links.sum(axis=1), links.sum(axis=1)))
    blended = x
    for _ in range(3):
        blended = 0.5 * x + 0.5 * links @ blended
    return standardised(blended[:, None])


def without_windows_differences(windows: Array) -> Array:
    """Directions in which the windows of one clip differ count less (normalised by their covariance)."""
    x = windows.mean(axis=1)
    scaled = (windows - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    rows = (scaled - scaled.mean(axis=1, keepdims=True)).reshape(-1, x.shape[1])
    variances, base = np.linalg.eigh(1.5 * rows.T @ rows / len(rows))
    z = scaled.mean(axis=1) @ base * (np.maximum(variances, 0) + variances.mean()) ** -0.5
    return z * (x.shape[1] / np.square(z).sum(axis=1).mean()) ** 0.5


ROWS: dict[str, tuple[Callable[[Array], Array], Head]] = {
    "logistic regression, C 0.003": (standardised, regression()),
    "C 0.001": (standardised, regression(0.001)),
    "C 0.01": (standardised, regression(0.01)),
    "features clipped at 2.5 deviations": (clipped, regression()),
    "clips of length one": (of_length_one, regression()),
    "principal components whitened by half": (whitened(0.5), regression()),
    "whitened": (whitened(1.0), regression()),
    "strong components stronger": (whitened(-0.5), regression()),
    "without what differs between a clip's windows": (without_windows_differences, regression()),
    "clips blended with the ten most like them": (smoothed, regression()),
    "cosine to the labels' means": (standardised, prototypes),
    "SVM, RBF": (standardised, kernel),
    "mean of regression and SVM": (standardised, mean_of(regression(), kernel)),
    "self-training on all other clips": (standardised, self_training),
    "each label as often among the other clips": (standardised, equal_shares),
    "self-training, and the mean with regression": (standardised, mean_of(regression(), self_training)),
}


def in_five_folds(windows: Array, labels: Array, groups: list[str]) -> float:
    x, said, names = standardised(windows), np.empty(len(labels), labels.dtype), np.unique(labels)
    for given, test in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(x, labels, groups):
        said[test] = names[regression()(x, labels, given, test).argmax(axis=1)]
    return float(f1_score(labels, said, average="macro"))


def main(root: Path, sources: list[str]) -> None:
    tables = []
    for name, group_by in (("emotion4q", None), ("mirex5", None), ("hindi5", None), ("hindi5", "source")):
        clips = read_data(root / name, "auto", None, group_by).clips
        windows = np.concatenate([np.stack(window_embeddings(s, clips)) for s in sources], axis=2)  # type: ignore[arg-type]
        labels, groups = [clip.label for clip in clips], [clip.group for clip in clips]
        tables.append((windows, np.asarray(labels), list(draws_by_label(labels, groups, [20], 10))))
    for title, (features, head) in ROWS.items():
        means = []
        for windows, labels, draws in tables:
            x, names = features(windows.astype(np.float64)), np.unique(labels)
            said = [(draw.test, head(x, labels, draw.given[20], draw.test)) for draw in draws]
            scores = [
                f1_score(labels[test], names[rows.argmax(axis=1)], average="macro") for test, rows in said
            ]
            means.append(f"{np.mean(scores):.3f}")
        print(f"| {title} | {' | '.join(means)} |", flush=True)
    windows, labels, _ = tables[1]
    groups = [clip.group for clip in read_data(root / "mirex5", "auto", None).clips]
    print(f"\nAll of mirex5 in five folds: {in_five_folds(windows, labels, groups):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
