"""What a training reads, and the batches that are drawn from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...engine.arrays import Float32
from ...engine.spec import AudioSpec
from ..data.augment import first_crop, mixup, random_crop
from ..data.on_demand import joined
from ..recipe import Recipe
from ..teachers.lesson import Lesson


class Columns(NamedTuple):
    """How many columns outputs and targets have of each kind, in this order; ``soft`` only targets have.

    ``labels`` are one-hot, and all 0 for a clip without a label; ``soft`` are the teachers' probabilities.
    """

    labels: int
    tags: int = 0
    vectors: int = 0
    soft: int = 0


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
        lesson: what teachers say of the clips, and of others without a label; the outputs after the tags' are
            trained on its vectors.
    """

    clips: Sequence[Float32]
    windows: Sequence[Float32]
    targets: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    spec: AudioSpec
    tags: Float32 | None = None
    lesson: Lesson | None = None

    @property
    def classes(self) -> int:
        """The number of labels."""
        return self.columns.labels

    @cached_property
    def columns(self) -> Columns:
        """Of ``all_targets``."""
        tags = 0 if self.tags is None else self.tags.shape[1]
        vectors, soft = (self.lesson.vectors.shape[1], self.lesson.soft.shape[1]) if self.lesson else (0, 0)
        return Columns(int(self.targets.max()) + 1, tags, vectors, soft)

    @cached_property
    def all_clips(self) -> Sequence[Float32]:
        """The clips, and those without a label."""
        return joined(self.clips, self.lesson.unlabelled) if self.lesson else self.clips

    @cached_property
    def all_targets(self) -> Float32:
        """Labels, tags, vectors and soft labels side by side, of all clips: see ``Columns``."""
        parts = [np.eye(self.classes, dtype=np.float32)[self.targets]]
        parts += [] if self.tags is None else [self.tags]
        known = np.concatenate(parts, axis=1)
        if self.lesson is None:
            return known
        unknown = np.zeros((len(self.lesson.unlabelled), known.shape[1]), np.float32)
        return np.concatenate(
            [np.concatenate([known, unknown]), self.lesson.vectors, self.lesson.soft], axis=1
        )


def batch_count(clips: int, size: int) -> int:
    """The number of batches of an epoch over ``clips`` clips.

    A last clip that would be alone goes into the batch before it: BatchNorm needs two.
    """
    return max(1, clips // size + (clips % size > 1))


def shuffled_batches(
    data: TrainingData, size: int, rng: np.random.Generator, unlabelled_share: float = 0.0
) -> Iterator[np.ndarray]:
    """The positions of each batch's clips, of ``batch_count`` batches; every training clip once.

    After ``size`` of these come ``unlabelled_share`` times as many without a label, all equally often.
    """
    order = rng.permutation(data.training)
    starts = [size * number for number in range(batch_count(len(order), size))]
    count = len(data.lesson.unlabelled) if data.lesson and unlabelled_share else 0
    others = len(data.clips) + _in_turn(count, round(unlabelled_share * len(order)), rng)
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        first, last = (round(unlabelled_share * place) for place in (start, end))
        yield np.concatenate([order[start:end], others[first:last]])


def _in_turn(count: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """``wanted`` numbers below ``count``: all of them in random order, and again; none where count is 0."""
    rounds = -(-wanted // count) if count else 0
    return np.concatenate([np.arange(0), *(rng.permutation(count) for _ in range(rounds))])[:wanted]


def augmented_batch(
    data: TrainingData, chosen: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A window of each chosen clip, changed as the recipe says, and the targets.

    Returns:
        Log-mels ``[batch, 1, mels, frames]`` and targets ``[batch, columns]``.
    """
    clips = data.all_clips
    if recipe.random_crops:
        crops = [random_crop(clips[i], data.spec, rng, recipe) for i in chosen]
    else:
        crops = [first_crop(clips[i], data.spec) for i in chosen]
    log_mels = torch.from_numpy(np.stack(crops))[:, None]
    return mixup(log_mels, torch.from_numpy(data.all_targets[chosen]), recipe.mixup, rng)
