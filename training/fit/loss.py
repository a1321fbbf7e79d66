"""The loss to train with, and the weights of labels in it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..recipe import Recipe
from .batches import Columns


def training_loss(
    outputs: Tensor, targets: Tensor, columns: Columns, recipe: Recipe, label_weights: Tensor | None
) -> Tensor:
    """The batch's loss, as a mean over its clips with a label.

    Cross-entropy of the labels, or binary on one-hot, and of the teachers' soft labels (Hinton et al., 2015),
    which clips without a label have too; plus the loss of the tags, and the squared error of the teachers'
    vectors.

    Args:
        outputs: ``[batch, labels + tags + vectors]``, of the first two the logits.
        targets: ``[batch, columns]``.
        label_weights: ``[labels]``, or None where all labels weigh the same.
    """
    label_logits, tag_logits, vectors = outputs.split(columns[:3], dim=1)
    labels, tags, wanted, soft = targets.split(list(columns), dim=1)
    labelled = labels.sum(dim=1)  # 1, or 0 without a label, or between where mixup has blended the two
    if recipe.loss == "bce":
        by_clip = functional.binary_cross_entropy_with_logits(label_logits, labels, reduction="none").mean(1)
    else:
        by_clip = functional.cross_entropy(
            label_logits, labels, label_smoothing=recipe.label_smoothing, reduction="none"
        )
    # Not cross_entropy's own weight, which would also apply to the smoothed part of other labels.
    by_clip = by_clip * (labelled if label_weights is None else labels @ label_weights)
    if columns.soft:
        taught = functional.cross_entropy(label_logits, soft, reduction="none")
        by_clip = (1 - recipe.distill) * by_clip + recipe.distill * taught
    if columns.tags:
        by_tag = functional.binary_cross_entropy_with_logits(tag_logits, tags, reduction="none")
        by_clip = by_clip + recipe.tag_weight * by_tag.mean(dim=1) * labelled
    loss = by_clip.sum() / labelled.sum()
    if columns.vectors:
        loss = loss + recipe.embedding_weight * functional.mse_loss(vectors, wanted)
    return loss


def balancing_weights(targets: np.ndarray, classes: int) -> Tensor:
    """Label weights ``[classes]`` that make all labels count the same; 1 where they are equally frequent."""
    counts = np.bincount(targets, minlength=classes)
    return torch.tensor(len(targets) / (classes * np.maximum(1, counts)), dtype=torch.float32)
