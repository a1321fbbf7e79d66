"""Which clips score, and what is said of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from merkit.engine.data.labelled_audio import Clip, LabelledAudio, clip_names, labelled_audio
from merkit.engine.errors import MerError
from merkit.engine.spec import QUADRANTS, ModelSpec
from merkit.export.data_plan import DataPlan, sets_from_plan
from merkit.export.eval_set import eval_set_from_clips, split_clips, split_key
from small_networks import AUDIO, write_music


def data(count: int = 40) -> LabelledAudio:
    clips = tuple(
        Clip(Path(f"{i}.wav"), QUADRANTS[i % 4], f"artist {i // 4}", name=f"{i}.wav") for i in range(count)
    )
    return LabelledAudio(clips, QUADRANTS, "artist")


def holding_out(*names: str) -> dict[str, object]:
    """A provenance that lists clips by their paths alone."""
    return {"test_clips": [{"path": f"{name}.wav"} for name in names]}


def test_the_models_own_split_is_used() -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO, provenance=holding_out("1", "2", "7"))
    split = split_clips(data(), spec)
    assert sorted(clip.path.stem for clip in split.test) == ["1", "2", "7"]
    assert len(split.train) == 37
    assert "provenance holds out" in split.origin
    assert split.known


@pytest.mark.parametrize("provenance", [{}, holding_out("from elsewhere"), {"test_clips": 3}])
def test_without_one_a_split_by_artist_is_made_and_said(provenance: dict[str, object]) -> None:
    split = split_clips(data(), ModelSpec("x", QUADRANTS, AUDIO, provenance=provenance))
    assert not {clip.group for clip in split.test} & {clip.group for clip in split.train}
    assert len(split.test) == 8
    assert "80/20 by artist" in split.origin
    assert "may have been trained" in split.origin
    assert not split.known
    assert split == split_clips(data(), ModelSpec("x", QUADRANTS, AUDIO, provenance=provenance))


def test_labels_are_written_as_the_model_writes_them() -> None:
    spec = ModelSpec("x", ("HAPPY", "Tense", "sad", "calm"), AUDIO, provenance=holding_out("0", "1", "2"))
    split = split_clips(data(), spec)
    assert [clip.label for clip in split.test] == ["HAPPY", "Tense", "sad"]
    assert {clip.label for clip in split.train} == set(spec.labels)


def test_data_that_cannot_be_split_or_has_other_labels() -> None:
    with pytest.raises(MerError, match="too little data"):
        split_clips(data(8), ModelSpec("x", QUADRANTS, AUDIO))
    with pytest.raises(MerError, match="happy, sad, tense not in calm, party"):
        split_clips(data(), ModelSpec("x", ("calm", "party"), AUDIO))


def test_held_out_clips_are_decoded_with_their_labels(music: Path) -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO, provenance=holding_out("sad-0-0", "happy-1-1"))
    lines: list[str] = []
    eval_set = eval_set_from_clips(split_clips(labelled_audio(music), spec), spec, 1, lines.append)
    assert eval_set.truth is not None
    by_path = dict(zip((path.stem for path in eval_set.songs.paths), eval_set.truth.tolist(), strict=True))
    assert by_path == {"sad-0-0": QUADRANTS.index("sad"), "happy-1-1": QUADRANTS.index("happy")}
    assert (eval_set.kind, eval_set.short) == ("clips", "2 held-out clips")
    assert lines == ["no held-out clip is tense, calm: macro-F1 is over happy, sad"]


def test_unreadable_clips_and_a_made_split_are_warned_of(music: Path) -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO)
    split = split_clips(labelled_audio(music), spec)
    gone = dataclasses.replace(split.test[0], path=Path("/gone.wav"))
    lines: list[str] = []
    eval_set = eval_set_from_clips(
        dataclasses.replace(split, test=(gone, *split.test[1:])), spec, 1, lines.append
    )
    assert lines[0].startswith("warning: scored on a split of 80/20")
    assert lines[1:] == ["skipped /gone.wav: no such file"]
    assert eval_set.songs.failed == ((Path("/gone.wav"), "no such file"),)
    assert eval_set.truth is not None
    assert len(eval_set.truth) == len(eval_set.songs.songs) == len(split.test) - 1
    assert eval_set.short == f"{len(split.test) - 1} held-out clips"


def test_a_label_without_a_usable_clip_is_refused(music: Path) -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO)
    split = split_clips(labelled_audio(music), spec)
    test = [
        dataclasses.replace(clip, path=Path(f"/gone/{clip.name}")) if clip.label == "sad" else clip
        for clip in split.test
    ]
    with pytest.raises(MerError, match=r"no held-out clip of sad gives audio.*/gone/sad-"):
        eval_set_from_clips(dataclasses.replace(split, test=tuple(test)), spec, 1, lambda line: None)


def test_labels_that_the_data_lacks_are_said(music: Path) -> None:
    spec = ModelSpec("x", QUADRANTS, AUDIO)
    split = split_clips(labelled_audio(music), spec)
    test = tuple(clip for clip in split.test if clip.label in ("happy", "sad"))
    lines: list[str] = []
    eval_set = eval_set_from_clips(dataclasses.replace(split, test=test), spec, 1, lines.append)
    assert eval_set.labels == ("happy", "sad")
    assert lines[1:] == ["no held-out clip is tense, calm: macro-F1 is over happy, sad"]


def test_the_datas_own_test_part_is_scored_where_the_model_says_nothing() -> None:
    clips = tuple(
        dataclasses.replace(clip, part="test" if i % 10 == 3 else "training")
        for i, clip in enumerate(data().clips)
    )
    given = dataclasses.replace(data(), clips=clips)
    split = split_clips(given, ModelSpec("x", QUADRANTS, AUDIO))
    assert [clip.path.stem for clip in split.test] == ["3", "13", "23", "33"]
    assert "the test part that the data comes with" in split.origin
    assert not split.known
    spec = ModelSpec("x", QUADRANTS, AUDIO, provenance=holding_out("1", "2", "99"))
    split = split_clips(given, spec)
    assert [clip.path.stem for clip in split.test] == ["1", "2"]
    assert split.origin.endswith("holds out, 2 of 3")


def test_clips_of_one_stem_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    clips = []
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        for i in range(3):
            path = tmp_path / label / f"0{i}.wav"
            path.write_bytes(f"{label}{i}".encode())
            clips.append(Clip(path, label, "", name=f"{label}/0{i}.wav"))
    held_out = [clips[1], clips[5]]
    spec = ModelSpec("x", ("happy", "sad"), AUDIO, provenance={"test_clips": clip_names(held_out)})
    moved = [dataclasses.replace(clip, name=f"elsewhere/{clip.path.name}") for clip in clips]
    for found in (clips, moved):
        split = split_clips(LabelledAudio(tuple(found), ("happy", "sad"), "clip"), spec)
        assert [clip.path for clip in split.test] == [clip.path for clip in held_out]
        assert split.known


def heard_spec(*clips: Clip) -> ModelSpec:
    """A network that was trained on these clips, and held none out."""
    text = " ".join(sorted(clip.id[:16] for clip in clips))
    return ModelSpec("x", QUADRANTS, AUDIO, provenance={"test_clips": [], "heard_clips": text})


def test_a_model_that_heard_everything_is_only_compared(music: Path) -> None:
    clips = labelled_audio(music)
    spec = heard_spec(*clips.clips)
    split = split_clips(clips, spec)
    assert split.heard
    assert split.origin == "clips that the model was trained on: no accuracy is claimed"
    assert (len(split.train), len(split.test)) == (32, 8)
    assert not {clip.group for clip in split.test} & {clip.group for clip in split.train}
    lines: list[str] = []
    eval_set = eval_set_from_clips(split, spec, 1, lines.append)
    assert eval_set.heard
    assert eval_set.short == "8 clips that it was trained on"
    groups = {clip.path: clip.group for clip in clips.clips}
    assert eval_set.groups == tuple(groups[path] for path in eval_set.songs.paths)
    assert lines == [f"compared on {split.origin}"]
    _, calibration_set = sets_from_plan(spec, DataPlan(music, workers=1), lambda line: None)
    assert calibration_set is not None
    assert calibration_set.origin == split.origin


def test_what_a_model_heard_is_not_scored_under_the_names_of_what_it_held_out(music: Path) -> None:
    clips = labelled_audio(music)
    spec = heard_spec(*clips.clips)
    held_out = [{"id": "0" * 64, "path": clip.name} for clip in clips.clips[::4]]
    spec = dataclasses.replace(spec, provenance={**spec.provenance, "test_clips": held_out})
    split = split_clips(clips, spec)
    assert split.heard
    assert split.origin == "clips that the model was trained on: no accuracy is claimed"


def test_too_little_heard_data_is_compared_and_calibrates_whole(music: Path) -> None:
    clips = labelled_audio(music)
    few = dataclasses.replace(clips, clips=clips.clips[::10])
    split = split_clips(few, heard_spec(*few.clips))
    assert split.heard
    assert split.test == split.train == few.clips


def test_what_is_new_to_a_model_scores_and_what_it_heard_calibrates(tmp_path: Path) -> None:
    clips = labelled_audio(write_music(tmp_path, artists=6))
    heard = [clip for clip in clips.clips if clip.group.endswith("-0")]
    split = split_clips(clips, heard_spec(*heard))
    assert (split.known, split.heard) == (True, False)
    assert split.origin == "the 40 clips that are new to the model"
    assert sorted(clip.name for clip in split.train) == sorted(clip.name for clip in heard)
    # One clip of an artist gives the other away; then too little is left that is new.
    one_each = {clip.group: clip for clip in clips.clips}
    split = split_clips(clips, heard_spec(*one_each.values()))
    assert split.heard
    assert {clip.id for clip in (*split.test, *split.train)} == {clip.id for clip in one_each.values()}
    assert "(the 24 others are too few, or share a group with these)" in split.origin


def test_new_clips_without_one_of_the_labels_are_not_enough(music: Path) -> None:
    clips = labelled_audio(music)
    split = split_clips(clips, heard_spec(*(clip for clip in clips.clips if clip.label == "sad")))
    assert split.heard
    assert {clip.label for clip in split.test} == {"sad"}


def test_data_that_a_model_never_met_is_split_without_a_warning(music: Path) -> None:
    clips = labelled_audio(music)
    spec = ModelSpec("x", QUADRANTS, AUDIO, provenance={"heard_clips": "0123456789abcdef"})
    split = split_clips(clips, spec)
    assert (split.known, split.heard, len(split.test)) == (True, False, 8)
    assert split.origin.endswith("made now; the model was trained on none of these clips")


def test_models_that_heard_other_clips_share_no_split() -> None:
    one, other = (ModelSpec("x", QUADRANTS, AUDIO, provenance={"heard_clips": text}) for text in ("a", "b"))
    assert split_key(one) != split_key(other)
    assert split_key(one) == split_key(dataclasses.replace(one, backbone="y"))
