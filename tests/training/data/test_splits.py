"""Nobody stands on both sides, and what cannot be split is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.engine.data.labelled_audio import Clip
from merkit.engine.errors import MerError
from merkit.training.data.splits import can_be_grouped, folds, holdout, split_hash, splits_from_protocol
from merkit.training.recipe import PROTOCOLS


def _clips(groups: list[int], labels: int = 2) -> list[Clip]:
    return [Clip(Path(f"{i}.wav"), f"label{i % labels}", f"group{g}") for i, g in enumerate(groups)]


def _even(count: int, each: int, labels: int = 2) -> list[Clip]:
    return _clips([i // each for i in range(count)], labels)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 15), min_size=60, max_size=120), st.integers(0, 5))
def test_no_group_stands_on_both_sides(groups: list[int], seed: int):
    clips = _clips(groups)
    try:
        training, test = holdout(clips, 0.2, seed)
    except MerError:
        return
    assert sorted([*training, *test]) == list(range(len(clips)))
    assert not {clips[i].group for i in training} & {clips[i].group for i in test}
    assert len(test) <= 0.3 * len(clips)


def test_shares_are_what_was_asked_for():
    clips = _even(400, 4)
    for share in (0.1, 0.15, 0.2, 0.25):
        for grouped in (True, False):
            training, test = holdout(clips, share, 0, grouped)
            assert len(test) == pytest.approx(share * 400, abs=8)
            assert len(training) + len(test) == 400
            assert {clips[i].label for i in test} == {"label0", "label1"}


def test_few_groups_still_give_a_part():
    training, test = holdout(_even(12, 2), 0.15, 0)
    assert 0 < len(test) < len(training)


def test_every_clip_is_tested_once():
    clips = _even(60, 3, labels=3)
    for grouped in (True, False):
        pairs = folds(clips, 5, 0, grouped)
        assert sorted(i for _, test in pairs for i in test) == list(range(60))
    assert all(
        not {clips[i].group for i in training} & {clips[i].group for i in test}
        for training, test in folds(clips, 5, 0)
    )


def test_seeds_repeat_and_differ(tmp_path: Path):
    clips = [dataclasses.replace(clip, path=tmp_path / clip.path.name) for clip in _even(100, 2)]
    for clip in clips:
        clip.path.write_text(clip.path.name)
    first, again, other = (holdout(clips, 0.2, seed)[1] for seed in (0, 0, 1))
    assert (first == again).all()
    assert split_hash(clips, first) == split_hash(clips, again[::-1]) != split_hash(clips, other)


def test_a_group_larger_than_a_fold_is_named():
    clips = _clips([0] * 30 + list(range(1, 31)))
    with pytest.raises(MerError, match=r"group 'group0' has 30 of 60 clips, a part should have 12"):
        folds(clips, 5, 0)
    training, test = holdout(clips, 0.2, 0)
    assert {clips[i].group for i in training} >= {"group0"}
    assert len(test) <= 18


def test_what_cannot_be_split():
    with pytest.raises(MerError, match="5 folds need 5 clips of each label"):
        folds(_even(8, 1), 5, 0)
    with pytest.raises(MerError, match="no grouped split: the group"):
        holdout(_clips([0] * 19 + [1]), 0.5, 0)
    # One artist a label: whoever is tested takes his label out of training.
    clips = [Clip(Path(f"{i}.wav"), f"label{i % 2}", f"artist{i % 2}") for i in range(20)]
    with pytest.raises(MerError):
        holdout(clips, 0.5, 0)


def test_groups_of_one_are_no_groups():
    assert not can_be_grouped(_even(10, 1))
    assert can_be_grouped(_even(10, 2))
    assert isinstance(holdout(_even(10, 1), 0.2, 0)[0], np.ndarray)


def test_parts_of_a_protocol(tmp_path: Path):
    clips = [dataclasses.replace(clip, path=tmp_path / clip.path.name) for clip in _even(100, 2)]
    for clip in clips:
        clip.path.write_text(clip.path.name)
    best = PROTOCOLS["best"]
    (split,) = splits_from_protocol(clips, best, "grouped")
    parts = (split.training, split.validation, split.test)
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert [len(part) for part in parts] == [pytest.approx(size, abs=4) for size in (64, 16, 20)]
    groups = [{clips[i].group for i in part} for part in parts]
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    assert (split.fold, split.folds, split.hash) == (0, 0, split_hash(clips, split.test))
    without = dataclasses.replace(best, validation_share=0.0)
    splits = splits_from_protocol(clips, without, "random", 4)
    assert [(split.fold, split.folds, len(split.validation)) for split in splits] == [
        (i, 4, 0) for i in (1, 2, 3, 4)
    ]
    assert sorted(i for split in splits for i in split.test) == list(range(100))
