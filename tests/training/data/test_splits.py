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
from merkit.training.data.splits import (
    can_be_given,
    can_be_grouped,
    folds,
    group_too_large,
    holdout,
    split_hash,
    splits_from_protocol,
)
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


def test_a_small_share_is_a_small_part():
    for share in (0.01, 0.02, 0.024):
        training, test = holdout(_even(400, 4), share, 0)
        assert 0 < len(test) <= 1.5 * share * 400
        assert len(training) + len(test) == 400


def test_few_groups_still_give_a_part():
    training, test = holdout(_even(12, 2), 0.02, 0)
    assert 0 < len(test) < len(training)
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


def test_a_group_larger_than_the_test_part_is_named(tmp_path: Path):
    large = [dataclasses.replace(c, group="x") for c in _files(tmp_path, {"happy": 12, "tense": 12})]
    clips = [*large, *_files(tmp_path, {"happy": 18, "tense": 18}, "other")]
    (split,) = splits_from_protocol(clips, PROTOCOLS["best"], "grouped")
    assert group_too_large(clips, split, 0.2) == (
        "the group 'x', 24 of 60 clips, is larger than a test part and not tested"
    )
    assert not group_too_large(clips, split, 0.4)
    assert not group_too_large(clips, dataclasses.replace(split, test=np.arange(1)), 0.2)


def test_a_group_of_most_clips_is_named_in_place_of_a_label(tmp_path: Path):
    """More clips of the label would not help."""
    clips = _files(tmp_path, {"happy": 20, "tense": 20})
    one = [dataclasses.replace(clip, group="x") if i else clip for i, clip in enumerate(clips)]
    with pytest.raises(
        MerError, match=r"of as many groups: the group 'x' has 39 of 40 clips; add clips of ot"
    ):
        splits_from_protocol(one, PROTOCOLS["best"], "grouped")


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


def _files(folder: Path, labels: dict[str, int], part: str = "") -> list[Clip]:
    """Clips of which each is a group of its own."""
    clips = []
    for label, count in labels.items():
        for number in range(count):
            path = folder / f"{part}{label}{number}"
            path.write_text(path.name)
            clips.append(Clip(path, label, path.name, name=path.name, part=part))  # pyright: ignore
    return clips


def test_a_rare_label_is_in_every_part_of_a_stratified_split(tmp_path: Path):
    clips = _files(tmp_path, {"happy": 60, "tense": 3})
    for seed in range(5):
        protocol = dataclasses.replace(PROTOCOLS["best"], split_seed=seed)
        (split,) = splits_from_protocol(clips, protocol, "random")
        for part in (split.training, split.validation, split.test):
            assert {clips[i].label for i in part} == {"happy", "tense"}
        assert len(split.test) == pytest.approx(0.2 * 63, abs=2)


def test_a_label_too_rare_is_named(tmp_path: Path):
    clips = _files(tmp_path, {"happy": 60, "tense": 2})
    with pytest.raises(
        MerError, match=r"training, validation and test need 3 clips of each label, .*tense has 2;"
    ):
        splits_from_protocol(clips, PROTOCOLS["best"], "random")
    with pytest.raises(MerError, match=r"5 folds need 5 clips of each label, .*tense has 2; add clips of it"):
        splits_from_protocol(clips, PROTOCOLS["best"], "random", 5)
    one_artist = [dataclasses.replace(c, group="x") if c.label == "tense" else c for c in clips]
    with pytest.raises(MerError, match="tense has 2 of 1 groups"):
        splits_from_protocol(
            one_artist, dataclasses.replace(PROTOCOLS["best"], validation_share=0), "grouped"
        )


def test_a_papers_random_part_is_drawn_again_until_it_has_every_label(tmp_path: Path):
    hindi = PROTOCOLS["hindi-2022"]
    even = _files(tmp_path, {"happy": 50, "tense": 50})
    assert splits_from_protocol(even, hindi, "random")[0].drawn == 1
    rare = _files(tmp_path, {"happy": 60, "tense": 2})
    drawn = []
    for seed in range(5):
        (split,) = splits_from_protocol(rare, dataclasses.replace(hindi, split_seed=seed), "random")
        assert (
            {rare[i].label for i in split.test}
            == {rare[i].label for i in split.training}
            == {"happy", "tense"}
        )
        drawn.append(split.drawn)
    assert max(drawn) > 1
    with pytest.raises(MerError, match="training and test need 2 clips of each label: tense has 1;"):
        splits_from_protocol(_files(tmp_path, {"happy": 60, "tense": 1}), hindi, "random")


def test_a_random_split_keeps_recordings_together(tmp_path: Path):
    clips = _files(tmp_path, {"happy": 30, "tense": 30})
    recordings = [i - i % 2 for i in range(60)]
    for count in (0, 5):
        for split in splits_from_protocol(clips, PROTOCOLS["best"], "random", count, recordings):
            parts = [{recordings[i] for i in part} for part in (split.training, split.validation, split.test)]
            assert not parts[0] & parts[1]
            assert not (parts[0] | parts[1]) & parts[2]


def test_the_split_that_the_data_comes_with_is_taken(tmp_path: Path):
    labels = {"happy": 20, "tense": 20}
    training, validation, test = (
        _files(tmp_path, labels, part) for part in ("training", "validation", "test")
    )
    best = PROTOCOLS["best"]

    def parts(clips: list[Clip]) -> list[set[str]]:
        (split,) = splits_from_protocol(clips, best, "given")
        assert split.kind == "given"
        return [{clips[i].name for i in part} for part in (split.training, split.validation, split.test)]

    names = [{clip.name for clip in part} for part in (training, validation, test)]
    assert parts([*test, *training, *validation]) == names
    cut = parts([*training, *test])  # validation is cut from training
    assert cut[0] | cut[1] == names[0]
    assert 4 <= len(cut[1]) <= 12
    assert cut[2] == names[2]
    cut = parts([*training, *validation])  # so is the test part
    assert cut[0] | cut[2] == names[0]
    assert cut[1] == names[1]
    assert can_be_given([*training, *test])
    assert not can_be_given(training)
    assert not can_be_given(_files(tmp_path, labels))
    untested = splits_from_protocol([*training, *_files(tmp_path, {"happy": 3}, "test")], best, "given")
    assert len(untested[0].test) == 3
    with pytest.raises(MerError, match="no clips to train on"):
        splits_from_protocol(test, best, "given")
    with pytest.raises(MerError, match="the training part that the data comes with has no clip of tense"):
        splits_from_protocol([*_files(tmp_path, {"happy": 9}, "training"), *validation, *test], best, "given")
