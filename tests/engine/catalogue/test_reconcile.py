"""The rules about one row and its file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from any_capitals import find_any_capitals
from merkit.engine.catalogue.reconcile import Looks, RealPaths, Row, Step, row_from_record, step
from merkit.engine.catalogue.source import Source, source_from_path

GOOD = Row("a.mp3", "/m/a.mp3", 5, 10, 20, ok=True, unreadable=False)
BAD = replace(GOOD, ok=False)
AWAY = replace(GOOD, ok=False, unreadable=True, size_bytes=None, mtime_ns=None, ctime_ns=None)
SAME, TOUCHED = Source("a.mp3", 5, 10, ctime_ns=20), Source("a.mp3", 5, 10, ctime_ns=21)
LONGER, LATER, ABSENT = (
    Source("a.mp3", 6, 10, ctime_ns=20),
    Source("a.mp3", 5, 11, ctime_ns=21),
    Source("a.mp3"),
)


@pytest.mark.parametrize(
    ("row", "now", "todo", "retried"),
    [
        (GOOD, SAME, Step.KEEP, Step.KEEP),
        (GOOD, TOUCHED, Step.TAGS, Step.TAGS),
        (GOOD, LONGER, Step.LABEL, Step.LABEL),
        (GOOD, LATER, Step.LABEL, Step.LABEL),
        (GOOD, ABSENT, Step.ABSENT, Step.ABSENT),
        (replace(GOOD, ctime_ns=None), SAME, Step.KEEP, Step.KEEP),  # an older row
        (BAD, SAME, Step.KEEP, Step.LABEL),
        (BAD, TOUCHED, Step.LABEL, Step.LABEL),
        (BAD, LATER, Step.LABEL, Step.LABEL),
        (BAD, ABSENT, Step.KEEP, Step.LABEL),
        (AWAY, SAME, Step.LABEL, Step.LABEL),
        (AWAY, ABSENT, Step.KEEP, Step.LABEL),
        (replace(AWAY, size_bytes=5, mtime_ns=10, ctime_ns=20), SAME, Step.LABEL, Step.LABEL),
    ],
)
def test_what_to_do(row: Row, now: Source, todo: Step, retried: Step) -> None:
    assert step(row, now) is todo
    assert step(row, now, retry_errors=True) is retried


def test_of_a_url_only_what_is_known_can_change() -> None:
    url = "s3://bucket/a.mp3"
    for row, now, todo in (
        (GOOD, Source(url), Step.KEEP),
        (GOOD, Source(url, 5, 10), Step.KEEP),
        (GOOD, Source(url, 6, None), Step.LABEL),
        (replace(GOOD, size_bytes=None, mtime_ns=None), Source(url), Step.KEEP),
        # Nothing says that it is the object of then.
        (replace(GOOD, size_bytes=None, mtime_ns=None), Source(url, 5, 10), Step.LABEL),
        (AWAY, Source(url), Step.LABEL),
    ):
        assert step(row, now) is todo


@pytest.mark.parametrize(
    ("error", "size", "path", "unreadable"),
    [
        ("no such file", 5, "a.mp3", True),
        ("cannot be opened: Permission denied", 5, "a.mp3", True),
        ("anything", None, "a.mp3", True),
        ("holds no audio stream", 5, "a.mp3", False),
        ("cannot be fetched: 503", None, "s3://b/a.mp3", True),
        ("holds no audio stream", None, "s3://b/a.mp3", False),
    ],
)
def test_rows_without_a_kind_of_error(error: str, size: int | None, path: str, unreadable: bool) -> None:
    record = {"path": path, "status": "error", "error": error, "size_bytes": size, "mtime_ns": None}
    assert row_from_record(record) == Row(path, None, size, None, None, False, unreadable)
    for kind in ("unreadable", "audio"):
        assert row_from_record({**record, "error_kind": kind}).unreadable == (kind == "unreadable")


def test_where_paths_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.path.realpath(tmp_path)
    monkeypatch.chdir(root)
    os.makedirs("music/disk")
    Path("music/a.mp3").touch()
    os.symlink("music", "shelf")
    os.symlink("../../shelf/a.mp3", "music/disk/b.mp3")
    os.symlink("/nowhere/c.mp3", "c.mp3")
    real = RealPaths()
    for path in ("music/a.mp3", "./music//a.mp3", f"{root}/shelf/disk/../a.mp3", "shelf/disk/b.mp3"):
        assert real.of(path) == f"{root}/music/a.mp3"
        assert real.of(path, os.path.islink(path)) == f"{root}/music/a.mp3"
    assert real.of("gone/x.mp3") == f"{root}/gone/x.mp3"
    assert real.of("c.mp3") == "/nowhere/c.mp3"
    assert real.of("music/") == real.of("shelf") == f"{root}/music"
    for path in ("", "https://host/a/../b.mp3", "s3://", "a\0b/c"):
        assert real.of(path) == path
    assert real.of("HTTPS://host/m#t=3") == "https://host/m"
    assert real.of("S3://bucket/C#.mp3") == "s3://bucket/C#.mp3"
    assert real.of("https://host/m//") == real.of("https://host/m") == "https://host/m"


def test_a_file_is_one_in_any_capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.path.realpath(tmp_path)
    (tmp_path / "Music").mkdir()
    for name in ("a.mp3", os.fsdecode(b"caf\xe9.mp3")):
        (tmp_path / "Music" / name).touch()
    os.symlink("MUSIC/A.mp3", tmp_path / "link.mp3")
    find_any_capitals(root, monkeypatch)
    monkeypatch.chdir(root)
    for path in ("Music/a.mp3", "music/a.mp3", "MUSIC/./A.MP3", f"{root}/music/A.mp3", "LINK.mp3"):
        assert RealPaths().of(path) == f"{root}/Music/a.mp3"
    assert RealPaths().of(os.fsdecode(b"music/CAF\xe9.mp3")) == os.fsdecode(
        f"{root}/Music/".encode() + b"caf\xe9.mp3"
    )
    assert RealPaths().of("music/") == RealPaths().of("MUSIC") == f"{root}/Music"
    assert RealPaths().of("music/gone.mp3") == f"{root}/Music/gone.mp3"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_link_that_cannot_be_read_leads_to_itself(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = os.path.realpath(tmp_path)
    monkeypatch.chdir(root)
    os.makedirs("music/disk")
    os.symlink("music", "shelf")
    os.symlink("disk", "music/bad")
    os.symlink("bad/a.mp3", "music/a.mp3")
    real_readlink = os.readlink

    def readlink(path: str, **options: Any) -> str:
        if os.path.basename(path) == "bad":
            raise OSError(number, os.strerror(number), path)
        return real_readlink(path, **options)

    monkeypatch.setattr(os, "readlink", readlink)
    assert RealPaths().of("shelf/bad") == RealPaths().of("music/bad/") == f"{root}/music/bad"
    assert RealPaths().of("shelf/bad/x/../b.mp3") == f"{root}/music/bad/b.mp3"
    # What is named by a link to it: Python 3.13 goes one link further.
    assert RealPaths().of("shelf/a.mp3") in (f"{root}/music/a.mp3", f"{root}/music/bad/a.mp3")


def test_gone_needs_a_folder_that_can_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("album", "empty", "hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "album" / "a.mp3").touch()
    (tmp_path / "album" / os.fsdecode(b"caf\xe9.mp3")).touch()
    (tmp_path / "album" / "dangling.mp3").symlink_to("nothing")
    (tmp_path / "hidden" / ".not-mounted").touch()
    looks = Looks()
    names = ("a.mp3", "b.mp3", "dangling.mp3", "caf\\xe9.mp3", "a.mp3/x.mp3", "sub/a.mp3", "\0")
    assert [name for name in names if looks.is_gone(f"{tmp_path}/album/{name}")] == ["b.mp3"]
    assert looks.is_file(f"{tmp_path}/album/caf\\xe9.mp3")
    assert not looks.is_gone(f"{tmp_path}/empty/a.mp3")  # a mount point whose share is away is such a folder
    assert not looks.is_gone(f"{tmp_path}/hidden/a.mp3")
    assert not looks.is_gone("https://host/a.mp3")

    def fail(path: str) -> list[str]:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(os, "listdir", fail)
    assert not Looks().is_gone(f"{tmp_path}/album/b.mp3")


@pytest.mark.parametrize("stand_in", ["a.mp3.nextcloud", "a.mp3.owncloud", ".a.mp3.icloud"])
def test_a_file_is_not_gone_whose_bytes_are_on_a_server(stand_in: str, tmp_path: Path) -> None:
    for name in ("b.mp3", stand_in):
        (tmp_path / name).touch()
    long = f"{'x' * 250}.mp3"  # no stand-in can have its name
    names = ("a.mp3", "c.mp3", "a.mp", long)
    assert [name for name in names if Looks().is_gone(f"{tmp_path}/{name}")] == ["c.mp3", "a.mp", long]


def test_a_folder_whose_time_does_not_tell_that_it_changed(tmp_path: Path) -> None:
    """That of FAT counts in steps of 2 s, that of some programs' file systems stands still."""

    def change(old: str, new: str | None = None) -> None:
        os.rename(folder / old, folder / new) if new else os.unlink(folder / old)
        os.utime(folder, (10**9, 10**9))

    folder = tmp_path / "stick"
    folder.mkdir()
    for name in ("a.mp3", "b.mp3", "c.mp3", "d.mp3"):
        (folder / name).touch()
    looks = Looks()
    change("a.mp3")
    assert looks.is_gone(f"{folder}/a.mp3")
    change("b.mp3")
    assert looks.is_gone(f"{folder}/b.mp3")
    change("c.mp3", "away")
    assert looks.is_gone(f"{folder}/c.mp3")
    change("away", "c.mp3.nextcloud")  # after a list without it
    assert not looks.is_gone(f"{folder}/c.mp3")
    change("c.mp3.nextcloud")
    change("d.mp3", ".not-mounted")  # as if its share went away
    assert not any(looks.is_gone(f"{folder}/{name}.mp3") for name in "abcd")
    change(".not-mounted", "d.mp3")
    assert looks.is_gone(f"{folder}/a.mp3")


