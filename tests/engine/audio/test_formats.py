"""What counts as audio, and what may be opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from audio_files import SUFFIXES
from merkit.engine.audio.formats import AUDIO_SUFFIXES, is_remote, open_regular_file
from merkit.engine.errors import AudioError


def test_every_format_of_the_tests_counts() -> None:
    assert set(SUFFIXES) <= AUDIO_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)
    assert not {".txt", ".jpg", ".m3u", ".csv", ""} & AUDIO_SUFFIXES


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("s3://bucket/a.mp3", True),
        ("https://host/a.mp3?token=1", True),
        ("hdfs+http://host/a.mp3", True),
        ("/music/a.mp3", False),
        ("a://", True),
        ("://a.mp3", False),
        ("music/a: b://c.mp3", False),
        ("C:\\music\\a.mp3", False),
        ("", False),
    ],
)
def test_urls(path: str, remote: bool) -> None:
    assert is_remote(path) is remote


def test_a_regular_file_is_opened_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"sound")
    (tmp_path / "link.mp3").symlink_to(tmp_path / "a.mp3")
    for name in ("a.mp3", "link.mp3"):
        descriptor = open_regular_file(tmp_path / name)
        assert os.read(descriptor, 9) == b"sound"
        os.close(descriptor)


def test_others_are_refused_and_closed(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
    for path, reason in {
        tmp_path / "none.mp3": "no such file",
        tmp_path / "empty.mp3": "the file is empty",
        tmp_path: "not a regular file",
        tmp_path / "pipe.mp3": "not a regular file",
        Path("/dev/null"): "not a regular file",
        tmp_path / "loop.mp3": "cannot be opened: Too many levels of symbolic links",
        Path("a\0b.mp3"): "cannot be opened: embedded null byte",
    }.items():
        with pytest.raises(AudioError) as error:
            open_regular_file(path)
        assert str(error.value) == reason
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before
