"""What a training reads, and the batches that are drawn from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...engine.arrays import Float32
from ...engine.spec import AudioSpec
from ..data.augment import first_crop, mixup, random_crop
from ..recipe import Recipe


@dataclass(frozen=True)
class TrainingData:
    """Clips with their targets, and which of them are for training and for validation.

    Attributes:
        clips: spectrograms ``[mels, frames]`` in dB, as the cache gives them.
        windows: the engine's windows of each clip, ``[windows, mels, frames]`` in dB, to evaluate on.
        targets: the position of each clip's label, ``[clips]``.
        training: positions of the clips to train on.
        validation: positions of the clips to evaluate on after each epoch; may be empty.
        tags: 0 or 1 for each clip and tag, ``[clips, tags]``. The network's outputs after the labels'
            are trained on them (multitask learning, Caruana, 1997).
    """

    clips: Sequence[Float32]
    windows: Sequence[Float32]
    targets: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    spec: AudioSpec
    tags: Float32 | None = None

    @cached_property
    def classes(self) -> int:
        """The number of labels."""
        return int(self.targets.max()) + 1

    @cached_property
    def all_targets(self) -> Float32:
        """The labels one-hot and the tags beside them, ``[clips, classes + tags]``."""
        labels = np.eye(self.classes, dtype=np.float32)[self.targets]
        return labels if self.tags is None else np.concatenate([labels, self.tags], axis=1)


def batch_count(clips: int, size: int) -> int:
    """The number of batches of an epoch over ``clips`` clips.

    A last clip that would be alone goes into the batch before it: BatchNorm needs two.
    """
    return max(1, clips // size + (clips % size > 1))


def shuffled_batches(data: TrainingData, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The positions of each batch's clips, of ``batch_count`` batches; every training clip once."""
    order = rng.permutation(data.training)
    starts = [size * number for number in range(batch_count(len(order), size))]
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        yield order[start:end]


def augmented_batch(
    data: TrainingData, chosen: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A window of each chosen clip, changed as the recipe says, and the targets.

    Returns:
        Log-mels ``[batch, 1, mels, frames]`` and targets ``[batch, classes + tags]``.
    """
    if recipe.random_crops:
        crops = [random_crop(data.clips[i], data.spec, rng, recipe) for i in chosen]
    else:
        crops = [first_crop(data.clips[i], data.spec) for i in chosen]
    log_mels = torch.from_numpy(np.stack(crops))[:, None]
    return mixup(log_mels, torch.from_numpy(data.all_targets[chosen]), recipe.mixup, rng)