def test_an_error_of_a_folder_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.mp3").touch()
    looks = Looks()
    with monkeypatch.context() as context:
        context.setattr(os, "listdir", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        assert not looks.is_gone(f"{tmp_path}/a.mp3")
    assert looks.is_gone(f"{tmp_path}/a.mp3")


def test_a_folder_is_listed_once_for_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.mp3").touch()
    listdir, looks = Mock(side_effect=os.listdir), Looks()
    monkeypatch.setattr(os, "listdir", listdir)
    assert all(looks.is_gone(f"{tmp_path}/{number}.mp3") for number in range(99))
    assert listdir.call_count == 1


def test_a_file_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"12345")
    (tmp_path / "b.mp3").symlink_to("a.mp3")
    (tmp_path / "c.mp3").symlink_to("nothing")
    (tmp_path / "d.mp3").mkdir()
    a, b, *others = (source_from_path(f"{tmp_path}/{name}.mp3") for name in "abcde")
    status = os.stat(tmp_path / "a.mp3")
    assert (a.size_bytes, a.mtime_ns, a.ctime_ns) == (5, status.st_mtime_ns, status.st_ctime_ns)
    assert (b.size_bytes, b.mtime_ns, b.ctime_ns, b.is_link) == (5, a.mtime_ns, a.ctime_ns, True)
    assert [(source.size_bytes, source.is_link) for source in others] == [
        (None, True),
        (None, False),
        (None, False),
    ]
    os.utime(tmp_path / "a.mp3", ns=(10**19, 10**19))  # after 2262: as rows hold it
    assert source_from_path(f"{tmp_path}/a.mp3").mtime_ns == min(
        os.stat(tmp_path / "a.mp3").st_mtime_ns, (1 << 63) - 1
    )
    assert source_from_path("a\0b").size_bytes is None


def test_paths_of_rows_in_the_locale_c(tmp_path: Path) -> None:
    """There the characters of a path are its bytes; rows hold its text, in every locale the same."""
    (tmp_path / "गीत").mkdir()
    (tmp_path / "गीत" / os.fsdecode(b"No\xebl.wav")).write_text("song")
    code = (
        "import sys; from merkit.engine.catalogue.reconcile import Looks\n"
        "text = sys.argv[1].encode('ascii').decode('unicode_escape') + '/No\\\\xebl.wav'\n"
        "assert Looks().is_file(text)\n"
        "assert not Looks().is_gone(text) and Looks().is_gone(text + 'x')\n"
    )
    folder = str(tmp_path / "गीत").encode("unicode_escape").decode()
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, folder], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
