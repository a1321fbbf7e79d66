"""Soft labels are of teachers that were not told; nothing that is held out reaches a lesson."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from merkit.engine.errors import MerError
from merkit.training.teachers.lesson import Lesson, lesson_from_embeddings

RNG = np.random.default_rng(0)
TARGETS = np.arange(90) % 3
GROUPS = [f"artist {i // 3}" for i in range(90)]
CENTRES = 6 * np.eye(3, 20)


def _embeddings(targets: np.ndarray) -> np.ndarray:
    """Clouds of 20 features around a place for each label."""
    return (CENTRES[targets] + RNG.standard_normal((len(targets), 20))).astype(np.float32)


LABELLED, OTHERS = _embeddings(TARGETS), _embeddings(np.arange(30) % 3)
TRAINING, HELD_OUT = np.arange(60), np.arange(60, 90)


def _lesson(
    labelled: np.ndarray = LABELLED, targets: np.ndarray = TARGETS, words: Sequence[Sequence[str]] = ()
) -> Lesson:
    return lesson_from_embeddings(labelled, targets, GROUPS, TRAINING, OTHERS, words=words)


def test_soft_labels_and_directions_of_all_clips():
    lesson = _lesson()
    assert lesson.soft.shape == (120, 3)
    np.testing.assert_allclose(lesson.soft.sum(axis=1), 1, atol=1e-5)
    told = np.concatenate([TARGETS, np.arange(30) % 3])
    assert (lesson.soft.argmax(axis=1) == told).mean() > 0.9
    heard = lesson.vectors[[*TRAINING, *range(90, 120)]]
    np.testing.assert_allclose(heard.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(heard.T, bias=True), np.eye(20), atol=1e-3)  # 20 features have no more
    assert lesson.without_vectors().vectors.shape == (120, 0)


def test_a_clip_is_not_told_its_own_label_nor_its_groups():
    """Each artist has a sound of its own and a label drawn by lot: who was told knows all, others nothing."""
    drawn = np.repeat(np.random.default_rng(1).permutation(30) % 3, 3)
    by_artist = np.repeat(10 * np.eye(30), 3, axis=0).astype(np.float32)
    soft = lesson_from_embeddings(by_artist, drawn, GROUPS, np.arange(90), by_artist).soft
    assert (soft[90:].argmax(axis=1) == drawn).mean() > 0.9  # the same sounds, by the teacher that was told
    assert (soft[:90].argmax(axis=1) == drawn).mean() < 0.6


def test_what_is_held_out_changes_nothing():
    other_sound, other_labels = LABELLED.copy(), TARGETS.copy()
    other_sound[HELD_OUT] += 100
    other_labels[HELD_OUT] = 2 - other_labels[HELD_OUT]
    words = [[*"abc"] * 10]
    one, other = _lesson(words=words), _lesson(other_sound, other_labels, words)
    kept = [*TRAINING, *range(90, 120)]
    assert np.array_equal(one.soft[kept], other.soft[kept])
    assert np.array_equal(one.vectors[kept], other.vectors[kept])


@pytest.mark.parametrize("groups", [["one"] * 6, [*"aabbcc"], [*"aaaabb"], [*"abcdef"]])
def test_a_handful_of_clips(groups: list[str]):
    targets = np.array([0, 0, 0, 0, 1, 1])
    lesson = lesson_from_embeddings(LABELLED[:6], targets, groups, np.arange(6), LABELLED[:0])
    assert lesson.soft.shape == (6, 2)
    np.testing.assert_allclose(lesson.soft.sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(lesson.vectors).all()


@pytest.mark.parametrize("groups", [["one"] * 3, [*"abc"], [*"aab"]])
def test_too_few_clips_for_a_teacher_are_said(groups: list[str]):
    with pytest.raises(MerError, match=r"^too few clips for a teacher: 3 are to train on"):
        lesson_from_embeddings(LABELLED[:3], np.arange(3), groups, np.arange(3), LABELLED[:0])


@pytest.mark.parametrize("large", [9, 12])
def test_a_large_group_leaves_no_fold_without_a_clip_to_ask(large: int):
    groups = ["large"] * large + ["small"] * (14 - large)
    soft = lesson_from_embeddings(LABELLED[:14], TARGETS[:14], groups, np.arange(14), LABELLED[:0]).soft
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)


def test_a_rare_label_weighs_as_much_where_that_is_asked():
    """Sounds of one place, with nine labels of one kind for each of the other: fair is a half for both."""
    targets = (np.arange(90) % 10 == 0).astype(int)
    same = RNG.standard_normal((90, 20)).astype(np.float32)
    means = [
        lesson_from_embeddings(same, targets, GROUPS, np.arange(90), same[:0], balance=balance)
        .soft[:, 1]
        .mean()
        for balance in (False, True)
    ]
    assert means[0] < 0.2
    assert 0.35 < means[1] < 0.6


def test_other_labels_are_a_second_head_that_all_clips_get():
    """Words of the clips without a label: what each labelled clip is nearest to is said highest."""
    words = [("a", "b", "c")[i % 3] if i < 24 else None for i in range(30)]
    plain = _lesson()
    lesson = lesson_from_embeddings(LABELLED, TARGETS, GROUPS, TRAINING, OTHERS, words=[words, [None] * 30])
    assert np.array_equal(lesson.vectors[:, :20], plain.vectors)
    assert np.array_equal(lesson.soft, plain.soft)
    said = lesson.vectors[:, 20:]
    assert said.shape == (120, 3)
    assert (said.argmax(axis=1) == np.concatenate([TARGETS, np.arange(30) % 3])).mean() > 0.9
    heard = [*TRAINING, *range(90, 120)]
    np.testing.assert_allclose(said[heard].std(axis=0), 3, atol=1e-4)
    two = lesson_from_embeddings(LABELLED, TARGETS, GROUPS, TRAINING, OTHERS, words=[["a", "b"] * 15])
    assert two.vectors.shape == (120, 21)
