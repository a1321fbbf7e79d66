"""Music without labels is found with its artists, and not heard where it would tell of what is held out."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from audio_files import noise
from merkit.engine.data.labelled_audio import Clip, labelled_audio
from merkit.engine.errors import MerError
from merkit.training.data.examples import Examples, examples_from_audio
from merkit.training.data.spectrogram_cache import cached_sounds
from merkit.training.data.splits import Split
from merkit.training.teachers.unlabelled import Unlabelled, apart_from, unlabelled_clips
from small_training import fast_job

SPEC = fast_job().protocol.audio
RATE = 16_000


def _sound(path: Path, seed: int, level: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * noise(4, RATE, seed), RATE)
    return path


def _groups(*sources: Path) -> dict[str, str]:
    clips, _ = unlabelled_clips(sources)
    assert {clip.label for clip in clips} == {""}
    return {clip.path.name: clip.group for clip in clips}


def test_a_folder_with_tables_as_data_sets_have_them(tmp_path: Path):
    """Labels' folders with clips.csv, and a folder with a table of its name beside it."""
    for number, name in enumerate(("C1/001", "C2/002", "C2/003", "more/u1", "more/deep/u2")):
        _sound(tmp_path / "data" / f"{name}.wav", number)
    table = "clip,cluster,artist\n001,C1,Björk\n002,C2,\n003,C2,  björk \n"
    (tmp_path / "data" / "clips.csv").write_text(table, encoding="utf-8")
    (tmp_path / "data" / "more.csv").write_text("clip,artist\nu1,लता मंगेशकर\nu2,Kumar\n", encoding="utf-8")
    groups = _groups(tmp_path / "data")
    assert groups == {
        "001.wav": "Björk",
        "002.wav": "clip:C2/002.wav",
        "003.wav": "Björk",
        "u1.wav": "लता मंगेशकर",
        "u2.wav": "Kumar",
    }
    assert _groups(tmp_path / "data" / "more") == {name: groups[name] for name in ("u1.wav", "u2.wav")}
    clips, notes = unlabelled_clips([tmp_path / "data"])
    assert {clip.artists for clip in clips if clip.path.name == "003.wav"} == {("björk",)}
    assert "no artist is known of clips without a label: 1 of 5" in notes


@pytest.mark.parametrize("cell", ["happy/1.wav", "./happy/1.wav", "happy\\1.mp3", "1.flac", "1", "ABS"])
def test_tables_of_folders_are_read_as_those_of_labelled_audio(cell: str, tmp_path: Path):
    """Also where a file's name stands in two labels' folders."""
    for number, name in enumerate(("happy/1", "sad/1", "sad/2")):
        _sound(tmp_path / f"{name}.wav", number)
    other = "1" if cell == "1" else "sad/1.wav"
    cell = cell.replace("ABS", str(tmp_path / "happy/1.wav"))
    (tmp_path / "clips.csv").write_text(f"path,label,artist\n{cell},happy,Ann\n{other},sad,Bob\n2,,Ann\n")
    clips, _ = unlabelled_clips([tmp_path])
    labelled = {clip.name: (clip.group, clip.artists) for clip in labelled_audio(tmp_path).clips}
    assert {clip.name: (clip.group, clip.artists) for clip in clips} == labelled
    assert {group for group, _ in labelled.values()} == {"Ann", "Bob"}


def test_the_tables_of_parts_are_read(tmp_path: Path):
    """Of a split, or of data sets that lie side by side."""
    for number, name in enumerate(("train/happy/1", "test/happy/1", "test/sad/2")):
        _sound(tmp_path / f"{name}.wav", number)
    (tmp_path / "train" / "clips.csv").write_text("clip,artist\n1,Ann\n")
    (tmp_path / "test" / "clips.csv").write_text("clip,artist\n1,Bob\n")
    (tmp_path / "clips.csv").write_text("clip,artist\n1,Cid\n2,Dan\n")
    clips, _ = unlabelled_clips([tmp_path])
    assert [(clip.name, clip.group) for clip in clips] == [
        ("test/happy/1.wav", "Bob"), ("test/sad/2.wav", "Dan"), ("train/happy/1.wav", "Ann")
    ]  # fmt: skip


def test_no_table_is_read_in_a_folder_that_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As those at the root of a disk are, which nobody but root may look into."""
    _sound(tmp_path / "in" / "a.wav", 1)
    for name in (".Trash-0", "lost+found"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clips.csv").write_text("no table")
    stat = os.stat

    def refused(path: Path, *args: Any, **named: Any) -> os.stat_result:
        if os.path.basename(os.path.dirname(path)) == "lost+found":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return stat(path, *args, **named)

    monkeypatch.setattr(os, "stat", refused)
    assert _groups(tmp_path) == {"a.wav": "clip:in/a.wav"}


def test_a_table_of_a_folder_s_name_may_speak_of_other_folders(tmp_path: Path):
    """Of what it names by its path; a name of a file in its folder is not one of another's."""
    for number, name in enumerate(("album/1", "other/1", "other/2", "top")):
        _sound(tmp_path / f"{name}.wav", number)
    (tmp_path / "album.csv").write_text("path,artist\n1.wav,Ann\nother/2.wav,Bob\ntop.wav,Cid\n")
    clips, _ = unlabelled_clips([tmp_path])
    assert {clip.name: clip.group for clip in clips} == {
        "album/1.wav": "Ann", "other/1.wav": "clip:other/1.wav", "other/2.wav": "Bob", "top.wav": "Cid"
    }  # fmt: skip


