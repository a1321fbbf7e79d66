"""A linear layer from embeddings to labels: logistic regression, as a layer of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import Clip
from ...engine.data.metrics import accuracy_and_macro_f1, log_loss
from ...engine.errors import MerError
from ..data.splits import folds
from ..evaluate.predictions import Predictions, fit_temperature

_STRENGTHS = (0.003, 0.01, 0.03)  # inverse, of the penalty: scikit-learn's C
_USUAL = 0.01
_INNER_FOLDS = (5, 3, 2)  # as many as the groups allow
_UNKNOWN = -20.0  # logit of a label that a fold does not know


@dataclass(frozen=True)
class FittedHead:
    """A layer from embeddings ``[windows, features]`` to logits, and what inner folds over groups say of it.

    Attributes:
        temperature: fitted to the inner folds' clips; 1 where there are too few groups for any.
        strength: the inverse strength of the penalty, chosen by their log loss.
        macro_f1, log_loss: theirs, by clip; None without them.
    """

    layer: nn.Linear
    temperature: float = 1.0
    strength: float = _USUAL
    macro_f1: float | None = None
    log_loss: float | None = None


def fit_head(
    features: Sequence[Float32], clips: Sequence[Clip], labels: Sequence[str], balance: bool = True
) -> FittedHead:
    """Logistic regression on standardised embeddings; a clip's windows share its weight.

    How strong its penalty is, and the temperature, are chosen on clips of groups that it was not fitted to.

    Args:
        features: each clip's ``[windows, features]``.
        labels: in the order of the logits; each must have a clip.
        balance: weigh each label inversely to its frequency.
    """
    truth = np.asarray([labels.index(clip.label) for clip in clips], dtype=np.intp)
    judged = {
        strength: predictions
        for strength in _STRENGTHS
        if (predictions := _unseen(features, clips, labels, truth, strength, balance)) is not None
    }
    if not judged:
        return FittedHead(_layer(features, truth, len(labels), _USUAL, balance))
    temperatures = {strength: fit_temperature(predictions) for strength, predictions in judged.items()}
    losses = {
        strength: log_loss(predictions.truth, predictions.by_song(temperatures[strength]))
        for strength, predictions in judged.items()
    }
    best = min(losses, key=lambda strength: losses[strength])
    predicted = judged[best].by_song().argmax(axis=1)
    return FittedHead(
        _layer(features, truth, len(labels), best, balance),
        temperatures[best],
        best,
        accuracy_and_macro_f1(judged[best].truth, predicted)[1],
        losses[best],
    )


@torch.inference_mode()
def logits_from_head(layer: nn.Linear, features: Sequence[Float32]) -> list[Float32]:
    """Each clip's logits ``[windows, labels]``."""
    return [layer(torch.from_numpy(np.asarray(rows, np.float32))).numpy() for rows in features]


def _unseen(
    features: Sequence[Float32],
    clips: Sequence[Clip],
    labels: Sequence[str],
    truth: np.ndarray,
    strength: float,
    balance: bool,
) -> Predictions | None:
    """Every clip's logits by a layer that was fitted to other groups; None where the groups are too few."""
    pairs = _pairs(clips)
    if not pairs:
        return None
    logits: list[Float32] = [np.empty((0, len(labels)), np.float32)] * len(clips)
    for training, test in pairs:
        layer = _layer([features[i] for i in training], truth[training], len(labels), strength, balance)
        for i, rows in zip(test, logits_from_head(layer, [features[i] for i in test]), strict=True):
            logits[i] = rows
    names = tuple(clip.name or str(clip.path) for clip in clips)
    groups = tuple(clip.group for clip in clips)
    return Predictions(names, names, truth, tuple(logits), groups, tuple(labels))


def _pairs(clips: Sequence[Clip]) -> list[tuple[np.ndarray, np.ndarray]]:
    for count in _INNER_FOLDS:
        try:
            return folds(clips, count, 0)
        except MerError:  # too few groups, or a label that only one of them has
            continue
    return []


def _layer(
    features: Sequence[Float32], truth: np.ndarray, count: int, strength: float, balance: bool
) -> nn.Linear:
    """Standardising and logistic regression, folded into one layer."""
    windows = [len(rows) for rows in features]
    rows = np.concatenate(features).astype(np.float64)
    scaler = StandardScaler().fit(rows)
    targets, weights = np.repeat(truth, windows), np.repeat(1 / np.asarray(windows), windows)
    known = np.unique(truth)
    weight = np.zeros((count, rows.shape[1]))
    bias = np.full(count, _UNKNOWN)
    if len(known) == 1:
        bias[known] = 0.0
    else:
        if balance:
            weights = weights * (len(truth) / len(known) / np.bincount(truth, minlength=count)[targets])
        regression = LogisticRegression(C=strength, max_iter=1_000)
        regression.fit(scaler.transform(rows), targets, sample_weight=weights)
        coefficients, intercepts = regression.coef_, regression.intercept_
        if len(known) == 2:  # scikit-learn gives the second label's logit alone
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        weight[known] = coefficients / np.asarray(scaler.scale_)
        bias[known] = intercepts - weight[known] @ np.asarray(scaler.mean_)
    layer = nn.Linear(rows.shape[1], count)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
