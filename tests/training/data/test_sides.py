"""What stands on both sides of a split is counted on what was split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from merkit.engine.data.labelled_audio import Clip
from merkit.training.data.examples import Examples
from merkit.training.data.sides import Shared, shared_sound, two_labels
from merkit.training.data.splits import Split

NONE = np.arange(0)


def _clip(folder: Path, name: str, group: str, content: str = "", label: str = "happy") -> Clip:
    path = folder / name
    path.write_text(content or name)
    return Clip(path, label, group, name=name)


def _examples(
    clips: list[Clip], copies: tuple[tuple[int, ...], ...] = (), grouped_by: str = "artist"
) -> Examples:
    empty = tuple(np.zeros((1, 1), np.float32) for _ in clips)
    numbers = np.arange(len(clips))
    return Examples(
        tuple(clips),
        empty,
        empty,
        numbers * 0,
        numbers,
        tuple(clips),
        ("happy", "sad"),
        grouped_by,
        (),
        copies,
    )


def _split(training: list[int], test: list[int], validation: list[int] | None = None) -> Split:
    return Split("random", np.asarray(training), np.asarray(validation or NONE), np.asarray(test), "")


def test_each_song_is_counted_once_by_what_is_closest(tmp_path: Path):
    clips = [
        _clip(tmp_path, "a", "one", "same bytes"),
        _clip(tmp_path, "b", "two"),
        _clip(tmp_path, "c", "three"),
        _clip(tmp_path, "copy of a", "one", "same bytes"),
        _clip(tmp_path, "near b", "two"),
        _clip(tmp_path, "other of three", "three"),
        _clip(tmp_path, "new", "four"),
    ]
    examples = _examples(clips, ((1, 4),))
    shared = shared_sound(examples, _split([0, 1], [3, 4, 5, 6], [2]))
    assert shared == Shared(4, files=1, near_copies=1, groups=1, first=("near b", "b"))
    assert shared.sentence("artist") == (
        "of 4 test songs 1 stands in training as well, 1 is a near copy of a training clip, the first near b "
        "(of b), 1 has its artist in training"
    )
    apart = shared_sound(examples, _split([0, 1, 2, 3, 4, 5], [6]))
    assert apart.nothing
    assert apart.sentence("artist") == "no recording and no artist stands on both sides"
    assert apart.sentence("recording") == "no recording stands on both sides"
    assert shared_sound(examples, _split([1], [0, 2])).sentence("clip") == "no recording stands on both sides"


def test_groups_that_are_not_known_are_not_counted(tmp_path: Path):
    clips = [_clip(tmp_path, "a", "same"), _clip(tmp_path, "b", "same")]
    assert shared_sound(_examples(clips, grouped_by="clip"), _split([0], [1])).nothing
    assert not shared_sound(_examples(clips), _split([0], [1])).nothing


def test_copies_under_two_labels_are_named(tmp_path: Path):
    clips = [
        _clip(tmp_path, name, name, label=label)
        for name, label in (("a", "happy"), ("b", "sad"), ("c", "sad"))
    ]
    assert two_labels(_examples(clips, ((0, 2),))) == [("a (happy)", "c (sad)")]
    assert two_labels(_examples(clips, ((1, 2),))) == []
