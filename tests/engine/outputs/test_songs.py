"""Where the files of rows are today."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from label_folders import row_of, write_labels
from merkit.engine.outputs.songs import Found, Song, find, songs_in


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Song:
    """Labelled as "m/song" from the folder "a"."""
    (tmp_path / "a" / "m").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    Path("m/song").write_text("one")
    (each,) = songs_in(write_labels(tmp_path / "a" / "labels", [row_of("m/song")]))[1]
    return each


def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the folder "b", which has another song of that name."""
    (tmp_path / "b" / "m").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "b")
    Path("m/song").write_text("another")


def test_as_it_was_and_changed(song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(song) == (Found.SAME, "m/song")
    elsewhere(tmp_path, monkeypatch)
    real = str(tmp_path / "a" / "m" / "song")
    assert find(song) == (Found.SAME, real)
    Path(real).write_text("changed")
    assert find(song) == (Found.CHANGED, real)


def test_the_same_path_in_another_folder_is_another_song(
    song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("m/song").unlink()
    elsewhere(tmp_path, monkeypatch)
    assert find(song)[0] is Found.MISSING


@pytest.mark.parametrize("whole", [False, True])
def test_songs_that_moved_with_their_labels(
    whole: bool, song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(tmp_path / "a", tmp_path / "c")
    monkeypatch.chdir(tmp_path / "c")
    if whole:  # by tar
        seconds = os.stat("m/song").st_mtime_ns // 10**9
        os.utime("m/song", (seconds, seconds))
    assert find(song) == (Found.SAME, "m/song")


@pytest.mark.parametrize("copy", [shutil.copy2, os.link])
def test_a_copy_of_the_same_path_is_not_taken_while_the_song_is_there(
    copy: Callable, song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a backup's folder the very path leads to the backup, whose size and time are the song's."""
    real = tmp_path / "a" / "m" / "song"
    (tmp_path / "b" / "m").mkdir(parents=True)
    copy(real, tmp_path / "b" / "m" / "song")
    monkeypatch.chdir(tmp_path / "b")
    assert find(song) == (Found.SAME, str(real))
    os.utime(real, (1, 1))
    if copy is shutil.copy2:
        assert find(song) == (Found.CHANGED, str(real))
    real.unlink()
    os.utime("m/song", ns=(song.mtime_ns or 0, song.mtime_ns or 0))
    assert find(song) == (Found.SAME, "m/song")


def test_the_copy_is_taken_where_the_labels_were_copied_with_it(
    song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As somebody does who tries tagging on a copy first: the music itself must stay as it is."""
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    (copied,) = songs_in(Path("labels"))[1]
    assert find(copied) == (Found.SAME, "m/song")
    (theirs,) = songs_in(tmp_path / "a" / "labels")[1]
    assert find(theirs) == (Found.SAME, str(tmp_path / "a" / "m" / "song"))
    shutil.rmtree(tmp_path / "a" / "labels")  # labels that are of no other place may be anywhere
    assert find(copied) == (Found.SAME, str(tmp_path / "a" / "m" / "song"))


def test_a_copy_that_changed_or_went_is_not_the_first_song(
    song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels are the copy's, before its first run too: nothing of them reaches the first disk."""
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    (copied,) = songs_in(Path("labels"))[1]
    (theirs,) = songs_in(tmp_path / "a" / "labels")[1]
    os.utime("m/song", (1, 1))
    real = tmp_path / "a" / "m" / "song"
    for first in (Found.SAME, Found.CHANGED):
        assert find(copied) == (Found.CHANGED, "m/song")
        assert find(theirs) == (first, str(real))
        os.utime(real, (2, 2))
    os.utime(real, ns=(song.mtime_ns or 0, song.mtime_ns or 0))
    Path("m/song").unlink()
    assert find(copied) == (Found.MISSING, "m/song")
    assert find(theirs) == (Found.SAME, str(real))


def test_a_library_that_left_a_link_in_its_place_keeps_the_path_that_was_typed(
    song: Song, tmp_path: Path
) -> None:
    shutil.move("m", tmp_path / "disk")
    os.symlink(tmp_path / "disk", "m")
    assert find(song) == (Found.SAME, "m/song")


def test_rows_without_a_real_path(tmp_path: Path) -> None:
    path = tmp_path / "song"
    path.write_text("one")
    row = {**row_of(path), "real_path": None}
    (song,) = songs_in(write_labels(tmp_path / "labels", [row]))[1]
    assert find(song) == (Found.SAME, str(path))
    os.utime(path, (1, 1))
    assert find(song) == (Found.CHANGED, str(path))
