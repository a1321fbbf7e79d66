"""One clip for one content, and one group for all groups that share one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled_files import write_tone
from merkit.engine.data import distinct
from merkit.engine.data.artists import artist_keys
from merkit.engine.data.clip import Clip, Part
from merkit.engine.data.distinct import distinct_clips
from merkit.engine.data.notes import Notes
from merkit.engine.errors import MerError


def _clip(root: Path, name: str, content: str, group: str = "", label: str = "up", part: Part = "") -> Clip:
    write_tone(root / name, content)
    return Clip(root / name, label, group, name=name, part=part)


def _distinct(clips: list[Clip]) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    notes = Notes()
    return [(clip.name, clip.group) for clip in distinct_clips(clips, notes)], notes.lines()


def test_copies_are_left_out(tmp_path: Path):
    clips = [_clip(tmp_path, name, text) for name, text in (("d", "2"), ("c", "1"), ("b", "1"), ("a", "3"))]
    assert _distinct(clips) == (
        [("d", "clip:d"), ("b", "clip:b"), ("a", "clip:a")],
        ("left out, a copy of another clip: c (= b)",),
    )


def test_a_repeated_row_changes_nothing(tmp_path: Path):
    a, b = (_clip(tmp_path, name, name) for name in "ab")
    gone = Clip(tmp_path / "gone.wav", "up", "", name="gone")
    spelt = Clip(tmp_path / "." / ".." / tmp_path.name / "a", "up", "", name="a")
    once, _ = _distinct([a, b, gone])
    repeated, notes = _distinct([a, b, spelt, gone, Clip(gone.path, "up", "", name="gone")])
    assert repeated == once == [("a", "clip:a"), ("b", "clip:b"), ("gone", "clip:gone")]
    assert notes == ("left out, a file that is listed again: 2, the first a",)


def test_a_link_is_a_copy(tmp_path: Path):
    a = _clip(tmp_path, "a", "1")
    (tmp_path / "b").symlink_to(a.path)
    (tmp_path / "c").hardlink_to(a.path)
    linked = [Clip(tmp_path / name, "up", "", name=name) for name in "cb"]
    assert _distinct([*linked, a])[0] == [("a", "clip:a")]


def test_groups_that_share_a_content_are_one(tmp_path: Path):
    clips = [
        _clip(tmp_path, "a", "1", "Ann"),
        _clip(tmp_path, "b", "1", "Bob"),
        _clip(tmp_path, "c", "2", "Bob"),
        _clip(tmp_path, "d", "3", "Cid"),
        _clip(tmp_path, "e", "2", ""),
        _clip(tmp_path, "f", "4", "Cid"),
        _clip(tmp_path, "g", "4", "Bob"),
    ]
    kept, notes = _distinct(clips)
    assert [name for name, _ in kept] == ["a", "c", "d", "f"]
    assert len({group for _, group in kept}) == 1
    assert "groups taken as one, for one file is in both: 2, the first 'Ann' and 'Bob'" in notes


def test_a_copy_brings_its_group(tmp_path: Path):
    clips = [_clip(tmp_path, "a", "1"), _clip(tmp_path, "b", "1", "Ann"), _clip(tmp_path, "c", "2", "Ann")]
    assert _distinct(clips)[0] == [("a", "Ann"), ("c", "Ann")]


def test_groups_that_a_reader_takes_for_one(tmp_path: Path):
    spellings = ("Béla", "be\u0301la ", "BÉLA", "Bela")
    clips = [_clip(tmp_path, str(i), str(i), group) for i, group in enumerate(spellings)]
    kept, notes = _distinct(clips)
    assert [group for _, group in kept] == ["Béla", "Béla", "Béla", "Bela"]
    assert len(notes) == 1
    assert notes[0].startswith("groups taken as one, for only their spelling differs: 'Béla' and 'b")


def test_groups_that_name_one_artist(tmp_path: Path):
    """A film song has two singers, each of whom sings with others."""
    cells = ("Ann", "Bob; Ann", "Cid feat. Bob", "Dan; Jr.", "Eve; Jr.", "Fay & Ann")
    clips = [
        dataclasses.replace(_clip(tmp_path, str(i), str(i), cell), artists=artist_keys(cell))
        for i, cell in enumerate(cells)
    ]
    kept, notes = _distinct(clips)
    assert [group for _, group in kept] == ["Ann", "Ann", "Ann", "Dan; Jr.", "Eve; Jr.", "Fay & Ann"]
    assert notes == ("groups taken as one, for they name one artist: 2, the first 'Ann' and 'Bob; Ann'",)
    # Whether a group is an artist the table says: of a source nobody knows what stands between semicolons.
    for of_a_source in (
        [dataclasses.replace(clip, artists=()) for clip in clips],
        [dataclasses.replace(clip, by_artist=False) for clip in clips],
    ):
        kept, notes = _distinct(of_a_source)
        assert [group for _, group in kept] == list(cells)
        assert notes == ()
    assert [clip.artists for clip in distinct_clips(of_a_source, Notes())[:2]] == [("ann",), ("bob", "ann")]
    # Of a group of artists each clip has all.
    assert {frozenset(clip.artists) for clip in distinct_clips(clips, Notes())[:3]} == {
        frozenset(("ann", "bob", "cid"))
    }


def test_a_clip_has_the_artists_of_its_copies(tmp_path: Path):
    clips = [
        dataclasses.replace(_clip(tmp_path, name, "1", cell), artists=artist_keys(cell))
        for name, cell in (("a", "Ann"), ("b", "Ann; Bob"))
    ]
    (clip,) = distinct_clips(clips, Notes())
    assert (clip.name, clip.artists) == ("a", ("ann", "bob"))


def test_names_of_files_tell_groups_apart_whatever_their_case(tmp_path: Path):
    clips = [_clip(tmp_path, name, name) for name in ("a", "A")]
    outside = [Clip(tmp_path / f"x{i}" / "1.wav", "up", "", name="1.wav") for i in range(2)]
    kept, notes = _distinct([*clips, *outside])
    assert len({group for _, group in kept}) == 4
    assert notes == ()


def test_two_labels_are_refused_by_name(tmp_path: Path):
    clips = [
        _clip(tmp_path, f"{label}{i}", str(i), label=label) for i in range(5) for label in ("up", "down")
    ]
    with pytest.raises(MerError) as caught:
        _distinct([*clips, _clip(tmp_path, "other", "x")])
    assert str(caught.value).startswith(
        "one sound stands under two labels: up0 (up) = down0 (down); up1 (up) = down1 (down); "
        "up2 (up) = down2 (down); and 2 more; decide"
    )


def test_files_without_a_sound_are_no_copies_of_each_other(tmp_path: Path):
    """They say nothing of labels and groups; who decodes them names each."""
    clips = [
        _clip(tmp_path, f"silent {label} {group}", "", group, label)
        for label in ("up", "down")
        for group in ("Ann", "Bob")
    ]
    for name in ("stub of a download", "empty"):
        for label in ("up", "down"):
            (tmp_path / f"{name} {label}").write_text("<html>404 not found" if name != "empty" else "")
            clips.append(Clip(tmp_path / f"{name} {label}", label, "", name=f"{name} {label}"))
    sounds = [_clip(tmp_path, "a", "1"), _clip(tmp_path, "b", "1")]
    kept, notes = _distinct([*clips, *sounds, dataclasses.replace(clips[0])])
    assert [name for name, _ in kept] == [*(clip.name for clip in clips), "a"]
    assert len({group for _, group in kept[:4]}) == 2
    assert notes == (
        "left out, a file that is listed again: silent up Ann",
        "left out, a copy of another clip: b (= a)",
    )


def test_of_two_parts_the_one_that_must_stay_unheard_has_it(tmp_path: Path):
    parts: dict[str, Part] = {"a": "training", "b": "validation", "c": "test"}
    clips = [_clip(tmp_path, name, "1", part=part) for name, part in parts.items()]
    clips.append(_clip(tmp_path, "d", "2", part="training"))
    kept, notes = _distinct(clips)
    assert [name for name, _ in kept] == ["c", "d"]
    assert notes == (
        "left out of training, for test has the same sound: a (= c)",
        "left out of validation, for test has the same sound: b (= c)",
    )


def test_no_file_is_read_twice(tmp_path: Path):
    (clip,) = distinct_clips([_clip(tmp_path, "a", "1")], Notes())
    clip.path.unlink()
    assert len(clip.id) == 64


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["", "g", "G ", "h", "i"])), max_size=10))
def test_no_sound_and_no_group_stand_in_two_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[int, str]]
):
    monkeypatch.setattr(distinct, "paths_that_sound", set)  # all: each example would start a process
    clips = [_clip(tmp_path, str(i), f"content {content}", group) for i, (content, group) in enumerate(drawn)]
    kept = distinct_clips(clips, Notes())
    assert len(kept) == len({content for content, _ in drawn})
    group_of = {clip.id: clip.group for clip in kept}
    groups: dict[str, set[str]] = {}
    for clip in clips:
        if clip.group:
            groups.setdefault(clip.group.strip().lower(), set()).add(group_of[clip.id])
    assert all(len(ends) == 1 for ends in groups.values())
    assert [clip.name for clip in kept] == sorted(
        (clip.name for clip in kept), key=lambda name: [c.name for c in clips].index(name)
    )
