"""Folders of labels, recognised whole or not at all; what a table says of the clips; given splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_files import write_files
from merkit.engine.data.label_folders import Reading, clips_from_folders
from merkit.engine.data.notes import Notes
from merkit.engine.errors import MerError, UsageError
from merkit.engine.spec import MER500_LABELS, QUADRANTS


def _read(root: Path, layout: str = "auto", group_by: str | None = None) -> tuple[Reading, tuple[str, ...]]:
    notes = Notes()
    return clips_from_folders(root, layout, group_by, notes), notes.lines()


def _clips(read: Reading) -> list[tuple[str, str]]:
    return [(clip.name, clip.label) for clip in read.clips]


def test_emotion4q(tmp_path: Path):
    write_files(tmp_path, "Q1/a.mp3", "Q2/b.mp3", "Q3/c.mp3", "Q4/d.mp3", "Q4/e.mp3", "README.md")
    table = (
        "clip,quadrant,artist,genres\na,Q1,Ann,Jazz; Pop/Rock;Jazz\nb,Q2,Ann,\nc,Q3,Bob\nd,Q4,Bob,\ne,Q4,,\n"
    )
    (tmp_path / "clips.csv").write_text(table)
    read, notes = _read(tmp_path)
    assert (read.layout, read.labels, read.grouped_by) == ("emotion4q", QUADRANTS, "artist")
    assert [(clip.path.stem, clip.label, clip.group, clip.tags) for clip in read.clips] == [
        ("a", "happy", "Ann", ("Jazz", "Pop/Rock")),
        ("b", "tense", "Ann", ()),
        ("c", "sad", "Bob", ()),
        ("d", "calm", "Bob", ()),
        ("e", "calm", "", ()),
    ]
    assert notes == ("not read, no audio by its suffix: README.md",)


def test_mer500_as_the_archive_unpacks(tmp_path: Path):
    write_files(tmp_path, *(f"{name.title()}/{name.title()}/{name}1.wav" for name in MER500_LABELS))
    read, notes = _read(tmp_path)
    assert (read.layout, read.labels, read.grouped_by) == ("mer500", MER500_LABELS, None)
    assert [clip.label for clip in read.clips] == list(MER500_LABELS)
    assert notes == ()


@pytest.mark.parametrize("place", ["{0}/{1}.opus", "{2}/{2}/{1}.wav"], ids=["one folder", "as the archive"])
def test_the_five_words_with_a_table_of_artists_and_sources(tmp_path: Path, place: str):
    rows = ["clip,label,artist,title,language,source"]
    for number, label in enumerate(MER500_LABELS):
        write_files(tmp_path, place.format(label, f"h{number}", label.title()))
        rows.append(f"h{number},{label},{'किशोर कुमार' if number % 2 else ''},a title,hindi,s0{number // 2}")
    write_files(tmp_path, "unlabelled/u1.opus", "unlabelled.csv")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    by_artist, notes = _read(tmp_path)
    by_source, _ = _read(tmp_path, group_by="source")
    assert (by_artist.layout, by_artist.labels, by_artist.grouped_by) == ("mer500", MER500_LABELS, "artist")
    assert [clip.label for clip in by_artist.clips] == list(MER500_LABELS)
    assert [clip.group for clip in by_artist.clips] == ["", "किशोर कुमार", "", "किशोर कुमार", ""]
    assert [clip.group for clip in by_source.clips] == ["s00", "s00", "s01", "s01", "s02"]
    assert set(notes) == {
        "left out, a folder that clips.csv does not name: unlabelled",
        "not read, no audio by its suffix: unlabelled.csv",
    }


def test_a_layout_is_recognised_whole_or_not_at_all(tmp_path: Path):
    labels = ("sad", "romantic", "devotional", "party", "happy", "angry", "calm")
    write_files(tmp_path / "seven", *(f"{label}/{i}.wav" for label in labels for i in range(2)))
    read, notes = _read(tmp_path / "seven")
    assert (read.layout, read.labels, len(read.clips)) == ("folder", tuple(sorted(labels)), 14)
    assert notes == ()
    read, notes = _read(tmp_path / "seven", "mer500")
    assert (read.labels, len(read.clips)) == (MER500_LABELS, 10)
    assert notes == ("left out, a folder that is no label of mer500: 2, the first angry",)

    five = write_files(tmp_path / "five", *(f"Q{q}/{q}.wav" for q in range(1, 6)))
    (five / "clips.csv").write_text("clip,artist\n")
    assert _read(five)[0].labels == ("Q1", "Q2", "Q3", "Q4", "Q5")
    write_files(tmp_path / "ju", "Happy/1.wav", "SAD/2.wav")
    assert _read(tmp_path / "ju")[0].layout == "jumusemodb"
    write_files(tmp_path / "ju", "calm/3.wav")
    assert _read(tmp_path / "ju")[0].layout == "folder"


def test_a_table_says_which_folders_are_labels(tmp_path: Path):
    write_files(tmp_path, "C1/001.ogg", "C2/002.ogg", "unlabelled/u1.ogg")
    (tmp_path / "clips.csv").write_text("clip,cluster,artist,source\n001,c1,Ann,s1\n002,C2,,s1\n")
    read, notes = _read(tmp_path)
    assert (_clips(read), read.grouped_by) == ([("C1/001.ogg", "C1"), ("C2/002.ogg", "C2")], "artist")
    assert [clip.group for clip in read.clips] == ["Ann", ""]
    assert notes == ("left out, a folder that clips.csv does not name: unlabelled",)
    read, _ = _read(tmp_path, group_by="source")
    assert ([clip.group for clip in read.clips], read.grouped_by) == (["s1", "s1"], "source")
    with pytest.raises(UsageError, match="no column 'sauce' to group by"):
        _read(tmp_path, group_by="sauce")
    (tmp_path / "clips.csv").unlink()
    with pytest.raises(UsageError, match=r"has no clips\.csv, whose column 'source' could group the clips"):
        _read(tmp_path, group_by="source")


def test_a_table_about_something_else(tmp_path: Path):
    write_files(tmp_path, "up/1.wav", "down/2.wav")
    (tmp_path / "clips.csv").write_text("clip,label\n1,Universal\n2,Sony\n")
    with pytest.raises(
        MerError, match=r"column label of .* names none of the folders in .*, for example 'down'"
    ):
        _read(tmp_path)
    (tmp_path / "clips.csv").write_text("title,artist\n1,Ann\n")
    with pytest.raises(MerError, match=r"clips\.csv has no column clip or path"):
        _read(tmp_path)


@pytest.mark.parametrize(
    "cell", ["up/a.b.wav", "./up/a.b.wav", "up\\a.b.wav", "up/a.b", "a.b.wav", "a.b", "ABS"]
)
def test_a_row_names_a_file_in_many_ways(tmp_path: Path, cell: str):
    write_files(tmp_path, "up/a.b.wav", "down/2.wav")
    cell = cell.replace("ABS", str(tmp_path / "up/a.b.wav"))
    (tmp_path / "clips.csv").write_text(f"path,group\n{cell},g\n2,h\n")
    read, notes = _read(tmp_path)
    assert {clip.name: clip.group for clip in read.clips} == {"up/a.b.wav": "g", "down/2.wav": "h"}
    assert (read.grouped_by, notes) == ("group", ())


def test_rows_may_name_files_by_another_suffix(tmp_path: Path):
    """As where a set was converted, and its table was not."""
    write_files(tmp_path, "up/a.b.wav", "up/1.wav", "down/2.flac", "down/3.wav", "down/4.wav", "down/4.ogg")
    rows = ["a.b.mp3,Ann", "up/1.mp3,Bob", "2.MP3,Cid", "3.mp3,Dan", "3.ogg,Eve", "4.wav,Fay", "2.txt,Gus"]
    (tmp_path / "clips.csv").write_text("\n".join(["clip,artist", *rows]))
    read, notes = _read(tmp_path)
    groups = {clip.name: clip.group for clip in read.clips}
    assert groups == {
        "up/a.b.wav": "Ann", "up/1.wav": "Bob", "down/2.flac": "Cid", "down/3.wav": "", "down/4.wav": "Fay",
        "down/4.ogg": "",
    }  # fmt: skip
    assert "in clips.csv without a file: 3, the first 3.mp3" in notes


def test_a_table_of_which_no_row_names_a_file_is_refused(tmp_path: Path):
    """Its artists would be off without a word, and the same singers in both parts."""
    write_files(tmp_path, "up/1.wav", "down/2.wav")
    (tmp_path / "clips.csv").write_text("clip,artist\nclip-01,Ann\nclip-02,Bob\n")
    with pytest.raises(
        MerError,
        match=r"clips\.csv has the column artist, and no row names a file: the first names 'clip-01', "
        r"the first file is 'down/2\.wav'; write them alike",
    ):
        _read(tmp_path)
    (tmp_path / "clips.csv").write_text("clip,title\nclip-01,A\n")
    assert "in clips.csv without a file: clip-01" in _read(tmp_path)[1]


def test_stems_that_repeat_are_told_apart_by_their_labels(tmp_path: Path):
    write_files(tmp_path, "up/01.wav", "down/01.wav", "down/02.wav")
    (tmp_path / "clips.csv").write_text("clip,label,artist\n01,up,Ann\n01,down,Bob\n03,down,Cid\n")
    read, notes = _read(tmp_path)
    assert {clip.name: clip.group for clip in read.clips} == {
        "up/01.wav": "Ann",
        "down/01.wav": "Bob",
        "down/02.wav": "",
    }
    assert notes == ("not in clips.csv: down/02.wav", "in clips.csv without a file: 03")


def test_a_clip_in_another_folder_than_its_row_says(tmp_path: Path):
    write_files(tmp_path, "up/1.wav", "down/2.wav")
    (tmp_path / "clips.csv").write_text("clip,label\n1,up\n2,up\n3,down\n")
    with pytest.raises(MerError, match=r"clips\.csv puts down/2\.wav under 'up', where it does not lie"):
        _read(tmp_path)


def test_two_rows_of_a_clip_bring_both_groups(tmp_path: Path):
    write_files(tmp_path, "up/1.wav", "down/2.wav")
    (tmp_path / "clips.csv").write_text("clip,artist\n1,Ann\n1,Bob\n2,Bob\n")
    assert [(c.name, c.group) for c in _read(tmp_path)[0].clips] == [
        ("down/2.wav", "Bob"), ("up/1.wav", "Ann"), ("up/1.wav", "Bob"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "parts",
    [
        {"train": "training", "val": "validation", "test": "test"},
        {"Training": "training", "dev": "validation", "Eval": "test"},
        {"TRAIN": "training", "validation": "validation", "testing": "test"},
        {"train": "training", "test": "test"},
        {"test": "test"},
    ],
)
@pytest.mark.parametrize("layout", ["auto", "folder"])
def test_a_split_above_the_labels(tmp_path: Path, parts: dict[str, str], layout: str):
    write_files(tmp_path, *(f"{part}/{label}/1.wav" for part in parts for label in ("happy", "tense")))
    read, notes = _read(tmp_path, layout)
    assert (sorted(read.labels), len(read.clips), notes) == (["happy", "tense"], 2 * len(parts), ())
    assert {clip.name.split("/")[0]: clip.part for clip in read.clips} == parts


def test_a_split_with_known_labels_and_a_table(tmp_path: Path):
    write_files(tmp_path, *(f"{part}/Q{q}/{part}{q}.wav" for part in ("train", "test") for q in range(1, 5)))
    rows = [f"{part}{q},Q{q},artist{q}" for part in ("train", "test") for q in range(1, 5)]
    (tmp_path / "clips.csv").write_text("\n".join(["clip,quadrant,artist", *rows]))
    read, notes = _read(tmp_path)
    assert (read.layout, read.labels, read.grouped_by, notes) == ("emotion4q", QUADRANTS, "artist", ())
    assert {(clip.group, clip.part) for clip in read.clips} == {
        (f"artist{q}", part) for q in range(1, 5) for part in ("training", "test")
    }


def test_labels_are_in_order_whatever_part_has_them(tmp_path: Path):
    write_files(tmp_path, "test/happy/1.wav", "train/happy/2.wav", "train/angry/3.wav", "train/calm/4.wav")
    assert _read(tmp_path)[0].labels == ("angry", "calm", "happy")


def test_a_part_without_labels_is_said(tmp_path: Path):
    """As contests hand their data out."""
    write_files(tmp_path, "train/happy/1.wav", "train/sad/2.wav", "test/3.wav", "test/4.wav")
    read, notes = _read(tmp_path)
    assert {clip.part for clip in read.clips} == {"training"}
    assert notes == ("not read, audio that lies in no label's folder: 2, the first test/3.wav",)


@pytest.mark.parametrize("folders", [("train", "test", "happy"), ("happy", "test"), ("train", "test")])
def test_a_part_beside_labels_is_refused(tmp_path: Path, folders: tuple[str, ...]):
    write_files(tmp_path, *(f"{folder}/1.wav" for folder in folders))
    with pytest.raises(
        MerError, match=r"is the folder 'te?.*' a part of a split, or a label\?.*rename it.*'folder'"
    ):
        _read(tmp_path)
    read, notes = _read(tmp_path, "folder")
    assert (sorted(read.labels), notes) == (sorted(folders), ())


def test_a_table_settles_what_a_part_beside_labels_is(tmp_path: Path):
    write_files(tmp_path, "happy/1.wav", "sad/2.wav", "test/3.wav")
    (tmp_path / "clips.csv").write_text("clip,label\n1,happy\n2,sad\n")
    read, notes = _read(tmp_path)
    assert sorted(read.labels) == ["happy", "sad"]
    assert notes == ("left out, a folder that clips.csv does not name: test",)


def test_a_split_below_the_labels_or_in_the_table(tmp_path: Path):
    below = write_files(
        tmp_path / "below", "happy/train/1.wav", "happy/Test/a/2.wav", "sad/train/3.wav", "sad/Test/5.wav"
    )
    read, notes = _read(below)
    assert [clip.part for clip in read.clips] == ["test", "training", "test", "training"]
    assert notes == ()
    write_files(below, "sad/4.wav")  # so they are albums
    assert {clip.part for clip in _read(below)[0].clips} == {""}
    table = write_files(tmp_path / "table", "happy/1.wav", "sad/2.wav")
    (table / "clips.csv").write_text("clip,split\n1,train\n2,test\n")
    assert [clip.part for clip in _read(table)[0].clips] == ["training", "test"]


def test_labels_that_lie_one_level_deeper_are_said(tmp_path: Path):
    write_files(tmp_path, *(f"fold{i}/{label}/{i}.wav" for i in range(3) for label in ("happy", "sad")))
    assert _read(tmp_path)[1] == (
        "read as labels, though each holds the folders happy, sad: 3, the first fold0",
    )
    write_files(tmp_path, "fold2/angry/2.wav")
    assert _read(tmp_path)[1] == ()


def test_folders_that_hold_nothing(tmp_path: Path):
    with pytest.raises(MerError, match="holds no folders; a folder for each label is needed"):
        _read(tmp_path)
    (tmp_path / "empty").mkdir()
    write_files(tmp_path, "happy/1.wav", "happy/2.txt")
    read, notes = _read(tmp_path)
    assert sorted(read.labels) == ["empty", "happy"]
    assert notes == ("not read, no audio by its suffix: happy/2.txt",)
