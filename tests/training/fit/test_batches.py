"""An epoch holds each clip once, with its targets and tags, and BatchNorm never gets one window alone."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.spec import AudioSpec
from merkit.training.fit.batches import TrainingData, augmented_batch, batch_count, shuffled_batches
from merkit.training.recipe import Recipe
from merkit.training.teachers.lesson import Lesson

SPEC = AudioSpec(window_samples=16_000, frames=32, n_mels=8)
PLAIN = Recipe(random_crops=False, mixup=0.0)


def _data(count: int, tags: np.ndarray | None = None, lesson: Lesson | None = None) -> TrainingData:
    clips = [np.full((8, 40), i, np.float32) for i in range(count)]
    return TrainingData(clips, [], np.arange(count) % 3, np.arange(count), np.arange(0), SPEC, tags, lesson)


def test_every_clip_once_and_none_alone():
    rng = np.random.default_rng(0)
    assert sorted(np.concatenate(list(shuffled_batches(_data(10), 4, rng)))) == list(range(10))
    assert [len(batch) for batch in shuffled_batches(_data(9), 4, rng)] == [4, 5]
    assert [len(batch) for batch in shuffled_batches(_data(3), 2, rng)] == [3]
    assert [len(batch) for batch in shuffled_batches(_data(1), 4, rng)] == [1]


@given(count=st.integers(1, 300), size=st.integers(2, 64))
def test_as_many_batches_as_are_counted(count: int, size: int):
    batches = list(shuffled_batches(_data(count), size, np.random.default_rng(0)))
    assert len(batches) == batch_count(count, size)
    assert sorted(np.concatenate(batches)) == list(range(count))
    assert min(map(len, batches)) >= min(count, 2)
    assert max(map(len, batches)) <= size + 1


def test_a_batch_has_labels_and_tags():
    tags = np.eye(6, 2, dtype=np.float32)
    chosen = np.array([1, 5])
    log_mels, targets = augmented_batch(_data(6, tags), chosen, PLAIN, np.random.default_rng(0))
    assert log_mels.shape == (2, 1, 8, 32)
    assert log_mels[:, 0, 0, 0].tolist() == [1, 5]  # mean 0 and deviation 1 in this spec
    assert targets.tolist() == [[0, 1, 0, 0, 1], [0, 0, 1, 0, 0]]


def _lesson(count: int, without_label: int) -> Lesson:
    rows = np.arange(count + without_label, dtype=np.float32)[:, None]
    unlabelled = tuple(np.full((8, 40), 100 + i, np.float32) for i in range(without_label))
    return Lesson(np.tile(rows, 3), rows + 0.5, unlabelled)


def test_a_batch_has_clips_without_a_label_and_what_teachers_say_of_all():
    data = _data(6, lesson=_lesson(6, 4))
    log_mels, targets = augmented_batch(data, np.array([5, 8]), PLAIN, np.random.default_rng(0))
    assert log_mels[:, 0, 0, 0].tolist() == [5, 102]
    assert targets.tolist() == [[0, 0, 1, 5.5, 5, 5, 5], [0, 0, 0, 8.5, 8, 8, 8]]
    assert data.columns == (3, 0, 1, 3)


@given(
    count=st.integers(1, 60),
    size=st.integers(2, 16),
    others=st.integers(0, 20),
    share=st.floats(0, 3, allow_subnormal=False),
)
def test_clips_without_a_label_are_shared_out_evenly(count: int, size: int, others: int, share: float):
    data = _data(count, lesson=_lesson(count, others))
    batches = list(shuffled_batches(data, size, np.random.default_rng(0), share))
    assert sorted(i for batch in batches for i in batch if i < count) == list(range(count))
    unlabelled = [i - count for batch in batches for i in batch if i >= count]
    drawn = np.bincount(np.asarray(unlabelled, dtype=int), minlength=others or 1)
    assert drawn.sum() == (round(share * count) if others else 0)
    assert drawn.max() - drawn.min() <= 1
    for batch in batches:
        labelled = (batch < count).sum()
        assert (batch[:labelled] < count).all()  # they come first
        assert not others or abs(len(batch) - labelled - share * labelled) <= 1 + 1e-9


def test_random_windows_differ_by_draw():
    recipe = dataclasses.replace(PLAIN, random_crops=True)
    rng = np.random.default_rng(0)
    first, _ = augmented_batch(_data(4), np.arange(4), recipe, rng)
    second, _ = augmented_batch(_data(4), np.arange(4), recipe, rng)
    assert not np.array_equal(first.numpy(), second.numpy())
