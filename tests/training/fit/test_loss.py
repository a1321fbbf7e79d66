"""The training loss weighs labels, not their smoothing; the tags' part is added."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from merkit.training.fit.loss import balancing_weights, training_loss
from merkit.training.recipe import Recipe

RECIPE = Recipe(label_smoothing=0.1)


def test_rare_labels_weigh_more():
    weights = balancing_weights(np.array([0, 0, 0, 1]), 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])
    assert balancing_weights(np.array([0, 1]), 2).tolist() == [1.0, 1.0]
    logits, targets = torch.zeros(4, 2), torch.eye(2)[[0, 0, 0, 1]]
    loss = training_loss(logits, targets, 2, RECIPE, weights)
    assert loss.item() == pytest.approx(np.log(2), rel=1e-5)


def test_binary_cross_entropy_and_tags():
    logits, targets = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    binary = dataclasses.replace(RECIPE, loss="bce")
    alone = training_loss(logits[:, :2], targets[:, :2], 2, binary, None)
    assert alone.item() == pytest.approx(np.log(2), rel=1e-5)
    with_tags = training_loss(logits, targets, 2, dataclasses.replace(binary, tag_weight=0.5), None)
    assert with_tags.item() == pytest.approx(1.5 * np.log(2), rel=1e-5)
