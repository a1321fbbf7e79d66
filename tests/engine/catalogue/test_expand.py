"""What arguments name: files, folders and patterns."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from merkit.engine.catalogue.expand import Sources, inputs_from_paths
from merkit.engine.catalogue.source import Source
from merkit.engine.errors import MerError


def names(sources: Sources) -> list[str]:
    return [Path(source.path).name for source in sources]


def test_folders_files_and_what_is_skipped(tmp_path: Path) -> None:
    for name in (
        "b.MP3",
        "a.wav",
        "notes.txt",
        "list.m3u8",
        "sub/c.Opus",
        "sub/clip.mp4",
        "गीत.flac",
        "cover.jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    odd = tmp_path / "notes.txt"
    inputs = inputs_from_paths([odd, tmp_path, "missing.mp3"])
    names = [Path(path).name for path in inputs.paths]
    assert names == ["notes.txt", "a.wav", "b.MP3", "गीत.flac", "c.Opus", "clip.mp4", "missing.mp3"]
    assert inputs.skipped == 3


def test_loops_of_links_end(tmp_path: Path) -> None:
    inner = tmp_path / "albums" / "one"
    inner.mkdir(parents=True)
    (inner / "a.mp3").touch()
    (inner / "up").symlink_to(tmp_path / "albums")
    (tmp_path / "albums" / "again").symlink_to(inner)
    (tmp_path / "albums" / "dangling.mp3").symlink_to(tmp_path / "nowhere")
    inputs = inputs_from_paths([tmp_path])
    assert sorted(Path(path).name for path in inputs.paths) == ["a.mp3", "dangling.mp3"]


def test_patterns(music: Path) -> None:
    assert names(Sources([music / "*.mp3"])) == ["a.mp3", "b.mp3", "odd [1].mp3"]
    assert names(Sources([music / "**" / "*.*"])) == ["a.mp3", "b.mp3", "odd [1].mp3", "c.ogg", "d.flac"]
    assert names(Sources([music / "s*"])) == ["c.ogg", "d.flac"]  # a folder that matches is searched
    assert names(Sources([music / "odd [1].mp3"])) == ["odd [1].mp3"]  # a name that stands is no pattern
    with pytest.raises(MerError, match="nothing matches"):
        names(Sources([music / "*.wma"]))


def test_size_and_time_tell_a_changed_file(music: Path) -> None:
    (source,) = Sources([music / "a.mp3"])
    status = (music / "a.mp3").stat()
    assert (source.size_bytes, source.mtime_ns) == (5, status.st_mtime_ns)
    assert next(iter(Sources(["missing.mp3"]))) == Source("missing.mp3")


def test_a_closed_folder_is_an_input_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.mp3", "b/2.mp3"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    real = os.scandir

    def scandir(path: Any) -> Any:
        if os.path.basename(path) == "a":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [source.path for source in Sources([tmp_path])] == [f"{tmp_path}/b/2.mp3", f"{tmp_path}/a"]
