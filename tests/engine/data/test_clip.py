"""A clip is its bytes; the clips that a model has not heard are found by them, or by their paths."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from merkit.engine.data.clip import (
    Clip,
    clip_names,
    heard_clips,
    heard_text,
    held_out_clips,
    id_or_none,
    unheard_clips,
)
from merkit.engine.errors import MerError


def _clips(root: Path, **content: str) -> list[Clip]:
    """Files of this content under a folder a label; ``__`` in a name stands for the slash."""
    clips = []
    for name, text in content.items():
        path = root / f"{name.replace('__', '/')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        clips.append(Clip(path, path.parent.name, "", name=path.relative_to(root).as_posix()))
    return clips


def test_a_clip_is_its_bytes(tmp_path: Path):
    first, second = _clips(tmp_path, happy__a="one", sad__b="two")
    assert first.id == hashlib.sha256(b"one").hexdigest()
    assert clip_names([second, first]) == [
        {"id": first.id, "path": "happy/a.wav"},
        {"id": second.id, "path": "sad/b.wav"},
    ]


def test_what_a_network_heard_is_found_by_its_bytes_wherever_it_lies(tmp_path: Path):
    clips = _clips(tmp_path, happy__a="one", happy__b="two", sad__c="three")
    text = heard_text(clips[:2])
    expected = sorted(hashlib.sha256(content).hexdigest()[:16] for content in (b"one", b"two"))
    assert text == " ".join(expected)
    assert heard_text([*clips[:2], clips[0]]) == text
    (tmp_path / "moved").mkdir()
    clips[1].path.rename(tmp_path / "moved" / "x.wav")
    moved = [clips[2], Clip(tmp_path / "moved" / "x.wav", "happy", "")]
    gone = Clip(tmp_path / "gone.wav", "sad", "")
    assert heard_clips([*moved, gone], {"heard_clips": text}) == {1}
    for nothing in ({}, {"heard_clips": None}, {"heard_clips": 3}, {"heard_clips": [expected[0]]}):
        assert heard_clips(clips, nothing) is None


def test_new_to_a_network_is_what_it_held_out_or_what_shares_no_group_with_what_it_heard(tmp_path: Path):
    files = _clips(tmp_path, a="1", b="2", c="3", d="4")
    clips = [
        Clip(clip.path, "happy", group, name=clip.name) for clip, group in zip(files, "xxyz", strict=True)
    ]
    heard = {"test_clips": [], "heard_clips": heard_text(clips[:1])}
    assert unheard_clips(clips, heard) == [2, 3]
    # What came later, by others than it heard, is as new as what it held out.
    assert unheard_clips(clips, {**heard, "test_clips": clip_names([clips[3]])}) == [2, 3]
    at_random = {"test_clips": clip_names([clips[1]]), "heard_clips": heard_text(clips[:1])}
    assert unheard_clips(clips, at_random) == [2, 3]  # 1 is by whom it heard
    assert unheard_clips(clips[:2], at_random) == [1]  # there is nothing better
    assert unheard_clips(clips, {"test_clips": clip_names([clips[1]])}) == [1]
    assert unheard_clips(clips, {}) == []  # an older model: nothing is known
    assert unheard_clips(clips, {**heard, "heard_clips": heard_text(clips)}) == []


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**33)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (_fifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to(path), "cannot be opened"),
        (Path.mkdir, "not a regular file"),
        (Path.touch, "empty"),
        (_sparse, "larger than 4 GiB"),
    ],
)
def test_only_regular_files_of_some_size_are_read(tmp_path: Path, make: Any, reason: str):
    make(tmp_path / "x.wav")
    clip = Clip(tmp_path / "x.wav", "happy", "x")
    with pytest.raises(MerError, match=rf"x\.wav .*{reason}"):
        _ = clip.id
    assert id_or_none(clip) is None


def test_held_out_clips_are_found_after_a_move(tmp_path: Path):
    names = clip_names(_clips(tmp_path / "then", happy__a="one", sad__b="two")[:1])
    moved = _clips(tmp_path / "now", sad__x="two", happy__z="one", happy__a="three")
    assert [moved[i].name for i in held_out_clips(moved, {"test_clips": names})] == ["happy/z.wav"]


def test_held_out_clips_are_found_after_a_tagger(tmp_path: Path):
    """Their bytes have changed; the path below the data folder still tells them."""
    clips = _clips(tmp_path, happy__a="one", sad__b="two")
    names = clip_names(clips[:1])
    tagged = [*_clips(tmp_path, happy__a="one, with tags"), clips[1]]
    assert [tagged[i].name for i in held_out_clips(tagged, {"test_clips": names})] == ["happy/a.wav"]


def test_held_out_clips_whose_stems_repeat_are_told_apart(tmp_path: Path):
    clips = _clips(tmp_path, happy__01="one", sad__01="two", happy__02="three", sad__02="four")
    assert held_out_clips(clips, {"test_clips": clip_names([clips[1], clips[2]])}) == [1, 2]


@pytest.mark.parametrize("others", [{}, {"sad__c": "six"}])
def test_clips_of_the_training_are_not_held_out_under_the_names_of_others(
    tmp_path: Path, others: dict[str, str]
):
    """Files that were numbered anew have the paths of other clips."""
    clips = _clips(tmp_path / "then", happy__a="1", happy__b="2", sad__a="3", sad__b="4", sad__c="5")
    held_out = [clips[0], clips[2], clips[4]]
    provenance = {"test_clips": clip_names(held_out), "heard_clips": heard_text([clips[1], clips[3]])}
    assert held_out_clips(clips, provenance) == [0, 2, 4]
    numbered = _clips(tmp_path / "now", happy__a="2", sad__a="4", **others)
    assert held_out_clips(numbered, provenance) == []
    assert held_out_clips([*numbered, clips[4]], provenance) == [len(numbered)]
    assert held_out_clips(numbered, {**provenance, "test_clips": [{"path": "happy/a.wav"}]}) == []


def test_held_out_clips_are_found_where_a_tagger_changed_every_file(tmp_path: Path):
    """No id is known, and all but these were trained on."""
    clips = _clips(tmp_path, happy__a="one", sad__b="two", sad__c="three")
    provenance = {"test_clips": clip_names(clips[:1]), "heard_clips": heard_text(clips[1:])}
    tagged = _clips(tmp_path, happy__a="one, tagged", sad__b="two, tagged", sad__c="three, tagged")
    assert unheard_clips(tagged, provenance) == [0]
    assert unheard_clips([*tagged[:2], clips[2]], provenance) == [0]  # b, which it heard, is not recognized


@pytest.mark.parametrize("others", ["tagged", "gone"])
def test_clips_of_the_training_are_not_new_where_a_tagger_changed_them(tmp_path: Path, others: str):
    """Those held out are as they were: nothing else shows that the others have changed."""
    files = _clips(tmp_path, a="1", b="2", c="3", d="4")
    clips = [Clip(clip.path, "happy", clip.name, name=clip.name) for clip in files]
    provenance = {"test_clips": clip_names(clips[:1]), "heard_clips": heard_text(clips[1:3])}
    assert unheard_clips(clips, provenance) == [0, 3]
    if others == "tagged":
        files[1].path.write_text("2, tagged")
        clips = [Clip(clip.path, clip.label, clip.group, name=clip.name) for clip in clips]
    else:  # which of the two it is cannot be told
        del clips[1]
    assert unheard_clips(clips, provenance) == [0]


@pytest.mark.parametrize(
    "names",
    [None, 3, [], {}, "a", [{}], [{"id": None, "path": None}], [{"id": ["x"]}], [[1]], ["a"], [{"path": ""}]],
)
def test_provenance_of_any_content_lists_nothing(tmp_path: Path, names: Any):
    clips = [*_clips(tmp_path, happy__a="one"), Clip(tmp_path / "gone.wav", "sad", "")]
    assert held_out_clips(clips, {"test_clips": names}) == []
    assert unheard_clips(clips, {"test_clips": names, "heard_clips": ""}) == [0, 1]
