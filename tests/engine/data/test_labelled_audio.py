"""Labelled audio is read whole, each sound once; what is left out is said, and faults end in a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from labelled_files import write_files
from merkit.engine.data.labelled_audio import LAYOUTS, LabelledAudio, labelled_audio
from merkit.engine.errors import MerError, UsageError


def _csv(folder: Path, text: str) -> LabelledAudio:
    (folder / "songs.csv").write_text(text)
    return labelled_audio(folder / "songs.csv")


def test_a_clip_without_a_known_group_is_one(tmp_path: Path):
    write_files(tmp_path, "b/x/1.wav", "a/1.flac", "a/2.wav")
    data = labelled_audio(tmp_path)
    assert (data.labels, data.grouped_by, data.notes) == (("a", "b"), "clip", ())
    assert [(clip.name, clip.group) for clip in data.clips] == [
        ("a/1.flac", "clip:a/1.flac"),
        ("a/2.wav", "clip:a/2.wav"),
        ("b/x/1.wav", "clip:b/x/1.wav"),
    ]
    (tmp_path / "clips.csv").write_text("clip,artist\na/1, Ann \na/2,\nx/1,ann\nb/x/1,ann\n")
    write_files(tmp_path, "b/x/1.wav")
    data = labelled_audio(tmp_path)
    assert (data.grouped_by, [clip.group for clip in data.clips]) == (
        "artist",
        ["Ann", "clip:a/2.wav", "Ann"],
    )
    assert data.notes == (
        "in clips.csv without a file: x/1",
        "groups taken as one, for only their spelling differs: ' Ann ' and 'ann'",
        "a group of its own, for it has no artist: a/2.wav",
    )


def test_jumusemodb(tmp_path: Path):
    data = labelled_audio(write_files(tmp_path, "Sad/1.wav", "Happy/2.wav"))
    assert (data.labels, data.grouped_by) == (("happy", "sad"), "recording")


def test_csv_with_and_without_groups(tmp_path: Path):
    data = _csv(tmp_path, "path,label,group\nx/1.wav,up,Ann\nx/2.wav,down,\n")
    assert [(c.path, c.name, c.label, c.group) for c in data.clips] == [
        (tmp_path / "x/1.wav", "x/1.wav", "up", "Ann"),
        (tmp_path / "x/2.wav", "x/2.wav", "down", "clip:x/2.wav"),
    ]
    assert (data.labels, data.grouped_by) == (("down", "up"), "group")
    assert labelled_audio(tmp_path / "songs.csv", labels=("up", "down")).labels == ("up", "down")
    data = _csv(tmp_path, "path,label,tags,subset\n1.wav,up,Jazz ; Blues;,val\n2.wav,down,,test\n")
    assert [(c.tags, c.part) for c in data.clips] == [(("Jazz", "Blues"), "validation"), ((), "test")]
    assert data.grouped_by == "clip"
    data = labelled_audio(tmp_path / "songs.csv", group_by="tags")
    assert data.grouped_by == "tags"


def test_paths_as_other_systems_write_them(tmp_path: Path):
    folder = write_files(tmp_path / "data", "x/1.wav", "x/e\u0301.wav", "3\\4.wav", " 5.wav")
    outside = write_files(tmp_path / "private", "6.wav") / "6.wav"
    rows = ["x\\1.wav", "x/\u00e9.wav", "3\\4.wav", " 5.wav", str(outside), " x/1.wav "]
    data = _csv(
        folder, "path,label\n" + "".join(f"{row},{'up' if i % 5 else 'down'}\n" for i, row in enumerate(rows))
    )
    assert [clip.name for clip in data.clips] == ["x/1.wav", "x/e\u0301.wav", "3\\4.wav", " 5.wav", "6.wav"]
    assert all(clip.path.is_file() for clip in data.clips)
    assert data.notes == ("left out, a file that is listed again: x/1.wav",)


def test_urls(tmp_path: Path):
    folder = write_files(tmp_path / "data", "a b.wav", "c%20d.wav")
    urls = [f"file://{folder}/a%20b.wav", f"FILE://localhost{folder}/c%20d.wav", f"file:{folder}/gone%20.wav"]
    rows = "".join(f"{url},{label}\n" for url, label in zip(urls, ("up", "down", "up"), strict=True))
    data = _csv(folder, f"path,label\n{rows}")
    assert [clip.path for clip in data.clips] == [
        folder / name for name in ("a b.wav", "c%20d.wav", "gone .wav")
    ]
    with pytest.raises(
        MerError, match=r"songs\.csv names https://a/b\.wav: copy the clips to this machine, and"
    ):
        _csv(folder, "path,label\na b.wav,up\nhttps://a/b.wav,down\n")


def test_one_file_spelt_in_two_ways_and_copies_are_one_clip(tmp_path: Path):
    write_files(tmp_path, a="1", b="2", c="3", copy="1")
    data = _csv(tmp_path, "path,label\na.wav,up\n./a.wav,up\nb.wav,down\nc.wav,up\ncopy.wav,up\n,up\n")
    assert [(clip.name, clip.group) for clip in data.clips] == [
        ("a.wav", "clip:a.wav"), ("b.wav", "clip:b.wav"), ("c.wav", "clip:c.wav"),
    ]  # fmt: skip
    assert data.notes == (
        "left out, a row without a path: 'up'",
        "left out, a file that is listed again: a.wav",
        "left out, a copy of another clip: copy.wav (= a.wav)",
    )


def test_a_tilde_is_the_home_unless_a_name_begins_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_files(tmp_path, "home/a.wav", "home/b.wav", "~c.wav", "~/d.wav", "home/d.wav")
    data = _csv(tmp_path, "path,label\n~/a.wav,up\n~\\b.wav,down\n~c.wav,up\n~/d.wav,down\n")
    assert {str(clip.path.relative_to(tmp_path)) for clip in data.clips} == {
        "home/a.wav", "home/b.wav", "~c.wav", "~/d.wav",
    }  # fmt: skip


def test_groups_that_differ_by_blanks_are_one(tmp_path: Path):
    write_files(tmp_path, *(f"{i}.wav" for i in range(4)))
    data = _csv(
        tmp_path, "path,label,group\n0.wav,up,art0\n1.wav,down,art0 \n2.wav,up,art1\n3.wav,down,ART1\n"
    )
    assert [clip.group for clip in data.clips] == ["art0", "art0", "art1", "art1"]
    assert data.notes == (
        "groups taken as one, for only their spelling differs: 2, the first 'art0' and 'art0 '",
    )


def test_labels_that_differ_by_blanks_are_one(tmp_path: Path):
    data = _csv(tmp_path, "path,label\n1.wav,happy\n2.wav,happy \n3.wav,sad\n4.wav,e\u0301\n5.wav,\u00e9\n")
    assert data.labels == ("happy", "sad", "\u00e9")
    assert {clip.label for clip in data.clips} == set(data.labels)
    assert data.notes == (
        "labels taken as one, for only blanks or the Unicode form differ: 2, the first 'happy', 'happy '",
    )


@pytest.mark.parametrize("other", ["Happy", "HAPPY", "\uff48appy", "hap\u200bpy"])
def test_labels_of_which_only_the_spelling_differs_are_refused(tmp_path: Path, other: str):
    with pytest.raises(MerError, match=r"only the spelling differs: 'happy', .*write them alike") as caught:
        _csv(tmp_path, f"path,label\n1.wav,happy\n2.wav,{other}\n3.wav,sad\n")
    assert repr(other) in str(caught.value)
    write_files(tmp_path / "data", "train/happy/1.wav", f"test/{other}/2.wav", "train/sad/3.wav")
    with pytest.raises(MerError, match="only the spelling differs"):
        labelled_audio(tmp_path / "data")


def test_labels_that_are_one_number_are_refused(tmp_path: Path):
    """A column of whole numbers with a gap in it is written with fractions."""
    with pytest.raises(MerError, match=r"only the spelling differs: '1', '1\.0'; write them alike"):
        _csv(tmp_path, "path,label\na.wav,1\nb.wav,1.0\nc.wav,2\n")
    data = _csv(tmp_path, "path,label\na.wav,1\nb.wav,1.5\nc.wav,v1\nd.wav,v1.0\ne.wav,10\n")
    assert data.labels == ("1", "1.5", "10", "v1", "v1.0")


@pytest.mark.parametrize("as_folders", [False, True])
def test_a_song_by_two_artists_is_both_ones(tmp_path: Path, as_folders: bool):
    write_files(tmp_path, *(f"{'ab'[i % 2]}/{i}.wav" for i in range(5)))
    artists = (
        "Arijit Singh",
        "Arijit Singh; Shreya Ghoshal",
        "Various Artists",
        "Ann (feat. shreya ghoshal)",
    )
    rows = [f"{'ab'[i % 2]}/{i}.wav,{'ab'[i % 2]},{artist}\n" for i, artist in enumerate((*artists, "Bob"))]
    (tmp_path / "clips.csv").write_text("path,label,artist\n" + "".join(rows))
    data = labelled_audio(tmp_path if as_folders else tmp_path / "clips.csv")
    groups = {clip.path.stem: clip.group for clip in data.clips}
    assert len({groups[name] for name in "013"}) == 1
    assert (groups["2"], groups["4"], data.grouped_by) == ("clip:a/2.wav", "Bob", "artist")
    assert "taken for no artist: 'Various Artists'" in data.notes
    assert "a group of its own, for it has no artist: a/2.wav" in data.notes
    assert any(note.startswith("groups taken as one, for they name one artist: 2") for note in data.notes)


def test_one_sound_under_two_labels_is_refused(tmp_path: Path):
    write_files(tmp_path, happy__a="1", sad__b="1", sad__c="2")
    with pytest.raises(MerError, match=r"two labels: happy/a\.wav \(happy\) = sad/b\.wav \(sad\); decide"):
        labelled_audio(tmp_path)
    write_files(tmp_path, a="1")
    with pytest.raises(MerError, match=r"two labels: a\.wav \(up\) = a\.wav \(down\)"):
        _csv(tmp_path, "path,label\na.wav,up\n./a.wav,down\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,mood\n1.wav,up\n", "no column label"),
        ("path,label\n1.wav,up\n2.wav, \n", "1 rows without a label; the first is 2.wav"),
        ("path,label\n", "has no rows"),
        ("path,label\n,up\n ,down\n", "names no clip"),
        ("path,label\n1.wav,up\n2.wav,up\n", "only one label, up"),
        ("path,label\n1.wav,a\x1b[2J\n2.wav,up\n", r"a label with control characters: 'a.x1b\[2J'"),
        ("path,label\n1.wav,\u200b\n2.wav,up\n", "a label whose name '.u200b' is blank"),
        ("path,label,split\n1.wav,up,train\n2.wav,down,fold2\n", "1 of 2 clips into no part of its split"),
    ],
)  # fmt: skip
def test_a_csv_that_cannot_be_used(tmp_path: Path, text: str, reason: str):
    with pytest.raises(MerError, match=reason):
        _csv(tmp_path, text)


def test_names_whose_bytes_are_no_text(tmp_path: Path):
    folder = os.fsdecode(b"caf\xe9")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / os.fsdecode(b"\xff.wav")).write_text("1")
    data = labelled_audio(write_files(tmp_path, "up/2.wav"))
    assert data.labels == ("caf\\xe9", "up")
    assert [clip.name for clip in data.clips] == ["caf\\xe9/\\xff.wav", "up/2.wav"]
    assert len(data.clips[0].id) == 64


def test_labels_that_a_model_does_not_have(tmp_path: Path):
    _csv(tmp_path, "path,label\n1.wav,happy\n2.wav,angry\n3.wav,angry\n4.wav,sad\n")
    file = tmp_path / "songs.csv"
    with pytest.raises(MerError, match=r"none of happy, sad: angry \(2\); the first is .*2.wav"):
        labelled_audio(file, labels=("happy", "sad"))
    with pytest.raises(MerError, match="no audio for tense"):
        labelled_audio(file, labels=("happy", "sad", "angry", "tense"))
    data = labelled_audio(file, labels=(" happy", "sad", "angry"))  # as an older model has it
    assert data.labels == (" happy", "sad", "angry")
    assert {clip.label for clip in data.clips} == set(data.labels)
    data = labelled_audio(file, labels=("HAPPY", "Sad", "angry"))
    assert [clip.label for clip in data.clips] == ["HAPPY", "angry", "angry", "Sad"]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (("happy", "sad", "happy"), "labels must differ: happy, happy"),
        (("happy", "Happy ", "sad"), "labels must differ: happy, Happy"),
        (("happy", "", "sad"), "one of the labels 'happy', '', 'sad' is blank"),
        ((" ",), "is blank"),
        ((), "no labels are named"),
    ],
)
def test_labels_that_no_model_has(tmp_path: Path, labels: tuple[str, ...], reason: str):
    with pytest.raises(UsageError, match=reason):
        labelled_audio(write_files(tmp_path, "happy/1.wav", "sad/2.wav"), labels=labels)


@pytest.mark.parametrize("above", ["data", "set-main/data"])
def test_a_folder_around_the_labels_is_looked_into(tmp_path: Path, above: str):
    """As archives unpack, and Kaggle's data sets lie."""
    write_files(tmp_path, f"{above}/happy/1.wav", f"{above}/sad/2.wav")
    named = f"if the labels are the folders in {tmp_path / above}, name that one$"
    with pytest.raises(MerError, match=rf"only one label, {Path(above).parts[0]}: .*; {named}"):
        labelled_audio(tmp_path)
    assert labelled_audio(tmp_path / above).labels == ("happy", "sad")