def test_a_table_without_the_column_hides_none_that_has_it(tmp_path: Path):
    _sound(tmp_path / "in" / "a.wav", 1)
    (tmp_path / "in" / "clips.csv").write_text("clip,artist\na,Ann\n")
    (tmp_path / "clips.csv").write_text("clip,artist,source\nin/a.wav,Ann,s1\n")
    clips, _ = unlabelled_clips([tmp_path], "source")
    assert [(clip.group, clip.artists) for clip in clips] == [("s1", ("ann",))]


def test_clips_are_grouped_by_the_column_that_groups_the_labelled_ones(tmp_path: Path):
    """And have their artists still, with which a source is not one."""
    for number, name in enumerate(("in/a", "in/b", "in/c")):
        _sound(tmp_path / f"{name}.wav", number)
    (tmp_path / "in" / "clips.csv").write_text("clip,artist,Source\na,Ann,s1\nb,Ann,s2\nc,Bob,\n")
    (tmp_path / "list.csv").write_text("path,singer\nin/a.wav,Ann\nin/b.wav,Ann\n")
    clips, notes = unlabelled_clips([tmp_path / "in"], "source")
    assert [(clip.group, clip.artists) for clip in clips] == [
        ("s1", ("ann",)), ("s2", ("ann",)), ("clip:c.wav", ("bob",))
    ]  # fmt: skip
    assert notes == ("no source is known of clips without a label: 1 of 3",)
    clips, notes = unlabelled_clips([tmp_path / "list.csv"], "source")
    assert [(clip.group, clip.artists) for clip in clips] == [
        ("clip:in/a.wav", ("ann",)), ("clip:in/b.wav", ("ann",))
    ]  # fmt: skip
    assert notes == ("no source is known of clips without a label: 2 of 2",)
    clips, _ = unlabelled_clips([tmp_path / "list.csv"], "Album_Artist")
    assert {clip.group for clip in clips} == {"Ann"}


def test_a_file_that_several_rows_name_is_by_all_of_their_artists(tmp_path: Path):
    _sound(tmp_path / "in" / "a.wav", 1)
    _sound(tmp_path / "in" / "b.wav", 2)
    (tmp_path / "clips.csv").write_text("clip,artist\na,Ann\na,Bob\nb,Bob\n")
    assert _groups(tmp_path) == {"a.wav": "Ann", "b.wav": "Ann"}


def test_the_table_beside_a_folder_is_found_however_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _sound(tmp_path / "hits" / "in" / "a.wav", 1)
    (tmp_path / "hits.csv").write_text("path,artist\na.wav,Lata\n")
    (tmp_path / "link").symlink_to("hits")
    (tmp_path / "link.csv").write_text("path,artist\na.wav,Asha\n")
    monkeypatch.chdir(tmp_path / "hits" / "in")
    assert _groups(Path("..")) == _groups(Path("../../hits/")) == {"a.wav": "Lata"}
    monkeypatch.chdir(tmp_path / "hits")
    assert _groups(Path()) == _groups(Path("./in/..")) == {"a.wav": "Lata"}
    assert _groups(tmp_path / "link") == {"a.wav": "Asha"}


def test_csv_files_and_folders_together(tmp_path: Path):
    _sound(tmp_path / "a.wav", 1)
    _sound(tmp_path / "deep" / "b.wav", 2)
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    (tmp_path / "list.csv").write_text("path,group\na.wav,one\ndeep\\b.wav,two\n\n,\n")
    assert _groups(tmp_path / "list.csv") == {"a.wav": "one", "b.wav": "two"}
    assert _groups(tmp_path / "list.csv", tmp_path / "deep") == {"a.wav": "one", "b.wav": "two"}
    assert len(_groups(tmp_path)) == 2  # a copy is no other music


def test_paths_of_a_csv_are_read_as_those_of_labelled_audio(tmp_path: Path):
    _sound(tmp_path / "=x.wav", 1)
    _sound(tmp_path / "a\\b.wav", 2)
    (tmp_path / "list.csv").write_text(f"path\n'=x.wav\na\\b.wav\n{(tmp_path / '=x.wav').as_uri()}\n")
    clips, _ = unlabelled_clips([tmp_path / "list.csv"])
    assert sorted(clip.path.name for clip in clips) == ["=x.wav", "a\\b.wav"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing", None, "does not exist"),
        ("empty.csv", "path,artist\n", "holds no audio"),
        ("other.csv", "file,artist\na.wav,x\n", "has no column path"),
        ("folder/text.txt", "no audio", "holds no audio"),
    ],
)
def test_sources_that_hold_nothing(name: str, content: str | None, reason: str, tmp_path: Path):
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    with pytest.raises(MerError, match=reason):
        unlabelled_clips([path.parent if name.startswith("folder") else path])


