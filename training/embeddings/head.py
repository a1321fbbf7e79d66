"""A linear layer from embeddings to labels: logistic regression, as a layer of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import solve_triangular
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
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

_Fold = tuple[np.ndarray, list[nn.Linear]]
"""Positions of clips, and a layer for each strength that was fitted to the others."""


@dataclass(frozen=True)
class FittedHead:
    """A layer from embeddings ``[windows, features]`` to logits, and what inner folds over groups say of it.

    Attributes:
        temperature: fitted to the inner folds' clips, as labelling hears them; 1 where there are too few
            groups for any.
        strength: the inverse strength of the penalty, chosen by their log loss.
        macro_f1: theirs, by clip; None without them.
    """

    layer: nn.Linear
    temperature: float = 1.0
    strength: float = _USUAL
    macro_f1: float | None = None


def fit_head(
    features: Sequence[Float32],
    clips: Sequence[Clip],
    labels: Sequence[str],
    balance: bool = True,
    shifts: Sequence[Float32] = (),
    guard: float = 3.0,
    heard: Sequence[Float32] = (),
) -> FittedHead:
    """Logistic regression on standardised embeddings; a clip's windows share its weight.

    How strong its penalty is, and the temperature, are chosen on clips of groups that it was not fitted to.
    A direction in which bad copies move the embedding has a stronger penalty, so that labels depend on it
    less (within-class covariance normalisation, Hatch et al., 2006).

    Args:
        features: each clip's ``[windows, features]``.
        labels: in the order of the logits; each must have a clip.
        balance: weigh each label inversely to its frequency.
        shifts: each clip's, by how much bad copies move its embedding, ``[copies, features]``, then those of
            music without a label; none for equal penalties.
        guard: the penalty of a direction in which they move it by its deviation, beside 1.
        heard: each clip's windows that labelling hears; none where they are those of ``features``.
    """
    truth = np.asarray([labels.index(clip.label) for clip in clips], dtype=np.intp)
    # The matrices are small: a second thread only waits for the first, and on a busy machine for long.
    with threadpool_limits(1):
        by_fold: list[_Fold] = []
        for training, test in _pairs(clips):
            moved = [*(shifts[i] for i in training), *shifts[len(clips) :]] if shifts else []
            given = [features[i] for i in training], truth[training], len(labels)
            by_fold.append((test, _layers(*given, _STRENGTHS, balance, moved, guard)))
        if not by_fold:
            return FittedHead(_layers(features, truth, len(labels), (_USUAL,), balance, shifts, guard)[0])
        judged = [
            _unseen(by_fold, strength, features, clips, labels, truth) for strength in range(len(_STRENGTHS))
        ]
        temperatures = [fit_temperature(predictions) for predictions in judged]
        losses = [
            log_loss(predictions.truth, predictions.by_song(temperature))
            for predictions, temperature in zip(judged, temperatures, strict=True)
        ]
        best = int(np.argmin(losses))
        as_heard = _unseen(by_fold, best, heard or features, clips, labels, truth)
        return FittedHead(
            _layers(features, truth, len(labels), (_STRENGTHS[best],), balance, shifts, guard)[0],
            fit_temperature(as_heard),
            _STRENGTHS[best],
            accuracy_and_macro_f1(truth, judged[best].by_song().argmax(axis=1))[1],
        )


@torch.inference_mode()
def logits_from_head(layer: nn.Linear, features: Sequence[Float32]) -> list[Float32]:
    """Each clip's logits ``[windows, labels]``."""
    return [layer(torch.from_numpy(np.asarray(rows, np.float32))).numpy() for rows in features]


def span_of(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An orthonormal base ``[features, dimensions]`` of the space of ``rows`` ``[clips, features]``.

    The weights of a penalised regression are a sum of the clips that it was given: in their span it is the
    same regression, and where there are fewer clips than features it takes less time.
    """
    clips, features = rows.shape
    return np.linalg.qr(rows.T)[0] if features > clips else np.eye(features, dtype=rows.dtype)


def _unseen(
    by_fold: Sequence[_Fold],
    strength: int,
    features: Sequence[Float32],
    clips: Sequence[Clip],
    labels: Sequence[str],
    truth: np.ndarray,
) -> Predictions:
    """Every clip's logits, by the layer of a strength that was fitted to other groups."""
    logits: dict[int, Float32] = {}
    for test, layers in by_fold:
        of_clips = logits_from_head(layers[strength], [features[i] for i in test])
        logits.update(zip(test.tolist(), of_clips, strict=True))
    names = tuple(clip.name or str(clip.path) for clip in clips)
    groups = tuple(clip.group for clip in clips)
    return Predictions(
        names, names, truth, tuple(logits[i] for i in range(len(clips))), groups, tuple(labels)
    )


def _pairs(clips: Sequence[Clip]) -> list[tuple[np.ndarray, np.ndarray]]:
    for count in _INNER_FOLDS:
        try:
            return folds(clips, count, 0)
        except MerError:  # too few groups, or a label that only one of them has
            continue
    return []


def _layers(
    features: Sequence[Float32],
    truth: np.ndarray,
    count: int,
    strengths: Sequence[float],
    balance: bool,
    shifts: Sequence[Float32],
    guard: float,
) -> list[nn.Linear]:
    """A layer for each strength: standardising and logistic regression in one."""
    windows = [len(rows) for rows in features]
    rows = np.concatenate(features).astype(np.float64)
    targets, weights = np.repeat(truth, windows), np.repeat(1 / np.asarray(windows), windows)
    known = np.unique(truth)
    if len(known) == 1:
        bias = np.full(count, _UNKNOWN)
        bias[known] = 0.0
        return [_linear(np.zeros((count, rows.shape[1])), bias) for _ in strengths]
    if balance:
        weights = weights * (len(truth) / len(known) / np.bincount(truth, minlength=count)[targets])
    scaler = StandardScaler().fit(rows)
    scaled = np.asarray(scaler.transform(rows))
    moved = np.concatenate(shifts) / np.asarray(scaler.scale_) if shifts else None
    root = None if moved is None else _root_of_penalty(moved, guard)
    if root is not None:  # with these features the penalty is an equal one
        scaled = solve_triangular(root, scaled.T, lower=True).T
    span = span_of(scaled)
    inside = scaled @ span
    regression = LogisticRegression(max_iter=1_000, warm_start=True)  # a penalty's weights begin the next's
    layers = []
    for strength in strengths:
        regression.set_params(C=strength).fit(inside, targets, sample_weight=weights)
        coefficients, intercepts = regression.coef_ @ span.T, regression.intercept_
        if root is not None:
            coefficients = solve_triangular(root, coefficients.T, lower=True, trans=1).T
        if len(known) == 2:  # scikit-learn gives the second label's logit alone
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        weight, bias = np.zeros((count, rows.shape[1])), np.full(count, _UNKNOWN)
        weight[known] = coefficients / np.asarray(scaler.scale_)
        bias[known] = intercepts - weight[known] @ np.asarray(scaler.mean_)
        layers.append(_linear(weight, bias))
    return layers


def _root_of_penalty(shifts: np.ndarray, guard: float) -> np.ndarray:
    """The lower triangle L of a penalty ``|L^T w|^2`` on weights w, for shifts ``[copies, features]``."""
    return np.linalg.cholesky(np.eye(shifts.shape[1]) + guard * (shifts.T @ shifts) / len(shifts))


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