def test_one_label_alone_is_no_folder_around_others(tmp_path: Path):
    write_files(tmp_path, "data/happy/1.wav", "data/happy/2.wav")
    (tmp_path / "data" / "happy" / "again").symlink_to(tmp_path / "data" / "happy")
    with pytest.raises(MerError, match=r"only one label, data: nothing to tell apart$"):
        labelled_audio(tmp_path)


def test_folders_that_cannot_be_used(tmp_path: Path):
    with pytest.raises(MerError, match="does not exist"):
        labelled_audio(tmp_path / "nothing")
    with pytest.raises(MerError, match="holds no folders"):
        labelled_audio(tmp_path)
    write_files(tmp_path, "a/1.wav")
    with pytest.raises(MerError, match="only one label, a"):
        labelled_audio(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(MerError, match="no audio for b"):
        labelled_audio(tmp_path)
    with pytest.raises(UsageError, match="unknown layout 'c'; known: auto, emotion4q"):
        labelled_audio(tmp_path, "c")
    with pytest.raises(MerError, match="has no audio for happy, tense, sad, calm"):
        labelled_audio(tmp_path, "emotion4q")
    with pytest.raises(MerError, match=r"cannot be read as CSV: not a regular file"):
        labelled_audio(tmp_path, "csv")


@pytest.mark.parametrize("layout", ["auto", "csv"])
def test_what_never_ends_is_no_data(tmp_path: Path, layout: str):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("fifo", "zero"):
        with pytest.raises(MerError, match=f"{name} cannot be read as CSV: not a regular file"):
            labelled_audio(tmp_path / name, layout)
    assert layout == "auto" or layout in LAYOUTS


def test_clips_that_cannot_be_read_stay(tmp_path: Path):
    """Who decodes them skips them by name."""
    write_files(tmp_path, "happy/1.wav", "sad/2.wav")
    (tmp_path / "happy/empty.wav").touch()
    os.mkfifo(tmp_path / "sad/fifo.wav")
    (tmp_path / "sad/zero.wav").symlink_to("/dev/zero")
    (tmp_path / "sad/gone.wav").symlink_to("nowhere.wav")
    assert len(labelled_audio(tmp_path).clips) == 6


def test_six_faults_at_once(tmp_path: Path):
    """Copies, also across the split, hidden files, a stray song, a row too many, a group in two spellings."""
    write_files(
        tmp_path, train__happy__a="1", train__happy__copy="1", train__sad__b="2", train__sad__c="3",
        test__happy__d="4", test__sad__e="2", stray="5",
    )  # fmt: skip
    write_files(tmp_path, "train/happy/._a.wav", "train/.ipynb_checkpoints/a/a.wav", "__MACOSX/happy/._a.wav")
    (tmp_path / "clips.csv").write_text("clip;artist\na;Ann\nb;Bob\nc;ann \nd;Bob\ne;Eve\nz;Zoe\n")
    data = labelled_audio(tmp_path)
    assert data.labels == ("happy", "sad")
    assert [(clip.name, clip.group, clip.part) for clip in data.clips] == [
        ("test/happy/d.wav", "Eve", "test"),
        ("train/happy/a.wav", "Ann", "training"),
        ("test/sad/e.wav", "Eve", "test"),
        ("train/sad/c.wav", "Ann", "training"),
    ]
    assert data.notes == (
        "not read, audio that lies in no label's folder: stray.wav",
        "not read, hidden or a system's own: 3, the first __MACOSX",
        "not in clips.csv: train/happy/copy.wav",
        "in clips.csv without a file: z",
        "groups taken as one, for only their spelling differs: 'Ann' and 'ann '",
        "groups taken as one, for one file is in both: 'Eve' and 'Bob'",
        "left out, a copy of another clip: train/happy/copy.wav (= train/happy/a.wav)",
        "left out of training, for test has the same sound: train/sad/b.wav (= test/sad/e.wav)",
    )
