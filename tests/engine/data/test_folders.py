"""Folders are searched whole, and what is left out is said."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from labelled_files import write_files
from merkit.engine.data.folders import audio_below, folders_in, name_below
from merkit.engine.data.notes import Notes
from merkit.engine.errors import MerError


def _below(root: Path, folder: str = ".") -> tuple[list[str], tuple[str, ...]]:
    notes = Notes()
    paths = audio_below(root / folder, root, notes)
    return [path.relative_to(root).as_posix() for path in paths], notes.lines()


def test_what_is_no_audio_is_said(tmp_path: Path):
    write_files(tmp_path, "b/2.WAV", "b/1.mp3", "a.flac", "cover.jpg", "b/notes.txt")
    assert _below(tmp_path) == (
        ["a.flac", "b/1.mp3", "b/2.WAV"],
        ("not read, no audio by its suffix: 2, the first cover.jpg",),
    )


def test_litter_is_left_out(tmp_path: Path):
    write_files(tmp_path, "a.wav", "._a.wav", ".ipynb_checkpoints/a-checkpoint.wav", "__MACOSX/a.wav")
    write_files(tmp_path, "@eaDir/a.wav", ".hidden/a.wav")
    names, notes = _below(tmp_path)
    assert names == ["a.wav"]
    assert notes == ("not read, hidden or a system's own: 5, the first .hidden",)


def test_linked_folders_are_read_once(tmp_path: Path):
    write_files(tmp_path, "elsewhere/album/1.wav", "data/happy/2.wav")
    data = tmp_path / "data"
    (data / "happy/album").symlink_to(tmp_path / "elsewhere/album")
    (data / "happy/again").symlink_to(tmp_path / "elsewhere/album")
    assert _below(data, "happy") == (
        ["happy/2.wav", "happy/again/1.wav"],
        ("not read again, a link to a folder that is read: happy/album",),
    )


@pytest.mark.parametrize("target", ["happy", "", "..", "../.."])
def test_loops_end_and_are_said(tmp_path: Path, target: str):
    data = write_files(tmp_path / "music/data", "happy/1.wav", "sad/2.wav")
    (data / "happy/loop").symlink_to(data / target)
    names, notes = _below(data, "happy")
    assert names == ["happy/1.wav"]
    assert len(notes) == 1
    assert notes[0].endswith(": happy/loop")


def test_links_that_lead_nowhere_are_said(tmp_path: Path):
    (tmp_path / "calm").symlink_to(tmp_path / "gone")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    (tmp_path / "x.wav").symlink_to(tmp_path / "gone.wav")
    names, notes = _below(tmp_path)
    assert names == ["x.wav"]  # a clip that cannot be read, which is said with its reason
    assert notes == ("not read, a link that leads nowhere: 2, the first calm",)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_files(tmp_path, "a/b/1.wav", "a/2.wav")
    scandir = os.scandir

    def refusing(path):  # chmod stops everyone but root
        if os.fspath(path).endswith("/b"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for search in (lambda: audio_below(tmp_path, tmp_path, Notes()),
                   lambda: folders_in(tmp_path / "a/b", tmp_path, Notes(), "clips.csv")):  # fmt: skip
        with pytest.raises(MerError, match="/a/b cannot be read: Permission denied"):
            search()


def test_folders_in_a_folder(tmp_path: Path):
    write_files(tmp_path, "sad/1.wav", "happy/2.wav", ".git/3.wav", "4.wav", "README.md", "clips.csv")
    (tmp_path / "all").symlink_to(tmp_path)
    notes = Notes()
    assert [path.name for path in folders_in(tmp_path, tmp_path, notes, "clips.csv")] == ["happy", "sad"]
    assert notes.lines() == (
        "not read, audio that lies in no label's folder: 4.wav",
        "not read, no audio by its suffix: README.md",
        "not read, hidden or a system's own: .git",
        "not followed, a link to the folder of all labels: all",
    )


def test_names_below_the_data_folder(tmp_path: Path):
    assert name_below(tmp_path / "a/b/../1.wav", tmp_path) == "a/1.wav"
    assert name_below(Path("/private/2.wav"), tmp_path) == "2.wav"
    assert name_below(tmp_path / "..x/3.wav", tmp_path) == "..x/3.wav"
