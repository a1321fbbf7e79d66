"""The loss to train with, and the weights of labels in it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..recipe import Recipe


def training_loss(
    outputs: Tensor, targets: Tensor, classes: int, recipe: Recipe, label_weights: Tensor | None
) -> Tensor:
    """The batch's mean loss: cross-entropy of the labels, or binary on one-hot, plus that of the tags.

    Args:
        outputs: logits ``[batch, classes + tags]``.
        targets: of the same shape, from 0 to 1.
        label_weights: ``[classes]``, or None where all labels weigh the same.
    """
    label_logits, tag_logits = outputs[:, :classes], outputs[:, classes:]
    labels, tags = targets[:, :classes], targets[:, classes:]
    if recipe.loss == "bce":
        by_clip = functional.binary_cross_entropy_with_logits(label_logits, labels, reduction="none").mean(1)
    else:
        by_clip = functional.cross_entropy(
            label_logits, labels, label_smoothing=recipe.label_smoothing, reduction="none"
        )
    if label_weights is not None:
        # Not cross_entropy's own weight, which would also apply to the smoothed part of other labels.
        by_clip = by_clip * (labels @ label_weights)
    loss = by_clip.mean()
    if tag_logits.shape[1]:
        loss = loss + recipe.tag_weight * functional.binary_cross_entropy_with_logits(tag_logits, tags)
    return loss


def balancing_weights(targets: np.ndarray, classes: int) -> Tensor:
    """Label weights ``[classes]`` that make all labels count the same; 1 where they are equally frequent."""
    counts = np.bincount(targets, minlength=classes)
    return torch.tensor(len(targets) / (classes * np.maximum(1, counts)), dtype=torch.float32)