class Known(NamedTuple):
    """Labelled clips, the last of which is noise, and music without labels."""

    examples: Examples
    music: Unlabelled


@pytest.fixture(scope="module")
def known(songs: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """By a labelled artist; a near copy of a labelled clip, by an artist with another clip; by nobody; and
    two that are left out, a labelled clip itself, whose artist has another clip, and one without a sound. One
    names a labelled artist beside a second one."""
    folder = tmp_path_factory.mktemp("music")
    data = labelled_audio(songs / "clips.csv")
    original = _sound(tmp_path_factory.mktemp("labelled") / "original.wav", 0)
    first, *_, last = data.clips
    labelled = (*data.clips, Clip(original, first.label, first.group, name="original.wav"))
    data = dataclasses.replace(data, clips=labelled)
    examples = examples_from_audio(data, SPEC, cache, workers=1)
    _sound(folder / "same artist.wav", 11)
    _sound(folder / "copy.wav", 0, 0.5)
    _sound(folder / "by who copied.wav", 12)
    _sound(folder / "nobody.wav", 13)
    (folder / "labelled.wav").write_bytes(labelled[20].path.read_bytes())
    _sound(folder / "by who sang labelled.wav", 16)
    _sound(folder / "silent.wav", 14, 0.0)
    _sound(folder / "duet.wav", 15)
    rows = {
        "same artist": last.group.upper(),
        "duet": f"Somebody; {labelled[10].group}",
        "copy": "Copier",
        "by who copied": "Copier",
        "labelled": "Singer",
        "by who sang labelled": "Singer",
    }
    (folder / "clips.csv").write_text("\n".join(["clip,artist", *(f"{k},{v}" for k, v in rows.items())]))
    clips, _ = unlabelled_clips([folder])
    sounds = cached_sounds(clips, SPEC, 1, cache, 1)
    music, note = apart_from(examples, data.clips, clips, sounds, SPEC)
    reason = "(the first: silent.wav: is silent: no sample above -100 dB of full scale)"
    assert note == (
        f"; 6 clips without a label, 1 left out that labelling refuses {reason}, "
        "1 left out that are labelled clips"
    )
    silent = [i for i, clip in enumerate(clips) if clip.name == "silent.wav"]
    with pytest.raises(
        MerError, match=r"none of 1 clips without a label can be used; the first: silent.wav: "
    ):
        apart_from(examples, data.clips, [clips[i] for i in silent], [sounds[i] for i in silent], SPEC)
    return Known(examples, music)


@pytest.mark.parametrize(
    ("held_out", "left_out"),
    [
        ([], set()),
        ([39], {"same artist.wav"}),
        ([40], {"copy.wav", "by who copied.wav"}),
        ([1], {"copy.wav", "by who copied.wav"}),  # of the artist whose song was copied
        ([10], {"duet.wav"}),
        ([20], {"by who sang labelled.wav"}),
    ],
)
@pytest.mark.parametrize("part", ["test", "validation"])
def test_what_is_held_out_is_not_heard_without_its_label(
    held_out: list[int], left_out: set[str], part: str, known: Known
):
    count, none = len(known.examples.clips), np.arange(0)
    positions = np.asarray(held_out, dtype=np.intp)
    parts = (positions, none) if part == "validation" else (none, positions)
    split = Split("grouped", np.setdiff1d(np.arange(count), positions), *parts, "")
    names = {known.music.clips[i].path.name for i in known.music.usable(known.examples, split)}
    assert names == {clip.path.name for clip in known.music.clips} - left_out
    assert len(known.music.decibels) == len(known.music.clips) == 6


def test_a_copy_of_any_part_of_a_song_is_one_of_each_of_its_sub_clips(cache: Path, tmp_path: Path):
    """Also of what no sub-clip holds."""
    for number in range(4):
        _sound(tmp_path / f"{number}.wav", number)
    sound, _ = soundfile.read(tmp_path / "0.wav")
    soundfile.write(tmp_path / "end.wav", 0.5 * sound[-2 * RATE :], RATE)
    rows = (f"{number}.wav,{'ab'[number % 2]}" for number in range(4))
    (tmp_path / "clips.csv").write_text("\n".join(["path,label", *rows]))
    (tmp_path / "music.csv").write_text("path\nend.wav\n")
    data = labelled_audio(tmp_path / "clips.csv")
    examples = examples_from_audio(data, SPEC, cache, sub_clips=2, workers=1)
    clips, _ = unlabelled_clips([tmp_path / "music.csv"])
    music, _ = apart_from(examples, data.clips, clips, cached_sounds(clips, SPEC, 1, cache, 1), SPEC)
    song = np.flatnonzero(examples.songs == 0)
    split = Split("grouped", np.setdiff1d(np.arange(len(examples.clips)), song), song[:0], song, "")
    assert music.usable(examples, split) == []
    assert music.usable(examples, dataclasses.replace(split, test=np.flatnonzero(examples.songs == 1))) == [0]
