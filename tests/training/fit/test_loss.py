"""The training loss weighs labels, not their smoothing; the tags' part is added."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from merkit.training.fit.batches import Columns
from merkit.training.fit.loss import balancing_weights, training_loss
from merkit.training.recipe import Recipe

RECIPE = Recipe(label_smoothing=0.1)


def test_rare_labels_weigh_more():
    weights = balancing_weights(np.array([0, 0, 0, 1]), 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    assert balancing_weights(np.array([0, 1]), 2).tolist() == [1.0, 1.0]
    logits, targets = torch.zeros(4, 2), torch.eye(2)[[0, 0, 0, 1]]
    loss = training_loss(logits, targets, Columns(2), RECIPE, weights)
    assert loss.item() == pytest.approx(np.log(2), rel=1e-5)


def test_binary_cross_entropy_and_tags():
    logits, targets = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    binary = dataclasses.replace(RECIPE, loss="bce")
    alone = training_loss(logits[:, :2], targets[:, :2], Columns(2), binary, None)
    assert alone.item() == pytest.approx(np.log(2), rel=1e-5)
    with_tags = training_loss(
        logits, targets, Columns(2, 1), dataclasses.replace(binary, tag_weight=0.5), None
    )
    assert with_tags.item() == pytest.approx(1.5 * np.log(2), rel=1e-5)


def test_teachers_speak_of_clips_with_and_without_a_label():
    """Two clips with a label and one without, in NumPy: the mean is over the two."""
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(3, 2 + 1 + 2)).astype(np.float32)
    labels, tags = np.array([[1, 0], [0, 1], [0, 0]]), np.array([[1], [0], [0]])
    vectors, soft = rng.normal(size=(3, 2)), np.array([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    targets = np.concatenate([labels, tags, vectors, soft], axis=1).astype(np.float32)
    recipe = Recipe(label_smoothing=0.0, tag_weight=0.5, distill=0.25, embedding_weight=2.0)
    logs = outputs[:, :2] - np.log(np.exp(outputs[:, :2]).sum(axis=1, keepdims=True))
    weights = np.array([1.5, 0.5])
    hard, taught = -(labels * logs * weights).sum() / 2, -(soft * logs).sum() / 2
    tag_loss = np.log1p(np.exp(outputs[:2, 2])) - tags[:2, 0] * outputs[:2, 2]
    expected = (
        0.75 * hard + 0.25 * taught + 0.5 * tag_loss.mean() + 2 * np.square(outputs[:, 3:] - vectors).mean()
    )
    given = torch.from_numpy(outputs), torch.from_numpy(targets)
    loss = training_loss(*given, Columns(2, 1, 2, 2), recipe, torch.tensor(weights, dtype=torch.float32))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
