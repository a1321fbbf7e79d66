"""Labelled audio is read as it lies there, and what is wrong with it is said in a line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from merkit.engine.data.labelled_audio import Clip, clip_names, held_out_clips, labelled_audio
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spec import MER500_LABELS, QUADRANTS


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_emotion4q_is_grouped_by_artist(tmp_path: Path):
    _touch(tmp_path, "Q1/a.mp3", "Q2/b.mp3", "Q3/c.mp3", "Q4/d.mp3", "Q4/e.mp3", "Q4/notes.txt")
    (tmp_path / "clips.csv").write_text(
        "clip,quadrant,artist,genres\na,Q1,Ann,Jazz; Pop/Rock;Jazz\nb,Q2,Ann,\nc,Q3,Bob\nd,Q4,Bob,\ne,Q4,,\n"
    )
    data = labelled_audio(tmp_path)
    assert data.labels == QUADRANTS
    assert data.grouped_by == "artist"
    assert [(c.path.stem, c.label, c.group) for c in data.clips] == [
        ("a", "happy", "Ann"),
        ("b", "tense", "Ann"),
        ("c", "sad", "Bob"),
        ("d", "calm", "Bob"),
        ("e", "calm", "clip:Q4/e.mp3"),
    ]
    assert [c.tags for c in data.clips] == [("Jazz", "Pop/Rock"), (), (), (), ()]


def test_mer500_as_the_archive_unpacks(tmp_path: Path):
    _touch(tmp_path, *(f"{name.title()}/{name.title()}/{name}1.wav" for name in MER500_LABELS))
    data = labelled_audio(tmp_path)
    assert data.labels == ("sad", "romantic", "devotional", "party", "happy")
    assert [c.label for c in data.clips] == list(data.labels)
    assert data.grouped_by == "clip"


def test_jumusemodb_and_folders(tmp_path: Path):
    data = labelled_audio(_touch(tmp_path / "ju", "Happy/1.wav", "Sad/1.wav"))
    assert (data.labels, data.grouped_by) == (("happy", "sad"), "recording")
    data = labelled_audio(_touch(tmp_path / "any", "b/x/1.wav", "a/1.flac", ".hidden/1.wav"))
    assert (data.labels, data.grouped_by) == (("a", "b"), "clip")


def test_csv_with_and_without_groups(tmp_path: Path):
    file = tmp_path / "songs.csv"
    file.write_text("path,label,group\nx/1.wav,up,Ann\nx/2.wav,down,\n", encoding="utf-8-sig")
    data = labelled_audio(file)
    assert [(c.path, c.label, c.group) for c in data.clips] == [
        (tmp_path / "x/1.wav", "up", "Ann"),
        (tmp_path / "x/2.wav", "down", "clip:x/2.wav"),
    ]
    assert (data.labels, data.grouped_by) == (("down", "up"), "group")
    assert labelled_audio(file, labels=("up", "down")).labels == ("up", "down")
    file.write_text("path,label,tags\n1.wav,up,Jazz ; Blues;\n2.wav,down,\n")
    assert [c.tags for c in labelled_audio(file).clips] == [("Jazz", "Blues"), ()]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,mood\n1.wav,up\n", "no column label"),
        ("path,label\n1.wav,up\n2.wav,\n", "1 rows without a label; the first is 2.wav"),
        ("path,label\n", "has no rows"),
        ("path,label\n1.wav,up\n2.wav,up\n", "only one label, up"),
        ("path,label\n1.wav,\xff", "cannot be read as CSV"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path: Path, text: str, reason: str):
    file = tmp_path / "songs.csv"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(MerError, match=reason):
        labelled_audio(file)


def test_labels_that_a_model_does_not_have(tmp_path: Path):
    file = tmp_path / "songs.csv"
    file.write_text("path,label\n1.wav,happy\n2.wav,angry\n3.wav,angry\n4.wav,sad\n")
    with pytest.raises(MerError, match=r"none of happy, sad: angry \(2\); the first is .*2.wav"):
        labelled_audio(file, labels=("happy", "sad"))
    with pytest.raises(MerError, match="no audio for tense"):
        labelled_audio(file, labels=("happy", "sad", "angry", "tense"))


def test_folders_that_cannot_be_used(tmp_path: Path):
    with pytest.raises(MerError, match="does not exist"):
        labelled_audio(tmp_path / "nothing")
    with pytest.raises(MerError, match="holds no folders"):
        labelled_audio(tmp_path)
    _touch(tmp_path, "a/1.wav")
    with pytest.raises(MerError, match="only one label, a"):
        labelled_audio(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(MerError, match="no audio for b"):
        labelled_audio(tmp_path)
    with pytest.raises(UsageError, match="unknown layout 'c'; known: auto, emotion4q"):
        labelled_audio(tmp_path, "c")
    with pytest.raises(MerError, match="has no audio for happy, tense, sad, calm"):
        labelled_audio(tmp_path, "emotion4q")


def _clips(root: Path, **content: str) -> list[Clip]:
    """Files of this content under a folder a label; ``__`` in a name stands for the slash."""
    for name, text in content.items():
        path = root / f"{name.replace('__', '/')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(labelled_audio(root).clips)


def test_a_clip_is_its_bytes(tmp_path: Path):
    first, second = _clips(tmp_path, happy__a="one", sad__b="two")
    assert first.id == hashlib.sha256(b"one").hexdigest()
    assert (first.name, second.name) == ("happy/a.wav", "sad/b.wav")
    assert clip_names([second, first]) == [
        {"id": first.id, "path": "happy/a.wav"},
        {"id": second.id, "path": "sad/b.wav"},
    ]
    with pytest.raises(MerError, match=r"gone\.wav cannot be read: no such file"):
        _ = Clip(tmp_path / "gone.wav", "happy", "x").id


def test_the_name_of_a_csvs_clip_is_below_its_folder(tmp_path: Path):
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "songs.csv"
    file.write_text(f"path,label\nsub/1.wav,up\n{tmp_path}/private/2.wav,down\n")
    assert [clip.name for clip in labelled_audio(file).clips] == ["sub/1.wav", "2.wav"]


def test_held_out_clips_are_found_after_a_move(tmp_path: Path):
    names = clip_names(_clips(tmp_path / "then", happy__a="one", sad__b="two")[:1])
    moved = _clips(tmp_path / "now", sad__x="two", happy__z="one", happy__a="three")
    assert [moved[i].name for i in held_out_clips(moved, names)] == ["happy/z.wav"]
    assert held_out_clips(moved, []) == held_out_clips(moved, None) == held_out_clips(moved, 3) == []


def test_held_out_clips_are_found_after_a_tagger(tmp_path: Path):
    """Their bytes have changed; the path below the data folder still tells them."""
    clips = _clips(tmp_path, happy__a="one", sad__b="two")
    names = clip_names(clips[:1])
    tagged = _clips(tmp_path, happy__a="one, with tags")
    assert [tagged[i].name for i in held_out_clips(tagged, names)] == ["happy/a.wav"]


def test_stems_of_older_models_still_tell_clips_apart_or_are_refused(tmp_path: Path):
    clips = _clips(tmp_path, happy__a="one", sad__a="two", sad__b="three")
    assert [clips[i].name for i in held_out_clips(clips, ["b"])] == ["sad/b.wav"]
    assert [clips[i].name for i in held_out_clips(clips, ["happy/a", "sad/b"])] == [
        "happy/a.wav",
        "sad/b.wav",
    ]
    assert held_out_clips(clips, ["from elsewhere"]) == []
    with pytest.raises(MerError, match="names the clip 'a', and several have that name") as caught:
        held_out_clips(clips, ["b", "a"])
    assert "happy/a.wav" in str(caught.value)
