"""New bytes for a file: what others do to it meanwhile stays, and nobody gets more rights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from access_lists import OF_FILE, OWN_LIST, access_list, open_folder
from audio_files import noise, write_audio
from label_folders import row_of, write_labels
from merkit.engine.files import Disk
from merkit.engine.outputs.tagging import undo_run
from merkit.engine.outputs.tagging.tag_run import Outcome, Tagged, TagOptions, tag_songs
from merkit.engine.outputs.tagging.undo_run import undo_tags

pytest.importorskip("mutagen")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return write_audio(folder / "a.flac", noise(0.5, 16_000), 16_000)


def tag(labels: Path, disk: Disk | None = None) -> Tagged:
    (said,) = tag_songs(labels, TagOptions(write=True), disk=disk)
    return said


def undo(labels: Path, disk: Disk | None = None) -> Tagged:
    (said,) = undo_tags(labels, write=True, disk=disk)
    return said


def edit(path: Path) -> bytes:
    from mutagen.flac import FLAC

    file = FLAC(path)
    file["title"] = ["by hand"]
    file.save()
    return path.read_bytes()


class SlowDisk(Disk):
    """While a song's new bytes get onto it, somebody saves the song."""

    def __init__(self, song: Path, save: Callable[[Path], bytes]) -> None:
        self._song, self._save, self.saved = song, save, b""

    def sync(self, file: IO[bytes]) -> None:
        super().sync(file)
        if not self.saved and Path(file.name).parent == self._song.parent:
            self.saved = self._save(self._song)


def save_beside_and_rename(path: Path) -> bytes:
    other = path.with_name("other.flac")
    other.write_bytes(path.read_bytes())
    data = edit(other)
    other.replace(path)
    return data


@pytest.mark.parametrize("save", [edit, save_beside_and_rename])
@pytest.mark.parametrize("what", [tag, undo])
def test_what_is_saved_while_the_copy_gets_onto_the_disk_stays(
    path: Path, tmp_path: Path, what: Callable, save: Callable[[Path], bytes]
) -> None:
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    if what is undo:
        tag(labels)
    disk = SlowDisk(path, save)
    said = what(labels, disk)
    assert (said.outcome, said.reason) == (Outcome.FAILED, "it changed while it was copied")
    assert path.read_bytes() == disk.saved != b""
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_is_saved_before_the_copy_begins_is_not_undone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all that the old bytes are made of is still there: another mood, as long as ours."""
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    tag(labels)
    changed = path.read_bytes().replace(b"MOOD=happy", b"MOOD=dusky")
    restore = undo_run._restore

    def late(*arguments: object) -> None:
        path.write_bytes(changed)
        restore(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(undo_run, "_restore", late)
    said = undo(labels)
    assert (said.outcome, said.reason) == (Outcome.FAILED, "it changed while it was read")
    assert path.read_bytes() == changed != b""
    monkeypatch.undo()
    assert undo(labels).outcome is Outcome.CHANGED


@pytest.mark.parametrize("is_other", [False, True])
def test_a_disk_on_which_nobody_can_set_a_mode(
    is_other: bool, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/mnt/c of WSL, shares, the card of a phone: all files have one mode there."""

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    new = tmp_path / "new"
    new.touch()
    path.chmod(new.stat().st_mode & 0o777 ^ (0o040 if is_other else 0))
    labels, data = write_labels(tmp_path / "labels", [row_of(path)]), path.read_bytes()
    monkeypatch.setattr(os, "fchmod", refused)
    said = tag(labels)
    if is_other:
        reason = "its mode cannot be kept: Operation not permitted"
        assert (said.outcome, said.reason) == (Outcome.FAILED, reason)
        assert path.read_bytes() == data
        return
    assert said.outcome is Outcome.WRITTEN
    assert undo(labels).outcome is Outcome.WRITTEN
    assert path.read_bytes() == data


def test_a_disk_on_which_nobody_can_set_a_time(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    labels, data = write_labels(tmp_path / "labels", [row_of(path)]), path.read_bytes()
    monkeypatch.setattr(os, "utime", refused)
    said = tag(labels)
    reason = "its time cannot be kept: Operation not permitted"
    assert (said.outcome, said.reason, path.read_bytes()) == (Outcome.FAILED, reason, data)


@pytest.mark.parametrize("own", [None, OWN_LIST])
def test_a_file_gets_no_access_list_from_its_folder_and_keeps_its_own(
    path: Path, tmp_path: Path, own: bytes | None
) -> None:
    path.chmod(0o640)
    open_folder(path.parent)
    if own:
        os.setxattr(path, OF_FILE, own)
    before, mode = access_list(path), path.stat().st_mode
    labels = write_labels(tmp_path / "labels", [row_of(path)])
    for what in (tag, undo):
        assert what(labels).outcome is Outcome.WRITTEN
        assert (access_list(path), path.stat().st_mode) == (before, mode)


def test_an_attribute_that_cannot_be_taken_away_is_told(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    path.chmod(0o640)
    open_folder(path.parent)
    labels, data = write_labels(tmp_path / "labels", [row_of(path)]), path.read_bytes()
    monkeypatch.setattr(os, "removexattr", refused)
    said = tag(labels)
    assert said.outcome is Outcome.FAILED
    assert said.reason == "it would get the attribute system.posix_acl_access: Operation not permitted"
    assert path.read_bytes() == data


@pytest.mark.parametrize("what", ["tag", "undo"])
def test_what_a_kill_has_left_goes_with_the_next_run(path: Path, tmp_path: Path, what: str) -> None:
    """Of a song too that has no record yet and gets no mood now, and of the rows."""
    no_path = row_of("https://x.example/a.flac"), {**row_of("gone.flac"), "path": "null\0.flac"}
    labels = write_labels(tmp_path / "labels", [{**row_of(path), "verdict": "unsure"}], no_path)
    names = [part.name for part in labels.iterdir()]
    left = [path.with_name(".a.flac.0.part"), labels / f".{names[0]}.0.part", labels / "..undo.jsonl.0.part"]
    others = [path.with_name(".b.flac.0.part"), path.with_name("a.flac.0.part")]
    for each in (*left, *others):
        each.write_bytes(b"cut off")
    assert list(tag_songs(labels, TagOptions()))
    assert all(each.exists() for each in left)  # nothing changes
    if what == "tag":
        said = [each.outcome for each in tag_songs(labels, TagOptions(write=True))]
        assert said == [Outcome.UNSURE, Outcome.REMOTE, Outcome.MISSING]
    else:
        assert list(undo_tags(labels, write=True)) == []
    assert not any(each.exists() for each in left)
    assert all(each.exists() for each in others)
