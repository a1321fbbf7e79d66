"""Rows of earlier runs in a run of today: what becomes of them, beside the model of a catalogue's life."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from any_capitals import find_any_capitals
from fake_labels import MODEL, OPTIONS, FakeBackend, read_tags
from merkit.engine.catalogue import manifests
from merkit.engine.catalogue import run as run_module
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.resume import Resume
from merkit.engine.catalogue.run import CatalogueRun
from merkit.engine.catalogue.run_info import KEY
from merkit.engine.errors import MerError
from merkit.engine.signals import StoppedError

TIME = 10**18 + 123_456_789  # in the steps of no coarser disk


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs in nas/album, below the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_module, "read_tags", read_tags)
    os.makedirs("nas/album")
    for name in "abcde":
        song(f"nas/album/{name}.wav")


def song(path: str, emotion: str = "happy", time: int = TIME, title: str = "title") -> None:
    Path(path).write_text(f"{emotion:<6}{title}")
    os.utime(path, ns=(time, time))


def label(*arguments: str, backend: FakeBackend | None = None, **options: Any) -> CatalogueRun:
    """A run into labels/, at its end."""
    backend = backend or FakeBackend()
    with CatalogueRun(
        Sources(arguments), MODEL, backend, OPTIONS, "labels", rows_a_shard=2, **options
    ) as run:
        for _ in run.labels():
            pass
    return run


def rows() -> list[dict[str, Any]]:
    paths = sorted(Path("labels").glob("part-*"))
    return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]


def told(run: CatalogueRun) -> dict[str, int]:
    names = ("resumed", "replaced", "updated", "dropped", "pruned", "absent", "errors")
    return {name: getattr(run, name) for name in names if getattr(run, name)}


def list_of(suffix: str) -> str:
    names = [f"nas/album/{name}.wav" for name in "abcde"]
    Path(f"list.{suffix}").write_text("\n".join(["path", *names] if suffix == "csv" else names) + "\n")
    return f"list.{suffix}"


@pytest.mark.parametrize("began_away", [False, True])
def test_a_list_that_can_be_read_in_several_ways(began_away: bool) -> None:
    """Which way is right is seen only while the files are there; a run without them adds no rows."""
    for name in ("f g", "Noël", "Bjo\u0308rk"):
        song(f"nas/album/{name}.wav")
    lines = [
        "nas\\album\\a.wav",
        "nas/album/f%20g.wav",
        "nas/album/Björk.wav",
        f"file://{os.getcwd()}/nas/album/b.wav",
    ]
    Path("list.m3u").write_bytes("\r\n".join([*lines, ""]).encode() + "nas\\album\\Noël.wav".encode("cp1252"))
    names = ["nas/album/a.wav", "nas/album/f g.wav", "nas/album/Bjo\u0308rk.wav", "nas/album/Noël.wav"]
    paths = [*names, f"{os.getcwd()}/nas/album/b.wav"]
    if not began_away:
        label("list.m3u")
    os.rename("nas", "away")
    for _ in range(2):
        label("./list.m3u")
    assert [row["status"] for row in rows()] == ["error" if began_away else "ok"] * 5
    os.rename("away", "nas")
    label("list.m3u")
    label("list.m3u")
    assert sorted((row["path"].removeprefix("./"), row["status"]) for row in rows()) == sorted(
        (path, "ok") for path in paths
    )


@pytest.mark.parametrize(
    "named", ["csv", "m3u", "files", "folder", "album", "pattern", "deep pattern", "link"]
)
@pytest.mark.parametrize("left", ["nothing", "an empty folder", "a folder with a hidden file"])
def test_a_share_that_is_away_changes_nothing(named: str, left: str) -> None:
    os.symlink("nas", "shelf")
    arguments = {
        "files": [f"nas/album/{name}.wav" for name in "abcde"],
        "folder": ["nas"], "album": ["nas/album/"], "pattern": ["nas/album/*.wav"],
        "deep pattern": [f"{os.getcwd()}/nas/**/*.wav"], "link": ["shelf"],
    }.get(named) or [list_of(named)]  # fmt: skip
    assert told(label(*arguments)) == {}
    before = rows()
    assert [row["status"] for row in before] == ["ok"] * 5
    os.rename("nas", "away")
    if left != "nothing":
        os.mkdir("nas")
        if "hidden" in left:
            Path("nas/.not-mounted").touch()
    for prune in (False, True):
        run = label(*arguments, prune=prune, retry_errors=prune)
        assert (run.absent, run.total) == (5, run.resumed)  # nothing is left to do
        assert rows() == before
    if left != "nothing":
        (Path("nas") / ".not-mounted").unlink(missing_ok=True)
        os.rmdir("nas")
    os.rename("away", "nas")
    back = FakeBackend()
    assert told(label(*arguments, backend=back)) == {"resumed": 5}
    assert not back.labelled
    assert rows() == before


def test_a_share_that_vanishes_in_a_run_is_labelled_when_it_is_back() -> None:
    song("nas/album/b.wav", "sad")
    label("nas/album/a.wav", "nas/album/b.wav")
    song("nas/album/b.wav", "tense", TIME + 1)

    def vanish(files: int) -> None:
        if files == 2:
            os.rename("nas", "away")

    run = label("nas", backend=FakeBackend(vanish))
    assert [(row["status"], row["emotion"], row["error_kind"]) for row in rows()] == [
        ("ok", "happy", None), ("ok", "tense", None), ("ok", "happy", None),
        ("error", None, "unreadable"), ("error", None, "unreadable"),
    ]  # fmt: skip
    os.rename("away", "nas")
    song("nas/album/c.wav", "calm", TIME + 1)
    run = label("nas", backend=FakeBackend(vanish))
    assert told(run) == {"resumed": 2, "replaced": 2}
    assert [row["emotion"] for row in rows()] == ["happy", "tense", "calm", "happy", None]
    os.rename("away", "nas")
    song("nas/album/a.wav", "calm", TIME + 1)
    for name in "de":
        song(f"nas/album/{name}.wav", "bad", TIME + 1)
    os.unlink("nas/album/b.wav")
    run = label("nas", backend=FakeBackend(lambda files: os.rename("nas", "away") if not files else None))
    assert [row["emotion"] for row in rows()] == ["happy", "tense", "calm", "happy", None]
    assert run.absent == 3  # b was gone before, a and d were to be labelled again


def test_errors_and_the_folders_they_stand_in() -> None:
    song("nas/album/b.wav", "bad")
    assert told(label("nas")) == {}
    quiet = FakeBackend()
    run = label("nas", backend=quiet)
    assert (told(run), quiet.labelled) == ({"resumed": 5, "errors": 1}, [])
    assert label("nas/album/a.wav").errors == 1  # the exit code is the folder's
    again = FakeBackend()
    assert told(label("nas", backend=again, retry_errors=True)) == {"resumed": 4, "replaced": 1}
    assert again.labelled == ["nas/album/b.wav"]
    song("nas/album/b.wav", "sad", TIME + 1)
    assert told(label("nas")) == {"resumed": 4, "replaced": 1}
    assert told(label("nas")) == {"resumed": 5}


@pytest.mark.parametrize("argument", ["vol/music", "vol/music/", "list.m3u", "vol/*/*.wav"])
def test_an_argument_that_was_not_there(argument: str) -> None:
    song("one.wav")
    run = label("one.wav", argument)
    assert [(row["error_kind"], row["status"]) for row in rows()] == [(None, "ok"), ("unreadable", "error")]
    run = label(argument)
    assert (told(run), len(rows())) == ({"resumed": 1, "errors": 1}, 2)
    os.makedirs("vol")
    os.rename("nas/album", "vol/music")
    Path("list.m3u").write_text("".join(f"vol/music/{name}.wav\n" for name in "abcde"))
    assert told(label(argument)) == {"dropped": 1}
    assert [row["status"] for row in rows()] == ["ok"] * 6
    os.rename("vol", "away")
    os.rename("list.m3u", "away.m3u")
    run = label(argument)
    assert (run.absent, [row["status"] for row in rows()][:6]) == (5 * (argument != "list.m3u"), ["ok"] * 6)


def test_a_killed_run_leaves_a_file_one_row() -> None:
    """Also where the error of a path stands first, and the path leads to a file with a good row now."""

    class Killed(BaseException): ...

    def kill(_: int) -> None:
        raise Killed

    label("shelf/a.wav", "nas")
    assert [row["status"] for row in rows()] == ["error"] + ["ok"] * 5
    os.symlink("nas/album", "shelf")
    song("new.wav")
    arguments = ("nas/album/a.wav", "shelf/a.wav", "new.wav")
    with pytest.raises(Killed):
        label(*arguments, backend=FakeBackend(kill))
    assert len({row["real_path"] for row in rows()}) == len(rows()) == 6
    label(*arguments)
    assert [(row["path"], row["status"]) for row in rows()] == [
        *((f"nas/album/{name}.wav", "ok") for name in "abcde"),
        ("new.wav", "ok"),
    ]


def test_a_signal_is_heard_while_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not, for minutes, in a folder of millions of rows."""
    label("nas")
    before, taken = rows(), list[Any]()
    for name in "abcde":
        song(f"nas/album/{name}.wav", "sad", TIME + 1)
    real = Resume.take

    def take(*arguments: Any, **options: Any) -> dict[str, Any] | None:
        taken.append(arguments)
        return real(*arguments, **options)

    def check() -> None:
        if taken:
            raise StoppedError(130)

    sources = Sources(["nas"])
    sources.check = check
    with monkeypatch.context() as patch:
        patch.setattr(Resume, "take", take)
        with pytest.raises(StoppedError):
            CatalogueRun(sources, MODEL, FakeBackend(), OPTIONS, "labels")
    assert (len(taken), rows()) == (2, before)
    assert told(label("nas")) == {"replaced": 5}


def test_an_error_that_a_good_row_supersedes_is_not_counted() -> None:
    label("shelf/a.wav", "nas/album/a.wav")
    assert [row["status"] for row in rows()] == ["error", "ok"]
    os.symlink("nas/album", "shelf")
    os.rename("nas", "away")
    for _ in range(2):
        assert told(label("nas/album/a.wav")) == {"resumed": 1, "absent": 1}
        assert [row["status"] for row in rows()] == ["ok"]


@pytest.mark.parametrize("argument", ["list.m3u", "album.wav", "."])
def test_an_error_of_what_is_a_list_or_a_folder_now(argument: str) -> None:
    """Also of one that was read: nothing would try it again."""
    song("one.wav")
    named = "list.m3u" if argument == "list.m3u" else "album.wav"
    song(named, "bad")
    Path("all.m3u").write_text(f"{named}\n")
    label("all.m3u")
    assert [row["error_kind"] for row in rows()] == ["audio"]
    os.unlink(named)
    if argument == "list.m3u":
        Path(named).write_text("one.wav\n")
    else:
        os.mkdir(named)
        song("album.wav/two.wav")
    run = label(argument)
    assert (run.dropped, run.errors) == (1, 0)
    assert {row["status"] for row in rows()} == {"ok"}


def test_an_empty_list_has_no_row() -> None:
    Path("list.m3u").touch()
    song("one.wav")
    for content in ("", "nas/album/a.wav\n"):
        Path("list.m3u").write_text(content)
        label("list.m3u", "one.wav", retry_errors=True)
        assert {row["status"] for row in rows()} == {"ok"}
    assert len(rows()) == 2


def test_rows_that_were_not_written_are_told() -> None:
    song("one.wav")
    label("nas", "one.wav")
    for name in "ab":
        song(f"nas/album/{name}.wav", "calm", TIME + 1)
    vanish = FakeBackend(lambda files: os.rename("nas", "away") if not files else None)
    assert label("nas", backend=vanish).unwritten == 2
    os.rename("away", "nas")
    assert label("nas").unwritten == 0


def test_each_line_of_a_table_without_a_path_has_a_row() -> None:
    def run(*lines: str, **options: Any) -> CatalogueRun:
        Path("list.csv").write_text("\n".join(["id,path", *lines]))
        return label("list.csv", **options)

    def found() -> list[tuple[str, str, str]]:
        return sorted((row["id"], row["path"], row["status"]) for row in rows())

    lines = ["1,nas/album/a.wav", "2,", "3,", "4, ", "4,"]
    wanted = [("1", "nas/album/a.wav", "ok"), *((id, "", "error") for id in "2344")]
    first = run(*lines, by_content=True)
    assert (first.total, first.repeats, found()) == (5, 0, wanted)
    for options in ({}, {"retry_errors": True}):
        assert (run(*lines, **options).dropped, found()) == (0, wanted)
    again = run(*lines)
    assert (told(again), again.total) == ({"resumed": 5, "errors": 4}, 5)
    assert told(run("1,nas/album/a.wav", "2,nas/album/b.wav", "3,", "5,")) == {
        "resumed": 3, "errors": 2, "updated": 2, "dropped": 2,
    }  # fmt: skip
    other = ("2", "nas/album/b.wav", "ok")
    assert found() == [wanted[0], other, ("3", "", "error"), ("5", "", "error")]


def test_names_that_are_mistyped_begin_no_folder() -> None:
    """No later run would name them, and their errors would stand in the folder for good."""
    for arguments in (["nass"], ["nass/", "nas/album/z.wav"], ["nass/*.wav"]):
        with pytest.raises(MerError, match=r"no such file: nass.*; no row was written"):
            label(*arguments)
        assert rows() == []
    assert told(label("nas")) == {}
    assert [row["status"] for row in rows()] == ["ok"] * 5


def test_one_row_however_it_is_spelt() -> None:
    os.mkdir("x")
    spellings = ("", "./", f"{os.getcwd()}/", "x/../")
    for start in spellings:
        label(f"{start}nas")
    os.symlink("album", "nas/0 comes first")
    os.symlink("a.wav", "nas/album/0.wav")
    Path("nas/list.m3u").write_text("album/a.wav\n0 comes first/b.wav\n")
    quiet = FakeBackend()
    several = [f"{start}nas/album/a.wav" for start in spellings]
    for arguments in (["nas"], ["nas/list.m3u"], ["nas", "nas/album", "nas/list.m3u"], several):
        label(*arguments, backend=quiet)
    assert not quiet.labelled
    assert [row["path"] for row in rows()] == [f"nas/album/{name}.wav" for name in "abcde"]


@pytest.mark.parametrize("argument", ["nas", "nas/bad", "nas/bad/x.wav", "nas/album/bad.wav", "nas/*/*.wav"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_that_cannot_be_read_costs_its_row(
    argument: str, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir("other")
    song("other/x.wav", "sad")
    os.symlink("../other", "nas/bad")
    os.symlink("../../other/x.wav", "nas/album/bad.wav")
    if not is_there:
        os.rename("other", "away")
    real_readlink = os.readlink

    def readlink(path: str, **options: Any) -> str:
        if "bad" in os.path.basename(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real_readlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "readlink", readlink)
        label(argument, "nas/album/a.wav")
    failed = {row["path"]: row["error_kind"] for row in rows() if row["status"] != "ok"}
    assert set(failed.values()) == (set() if is_there else {"unreadable"})
    assert {row["emotion"] for row in rows() if "bad" in row["path"]} <= {"sad" if is_there else None}
    assert len(rows()) > 1
    if not is_there:
        os.rename("away", "other")
    assert label(argument, "nas/album/a.wav").errors == 0
    real_paths = [row["real_path"] for row in rows()]
    assert len({*real_paths}) == len(real_paths)
    assert os.path.realpath("other/x.wav") in real_paths
    assert {row["status"] for row in rows()} == {"ok"}


def test_a_library_that_moves_and_leaves_a_link_is_the_same() -> None:
    label("nas")
    before = rows()
    os.rename("nas", "bigger disk")
    os.symlink("bigger disk", "nas")
    quiet = FakeBackend()
    for argument in ("nas", "bigger disk"):
        assert told(label(argument, backend=quiet)) == {"resumed": 5}
    assert not quiet.labelled
    here = os.path.realpath(".")
    assert [row["real_path"] for row in rows()] == [
        f"{here}/bigger disk/album/{name}.wav" for name in "abcde"
    ]
    assert [row["path"] for row in rows()] == [row["path"] for row in before]


def test_folders_that_move_together_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels beside their songs, on another machine or in a container: the paths are relative."""
    label("nas")
    os.mkdir("elsewhere")
    for name in ("nas", "labels"):
        os.rename(name, f"elsewhere/{name}")
    monkeypatch.chdir("elsewhere")
    quiet = FakeBackend()
    assert told(label("nas", backend=quiet)) == {"resumed": 5}
    assert not quiet.labelled
    assert rows()[0]["real_path"] == os.path.realpath("nas/album/a.wav")


def test_labels_that_were_copied_with_their_songs_are_those_of_the_copies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second disk with both, while the first one is there; not a copy of the music alone."""
    label("nas")
    shutil.copytree("nas", "disk/nas")
    shutil.copytree("labels", "disk/labels")
    shutil.copytree("nas", "music alone/nas")
    first, disk, alone = (os.path.realpath(place) for place in (".", "disk", "music alone"))
    monkeypatch.chdir("disk")
    quiet = FakeBackend()
    assert label("nas", backend=quiet).resumed == 5
    assert not quiet.labelled
    assert [row["real_path"] for row in rows()] == [f"{disk}/nas/album/{name}.wav" for name in "abcde"]
    song("nas/album/a.wav", "sad", TIME + 1)
    assert told(label("nas")) == {"resumed": 4, "replaced": 1}
    monkeypatch.chdir(alone)
    os.symlink(f"{first}/labels", "labels")
    label("nas")
    assert len(rows()) == 10


@pytest.mark.parametrize("named", ["nas", "nas/album/b.wav"])
def test_copies_with_new_times_are_labelled_in_their_rows(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by "cp -r": no row of the copied labels leads to the first disk."""
    label("nas")
    for name in ("nas", "labels"):
        shutil.copytree(name, f"disk/{name}", copy_function=shutil.copy)
    shutil.copytree("nas", "alone/nas", copy_function=shutil.copy)
    first = os.path.realpath("nas/album/b.wav")
    monkeypatch.chdir("disk")
    before = rows()
    count = 5 if named == "nas" else 1
    assert told(label(named)) == {"replaced": count}
    assert [row["path"] for row in rows()] == [row["path"] for row in before]
    assert sum(row["real_path"] != old["real_path"] for row, old in zip(rows(), before, strict=True)) == count
    assert first not in [row["real_path"] for row in rows()]
    monkeypatch.chdir("../alone")
    shutil.copytree("../labels", "other/labels")
    os.symlink("other/labels", "labels")
    label("nas")
    assert len(rows()) == 10


@pytest.mark.parametrize("step", [100, 10**3, 10**6, 10**7, 10**9, 2 * 10**9])
@pytest.mark.parametrize("back", [False, True])
def test_an_archive_of_both_that_rounds_times(step: int, back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """tar keeps whole seconds; what was labelled on a coarse disk may go back to a fine one, too.

    A song that has changed has no time that a zip may have made of the old one's, up or down.
    """
    fine = TIME + 10**9
    before, after = (fine - fine % step, fine) if back else (fine, fine - fine % step)
    for name in "abcde":
        song(f"nas/album/{name}.wav", time=before)
    label("nas")
    shutil.copytree("nas", "elsewhere/nas")
    shutil.copytree("labels", "elsewhere/labels")
    os.rename("nas", "nas of before")
    monkeypatch.chdir("elsewhere")
    for name in "abcde":
        os.utime(f"nas/album/{name}.wav", ns=(after, after))
    quiet = FakeBackend()
    assert told(label("nas", backend=quiet)) == {"resumed": 5, "updated": 5}
    assert not quiet.labelled
    assert [(row["path"], row["mtime_ns"]) for row in rows()] == [
        (f"nas/album/{name}.wav", after) for name in "abcde"
    ]
    song("nas/album/a.wav", "sad", after + 2 * step)
    song("nas/album/b.wav", "sad", after - 1 if after % (2 * 10**9) else after - step)
    assert told(label("nas")) == {"resumed": 3, "replaced": 2}


@pytest.mark.parametrize("back", [False, True])
def test_a_zip_that_rounds_times_up(back: bool) -> None:
    """That of Info-ZIP, to even seconds, where it has no field "UT"."""
    times = TIME + 10**9, 10**18 + 2 * 10**9
    before, after = times[::-1] if back else times
    for name in "abcde":
        song(f"nas/album/{name}.wav", time=before)
    label("nas")
    for name in "abcde":
        os.utime(f"nas/album/{name}.wav", ns=(after, after))
    quiet = FakeBackend()
    assert told(label("nas", backend=quiet)) == {"resumed": 5, "updated": 5}
    assert not quiet.labelled
    song("nas/album/a.wav", "sad", TIME + 5 * 10**9)
    assert told(label("nas")) == {"resumed": 4, "replaced": 1}


def test_an_archive_that_rounds_times_and_a_mac() -> None:
    old, new = (unicodedata.normalize(form, "nas/Café.wav") for form in ("NFC", "NFD"))
    song(old)
    label("nas")
    os.rename(old, new)
    os.utime(new, ns=(10**18, 10**18))
    quiet = FakeBackend()
    assert told(label("nas", backend=quiet)) == {"resumed": 6, "updated": 1}
    assert (quiet.labelled, len(rows())) == ([], 6)


def test_a_song_that_is_saved_again_within_a_second_is_another() -> None:
    """A tagger that has room for its tags keeps the size."""
    label("nas")
    for name, later in (("a", 1), ("b", 10**8), ("c", 7 * 10**8)):
        song(f"nas/album/{name}.wav", "calm", TIME + later)
    assert told(label("nas")) == {"resumed": 2, "replaced": 3}


def test_a_link_to_another_release() -> None:
    os.symlink("a.wav", "nas/album/current.wav")
    label("nas/album/current.wav")
    song("nas/album/b.wav", "sad", TIME + 1)
    os.unlink("nas/album/current.wav")
    os.symlink("b.wav", "nas/album/current.wav")
    label("nas/album/current.wav")
    here = os.path.realpath("nas/album")
    assert [(row["path"], row["emotion"]) for row in rows()] == [
        (f"{here}/a.wav", "happy"), ("nas/album/current.wav", "sad"),
    ]  # fmt: skip


def test_prune_removes_what_is_gone_and_nothing_else() -> None:
    os.makedirs("nas/other")
    for name in ("nas/other/x.wav", "nas/0.wav", "nas/1.wav"):
        song(name)
    arguments = [list_of("m3u"), "nas"]
    label(*arguments, "missing.wav")
    os.unlink("nas/album/b.wav")
    os.unlink("nas/0.wav")
    os.rename("nas/other", "away")
    assert label(*arguments).absent == 3
    assert len(rows()) == 9
    run = label(*arguments, prune=True)
    assert (run.pruned, run.absent) == (3, 1)
    names = [os.path.basename(row["path"]) for row in rows()]
    assert names == ["a.wav", "c.wav", "d.wav", "e.wav", "1.wav", "x.wav"]
    run = label(*arguments, prune=True)
    assert (run.pruned, run.absent, len(rows())) == (0, 1, 6)


def test_prune_lists_a_folder_again_only_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was listed for each input that could not be read."""
    Path("list.m3u").write_text("".join(f"nas/album/gone{i}.wav\n" for i in range(50)) + "nas/album/a.wav\n")
    listed: list[Any] = []
    real = os.listdir

    def listdir(folder: Any) -> list[str]:
        listed.append(folder)
        return real(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    label("list.m3u", prune=True)
    assert (len(rows()), listed.count(os.path.abspath("nas/album"))) == (1, 1)

    def vanish(files: int) -> None:
        os.unlink(f"nas/album/{'bcd'[files]}.wav")
        os.utime("nas/album", ns=(files, files))  # the clock of a disk may be coarse

    Path("list.m3u").write_text("".join(f"nas/album/{name}.wav\n" for name in "bcd"))
    label("list.m3u", prune=True, backend=FakeBackend(vanish))
    assert len(rows()) == 1


@pytest.mark.parametrize("hidden", [False, True])
def test_prune_keeps_songs_whose_bytes_are_on_a_server(hidden: bool) -> None:
    """What stands in for them is no song, and no error."""
    label("nas")
    for name, stand_in in (("a", "a.wav.nextcloud"), ("b", "b.wav.owncloud"), ("c", ".c.wav.icloud")):
        os.unlink(f"nas/album/{name}.wav")
        Path(f"nas/album/{stand_in}").touch()
    with CatalogueRun(
        Sources(["nas"], hidden=hidden), MODEL, FakeBackend(), OPTIONS, "labels", prune=True
    ) as run:
        assert list(run.labels()) == []
    assert told(run) == {"resumed": 2, "absent": 3}
    assert [row["path"] for row in rows()] == [f"nas/album/{name}.wav" for name in "abcde"]


@pytest.mark.parametrize("argument", ["nas", "list"])
def test_prune_removes_a_song_whose_name_a_folder_has_now(argument: str) -> None:
    argument = list_of("m3u") if argument == "list" else argument
    label(argument)
    os.unlink("nas/album/b.wav")
    song_in_it = Path("nas/album/b.wav/1.wav")
    song_in_it.parent.mkdir()
    song(str(song_in_it))
    run = label(argument, prune=True)
    assert (run.pruned, run.absent) == (1, 0)
    names = [row["path"].removeprefix("nas/album/") for row in rows() if row["status"] == "ok"]
    assert sorted(names) == [
        *(["a.wav", "b.wav/1.wav"] if argument == "nas" else ["a.wav"]),
        "c.wav",
        "d.wav",
        "e.wav",
    ]
    errors = [(row["path"], row["error"]) for row in rows() if row["status"] != "ok"]
    assert errors == ([] if argument == "nas" else [("nas/album/b.wav", "not a regular file")])


@pytest.mark.parametrize("argument", ["nas", "list"])
def test_forget_removes_what_is_not_there_below_a_folder(argument: str) -> None:
    """As after an album was renamed: --prune cannot tell that from a share that is away."""
    os.makedirs("nas/other")
    song("nas/0.wav")
    song("nas/other/x.wav")
    arguments = ("nas",) if argument == "nas" else (list_of("m3u"), "nas")
    label(*arguments)
    os.rename("nas/album", "nas/Album (1955)")
    os.unlink("nas/0.wav")
    for forget in ([], ["nas/alb", "nas/Album (1955)", "elsewhere"]):
        run = label(*arguments, prune=False, forget=forget)
        assert (run.pruned, run.absent) == (0, 6)
    run = label(*arguments, forget=[f"{os.getcwd()}/nas/other/../album/"])
    assert (run.pruned, run.absent) == (5, 1)
    names = sorted(row["path"].removeprefix("nas/") for row in rows())
    assert names == ["0.wav", *(f"Album (1955)/{name}.wav" for name in "abcde"), "other/x.wav"]
    run = label("nas", forget=["nas"])
    assert (run.pruned, run.absent, len(rows())) == (1, 0, 6)


@pytest.mark.parametrize("wrong", ["nas/albun", "nas2/album", "nas/album/aa.wav"])
def test_a_name_that_was_mistyped_is_forgotten_by_it(wrong: str) -> None:
    label("nas")
    assert label(wrong).total == 1
    run = label("nas", retry_errors=True)
    assert (run.errors, run.strays, run.stray) == (1, 1, os.path.realpath(wrong))
    assert told(label("nas", forget=[wrong])) == {"resumed": 5, "pruned": 1}
    assert told(label("nas")) == {"resumed": 5}


def test_nothing_to_forget_forgets_the_rows_without_a_path_alone() -> None:
    """--forget "$X" in a shell where X is not set must not take all that is away."""
    Path("list.csv").write_text("id,path\n1,\n")
    label("list.csv", "nas")
    os.rename("nas", "away")
    Path("list.csv").write_text("id,path\n1,nas/album/a.wav\n")
    run = label("list.csv", "nas", forget=[""])
    assert (run.pruned, run.absent) == (1, 5)
    assert [row["status"] for row in rows()] == ["ok"] * 5


def test_lines_without_a_path_have_a_row_with_prune_too() -> None:
    """They name no file that could be gone from its folder."""
    Path("list.csv").write_text("id,path\n1,nas/album/a.wav\n2,\n3,\n")
    for _ in range(2):
        run = label("list.csv", prune=True)
        assert [row["id"] for row in rows()] == ["1", "2", "3"]
        assert (run.pruned, run.unwritten) == (0, 0)
    Path("list.csv").write_text("id,path\n1,nas/album/a.wav\n7,\n")
    assert label("list.csv", prune=True).dropped == 1
    Path("list.csv").write_text("id,path\n1,nas/album/a.wav\n8,nas/album/b.wav\n")
    run = label("list.csv", prune=True)
    assert (run.errors, run.strays, run.stray) == (1, 1, "")
    run = label("list.csv", prune=True, forget=[""])
    assert ([row["id"] for row in rows()], run.errors) == (["1", "8"], 0)


def test_what_is_to_be_forgotten_is_named_for_every_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    label("nas", "nas2")
    stray, out, nas = label("nas").stray, os.path.abspath("labels"), os.path.abspath("nas")
    os.mkdir("elsewhere")
    monkeypatch.chdir("elsewhere")
    with CatalogueRun(Sources([nas]), MODEL, FakeBackend(), OPTIONS, out, forget=[str(stray)]) as run:
        assert (run.pruned, run.errors) == (1, 0)


@pytest.mark.parametrize("place", ["other", "other/bad.wav"])
def test_an_error_of_what_is_there_is_none_to_forget(place: str) -> None:
    os.mkdir("other")
    if place == "other/bad.wav":
        song(place, "bad")
    else:
        os.rename("other", "away")
    label("nas", "other")
    if place == "other":
        os.rename("away", "other")
    run = label("nas")
    assert (run.errors, run.strays, run.stray) == (1, 0, None)
    os.rename("other", "gone")
    assert label("nas").stray == os.path.realpath(place)


def test_forget_takes_one_file_that_is_not_there() -> None:
    label("nas")
    os.unlink("nas/album/a.wav")
    run = label("nas", forget=["nas/album/a.wav", "nas/album/b.wav"])
    assert told(run) == {"resumed": 4, "pruned": 1}


@pytest.fixture
def any_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    find_any_capitals("nas", monkeypatch)


@pytest.mark.usefixtures("any_capitals")
@pytest.mark.parametrize("prune", [False, True])
def test_a_change_of_capitals_is_no_other_song(prune: bool) -> None:
    """On the disks of Macs and Windows, which find a song by its old name still."""
    label("nas")
    os.rename("nas/album", "nas/Album")
    quiet = FakeBackend()
    assert told(label("nas", backend=quiet, prune=prune)) == {"resumed": 5}
    os.rename("nas/Album/a.wav", "nas/Album/A.wav")
    assert told(label("nas", backend=quiet, prune=prune))["resumed"] == 5
    assert not quiet.labelled
    assert told(label("nas/ALBUM", "nas/album/b.WAV", backend=quiet)) == {"resumed": 5}
    assert [row["real_path"] for row in rows()] == [
        os.path.realpath(f"nas/Album/{name}.wav") for name in "Abcde"
    ]
    os.unlink("nas/Album/b.wav")
    assert told(label("nas/album")) == {"resumed": 4, "absent": 1}
    assert told(label("nas/album", prune=True)) == {"resumed": 4, "pruned": 1}


@pytest.mark.usefixtures("any_capitals")
def test_forget_takes_a_folder_in_any_capitals() -> None:
    label("nas")
    os.unlink("nas/album/b.wav")
    assert told(label("nas", forget=["nas/ALBUM"])) == {"resumed": 4, "pruned": 1}


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("part", ["folder", "name", "both"])
def test_a_change_of_the_normal_form_is_no_other_song(forms: Any, part: str) -> None:
    """As after a trip over a Mac, on a disk that takes "é" in one character and in two for two names."""
    names = ("nas/Rév", "Cafe.wav" if part == "folder" else "Café.wav")
    old, new = ([unicodedata.normalize(form, name) for name in names] for form in forms)
    os.mkdir(old[0])
    song("/".join(old))
    assert label("nas").total == 6
    if part != "folder":
        os.rename("/".join(old), f"{old[0]}/{new[1]}")
    if part != "name":
        os.rename(old[0], new[0])
    (folder,) = [name for name in os.listdir("nas") if name.startswith("R")]
    (name,) = os.listdir(f"nas/{folder}")
    quiet = FakeBackend()
    run = label("nas", backend=quiet)
    assert (told(run)["resumed"], run.absent, quiet.labelled, len(rows())) == (6, 0, [], 6)
    path = f"nas/{folder}/{name}"
    (row,) = [row for row in rows() if row["path"] == path]
    assert row["real_path"] == os.path.realpath(path)
    assert told(label("nas", prune=True)) == {"resumed": 6}


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nas/Re\u0301v/Caf\xe9.wav", "nas/R\xe9v/Caf\xe9.wav"),
        ("nas/R\xe9v/Cafe\u0301.wav", "nas/Re\u0301v/Caf\xe9.wav"),
        ("nas/\u095b/a.wav", "nas/\u091c\u093c/a.wav"),  # which no form composes
    ],
    ids=ascii,
)
def test_each_name_of_a_path_has_a_form_of_its_own(old: str, new: str, back: bool) -> None:
    old, new = (new, old) if back else (old, new)
    for path in (old, new):
        os.makedirs(os.path.dirname(path))
    song(old)
    label("nas")
    os.rename(old, new)
    song(os.path.dirname(old) + "/other.wav")  # or its folder may be a mount point whose share is away
    quiet = FakeBackend()
    run = label("nas", backend=quiet)
    assert (run.resumed, run.absent, quiet.labelled) == (6, 0, [os.path.dirname(old) + "/other.wav"])
    assert new in [row["path"] for row in rows()]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("prune", [False, True])
def test_a_form_whose_song_is_gone_takes_no_row_from_the_other(forms: Any, prune: bool) -> None:
    """Whichever row comes first; the shards are of two rows."""
    gone, there = (unicodedata.normalize(form, "nas/Café.wav") for form in forms)
    song(gone, "calm")
    song(there, "sad")
    for order in ((gone, there), (there, gone)):
        label(*order, "nas")
        before = [(row["path"], row["emotion"]) for row in rows()]
        os.rename(gone, "away")
        quiet = FakeBackend()
        run = label("nas", backend=quiet, prune=prune)
        assert told(run) == {"resumed": 6, "pruned" if prune else "absent": 1}
        assert quiet.labelled == []
        after = [(row["path"], row["emotion"]) for row in rows()]
        assert after == [row for row in before if not prune or row[0] != gone]
        assert told(label("nas", prune=True)) == {"resumed": 6} | ({} if prune else {"pruned": 1})
        os.rename("away", gone)
        for path in Path("labels").glob("part-*"):
            path.unlink()


def test_two_rows_of_one_name_are_not_both_that_of_a_third_form() -> None:
    names = [
        f"nas/{first}v/{second}.wav" for first in ("Re\u0301", "R\xe9") for second in ("e\u0301", "\xe9")
    ]
    for name in names[:2]:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        song(name)
    label("nas")
    os.rename(os.path.dirname(names[0]), os.path.dirname(names[2]))
    os.unlink(names[3])
    assert told(label("nas")) == {"resumed": 6, "absent": 1}
    assert len(rows()) == 7
    assert told(label("nas", prune=True)) == {"resumed": 6, "absent": 1}  # the folder itself is gone


@pytest.mark.parametrize("away", ["folder", "empty"])
def test_a_share_that_is_away_gives_no_row_to_a_copy_in_another_form(away: str) -> None:
    share, copy = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    os.mkdir(share)
    song(f"{share}/a.wav")
    label(share)
    os.rename(share, "away")
    if away == "empty":  # a mount point
        os.mkdir(share)
    os.mkdir(copy)
    song(f"{copy}/a.wav", "sad")
    assert told(label(share, copy)) == {"absent": 1}
    assert [(row["path"], row["emotion"]) for row in rows()] == [
        (f"{share}/a.wav", "happy"),
        (f"{copy}/a.wav", "sad"),
    ]
    assert told(label(share, copy)) == {"resumed": 1, "absent": 1}


def test_another_song_of_a_name_in_another_form_is_another() -> None:
    old, new = (unicodedata.normalize(form, "nas/Café.wav") for form in ("NFC", "NFD"))
    song(old)
    label("nas")
    song(new, "sad")
    assert len(rows()) == 6
    assert told(label("nas")) == {"resumed": 6}
    assert len(rows()) == 7
    os.unlink(old)
    song(new, "calm", TIME + 1)
    assert told(label("nas")) == {"resumed": 5, "replaced": 1, "absent": 1}


def test_rows_that_a_change_of_capitals_doubled_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As older versions left them."""
    label("nas")
    os.rename("nas/album", "nas/Album")
    label("nas")
    assert len(rows()) == 10
    find_any_capitals("nas", monkeypatch)
    assert told(label("nas")) == {"resumed": 5, "dropped": 5}
    assert len(rows()) == 5


@pytest.mark.usefixtures("any_capitals")
@pytest.mark.parametrize("suffix", ["csv", "m3u"])
def test_a_list_in_other_capitals_than_the_disk(suffix: str) -> None:
    names = [f"nas/ALBUM/{name}.WAV" for name in "abcde"]
    Path(f"list.{suffix}").write_text("\n".join(["path", *names] if suffix == "csv" else names) + "\n")
    run = label("nas", f"list.{suffix}")
    assert (run.total, run.repeats, len(rows())) == (5, 5, 5)


def test_prune_keeps_the_error_of_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.listdir, os.scandir

    def refusing(list_folder: Any, path: Any = ".") -> Any:
        if str(path).endswith("album"):
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(os, "listdir", lambda path=".": refusing(real[0], path))
    monkeypatch.setattr(os, "scandir", lambda path=".": refusing(real[1], path))
    song("nas/1.wav")
    for _ in range(2):
        run = label("nas", prune=True)
        assert [(row["path"], row["status"]) for row in rows()] == [
            ("nas/1.wav", "ok"),
            ("nas/album", "error"),
        ]
        assert run.pruned == 0


def test_why_a_folder_cannot_be_listed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a disk that fails, which opens the folder and reads nothing."""
    real = os.scandir

    def failing(path: Any = ".") -> Any:
        if str(path).endswith("album"):
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    song("nas/1.wav")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        label("nas")
        assert [(row["path"], row["error"], row["error_kind"]) for row in rows()] == [
            ("nas/1.wav", None, None),
            ("nas/album", "cannot be listed: Input/output error", "unreadable"),
        ]
    assert told(label("nas"))["dropped"] == 1
    monkeypatch.setattr(os, "scandir", failing)
    run = label("nas")
    assert run.unlisted == [f"{os.path.realpath('nas/album')}: Input/output error"]
    assert (run.absent, len(rows())) == (5, 6)


def test_a_folder_without_songs_is_said_to_be_one() -> None:
    os.mkdir("empty")
    with pytest.raises(MerError, match="no audio in empty"):
        label("empty")


@pytest.mark.parametrize(("name", "text"), [("e.m3u", ""), ("e.m3u8", "#EXTM3U\n"), ("e.csv", "path\n")])
def test_a_list_without_entries_is_said_to_be_one(name: str, text: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(MerError, match=f"^no audio in {name}: a list without entries$"):
        label(name)


def test_a_playlist_of_urls_is_said_to_be_one() -> None:
    Path("radio.m3u").write_text("#EXTM3U\nhttps://example.org/a.mp3\n")
    with pytest.raises(MerError) as error:
        label("radio.m3u")
    assert str(error.value) == (
        "no audio in radio.m3u: 1 other file skipped; of playlists no URLs are taken: list them in a .csv"
    )


def test_corrected_columns_reach_their_rows() -> None:
    names = [f"nas/album/{name}.wav" for name in "abc"]

    def manifest(*genres: str) -> str:
        lines = [f"{name},{genre},nan" for name, genre in zip(names, genres, strict=True)]
        Path("list.csv").write_text("\n".join(["path,genre,emotion", *lines]) + "\n")
        return "list.csv"

    label(manifest("rokc", "pop", "jazz"))
    quiet = FakeBackend()
    assert told(label(manifest("rock", "pop", "jazz"), backend=quiet)) == {"resumed": 3, "updated": 1}
    assert told(label("nas", manifest("rock", "pop", "swing"))) == {"resumed": 3, "updated": 1}
    assert not quiet.labelled
    assert [(row["genre"], row["manifest_emotion"]) for row in rows()] == [
        ("rock", "nan"), ("pop", "nan"), ("swing", "nan"), (None, None), (None, None),
    ]  # fmt: skip
    os.rename("nas", "away")
    run = label(manifest("rock", "disco", "swing"))
    assert (told(run)["updated"], rows()[1]["genre"], rows()[1]["status"]) == (1, "disco", "ok")


def test_a_column_keeps_its_kind() -> None:
    def manifest(*values: object) -> str:
        paths = [f"nas/album/{name}.wav" for name, _ in zip("abcde", values, strict=False)]
        pq.write_table(pa.table({"path": paths, "year": values, "verdict": values}), "list.parquet")
        return "list.parquet"

    label(manifest(1999))
    assert told(label(manifest(1999.0, None))) == {"resumed": 1}
    assert told(label(manifest(2001.0, 2000.0, None))) == {"resumed": 2, "updated": 2}
    assert told(label(manifest(None, None, None))) == {"resumed": 3, "updated": 2}
    assert told(label(manifest(2001.0, 2000.0))) == {"resumed": 2, "updated": 2}
    before = rows()
    with pytest.raises(MerError, match=r"list.parquet: the column 'year' has '0.5', and .* int64 there"):
        label(manifest(2001.0, 0.5, 3.0, 4.0))
    assert rows() == before
    pairs = [(row["year"], row["manifest_verdict"]) for row in before]
    assert pairs == [(2001, 2001), (2000, 2000), (None, None)]


@pytest.mark.parametrize("older", [False, True])
def test_the_index_of_pandas_is_no_column(older: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """pandas writes it of rows that were chosen; older versions took it into the rows, where it stays."""

    def manifest(names: str, index: list[int] | None) -> str:
        paths = [f"nas/album/{name}.wav" for name in names]
        table: dict[str, list[Any]] = {"path": paths, "year": [*range(len(paths))]}
        if index:
            table["__index_level_0__"] = index
        pq.write_table(pa.table(table), "list.parquet")
        return "list.parquet"

    with monkeypatch.context() as then:
        if older:
            then.setattr(manifests, "is_index", lambda name: False)
        label(manifest("abd", [0, 1, 3]))
    assert told(label(manifest("abd", [0, 1, 3]))) == {"resumed": 3}
    assert told(label(manifest("abcd", None))) == {"resumed": 3, "updated": 1}
    assert told(label(manifest("abcd", [5, 6, 7, 8]), "nas")) == {"resumed": 4}
    assert [row.get("__index_level_0__", "none") for row in rows()] == (
        [0, 1, 3, None, None] if older else ["none"] * 5
    )


def test_bytes_of_a_list_that_are_no_text() -> None:
    Path("list.csv").write_bytes(b"path,genre\nnas/album/a.wav,caf\xe9\nnas/album/b.wav,pop\n")
    label("list.csv")
    assert told(label("list.csv")) == {"resumed": 2}
    assert [row["genre"] for row in rows()] == ["caf\\xe9", "pop"]


def rewrite(path: str, text: str) -> None:
    """New content of the same size and time."""
    status = os.stat(path)
    assert len(text) == status.st_size
    while os.stat(path).st_ctime_ns == status.st_ctime_ns:  # the clock of a file system ticks slowly
        Path(path).write_text(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_new_tags_with_the_time_of_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    label("nas")
    rewrite("nas/album/c.wav", "happy title")
    albums = [{"title": "title", "album": "ALBUM"}]
    monkeypatch.setattr(run_module, "read_tags", lambda paths, *_: iter(albums[: len(list(paths))]))
    quiet = FakeBackend()
    assert told(label("nas", backend=quiet)) == {"resumed": 5, "updated": 1}
    assert not quiet.labelled
    assert [(row["emotion"], row["title"], row["album"]) for row in rows()] == [
        ("happy", "title", "ALBUM" if name == "c" else None) for name in "abcde"
    ]
    assert told(label("nas")) == {"resumed": 5}


def test_a_stop_while_tags_are_read_leaves_the_rest_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    label("nas")
    for name in "abc":
        rewrite(f"nas/album/{name}.wav", "happy title")

    def stopped(_: object, __: object, stop: threading.Event) -> Iterator[dict[str, str]]:
        yield {"title": "title", "album": "ALBUM"}
        stop.set()

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "read_tags", stopped)
        with CatalogueRun(Sources(["nas"]), MODEL, FakeBackend(), OPTIONS, "labels", rows_a_shard=2) as run:
            assert list(run.labels(threading.Event())) == []
    assert told(label("nas")) == {"resumed": 5, "updated": 2}
    assert [row["album"] for row in rows()] == ["ALBUM", None, None, None, None]


@pytest.mark.parametrize("out", ["labels", "labels.jsonl"])
@pytest.mark.parametrize("others", [0, 120])
def test_copies_of_a_song_that_went_away_are_labelled_themselves(out: str, others: int) -> None:
    """Its error says nothing of them. Inputs are read in pages of 50."""
    song("nas/album/c.wav", "sad")
    for i in range(others):
        song(f"nas/album/b{i:03}.wav", "happy", title=f"other{i}")
    backend = FakeBackend(lambda _: Path("nas/album/a.wav").unlink(missing_ok=True))
    with CatalogueRun(Sources(["nas"]), MODEL, backend, OPTIONS, out, by_content=True) as run:
        labels = {label.path[10:-4]: (label.emotion, label.unreadable) for label in run.labels()}
    wanted = {"a": (None, True), **dict.fromkeys("bde", ("happy", False)), "c": ("sad", False)}
    assert {name: labels[name] for name in "abcde"} == wanted
    assert len(backend.labelled) == len(labels) == 5 + others
    lines = rows() if out == "labels" else [json.loads(line) for line in Path(out).read_text().splitlines()]
    assert {row["path"][10:-4]: row["emotion"] for row in lines} == {
        name: emotion for name, (emotion, _) in labels.items()
    }


def test_copies_that_a_stop_leaves_are_labelled_by_the_next_run() -> None:
    stop = threading.Event()

    def go(number: int) -> None:
        os.unlink("nas/album/a.wav")
        stop.set()

    with CatalogueRun(Sources(["nas"]), MODEL, FakeBackend(go), OPTIONS, "labels", by_content=True) as run:
        assert len(list(run.labels(stop))) == 1
    assert told(label("nas", by_content=True)) == {"errors": 1}
    assert sorted(row["status"] for row in rows()) == ["error", *["ok"] * 4]


@pytest.mark.parametrize("by_content", [False, True])
def test_another_song_of_the_same_size_and_time(by_content: bool) -> None:
    """Files that were moved over each other: their tags tell."""
    song("nas/album/b.wav", "bad")
    label("nas")
    rewrite("nas/album/c.wav", "sad   TITLE")
    rewrite("nas/album/d.wav", "bad   OTHER")
    again = FakeBackend()
    run = label("nas", backend=again, by_content=by_content)
    assert told(run) == {"resumed": 3, "replaced": 2, "errors": 1}
    assert again.labelled == ["nas/album/c.wav", "nas/album/d.wav"]
    assert [(row["emotion"], row["title"]) for row in rows()] == [
        ("happy", "title"), (None, None), ("sad", "TITLE"), (None, None), ("happy", "title"),
    ]  # fmt: skip
    assert told(label("nas")) == {"resumed": 5, "errors": 2}


def test_songs_without_tags_that_changed_places() -> None:
    """Nothing tells them from each other: what was touched is labelled again, whatever touched it."""
    for name, emotion in (("c", "happy"), ("d", "sad")):
        song(f"nas/album/{name}.wav", emotion, title="-")
    label("nas")
    changed = os.stat("nas/album/d.wav").st_ctime_ns
    while os.stat("nas/album/d.wav").st_ctime_ns == changed:  # the clock of a file system ticks slowly
        os.chmod("nas/album/c.wav", 0o600)
        os.chmod("nas/album/d.wav", 0o600)
    os.rename("nas/album/c.wav", "x")
    os.rename("nas/album/d.wav", "nas/album/c.wav")
    os.rename("x", "nas/album/d.wav")
    again = FakeBackend()
    assert told(label("nas", backend=again)) == {"resumed": 3, "replaced": 2}
    assert again.labelled == ["nas/album/c.wav", "nas/album/d.wav"]
    assert [row["emotion"] for row in rows()] == ["happy", "happy", "sad", "happy", "happy"]
    assert told(label("nas")) == {"resumed": 5}


def test_a_right_that_is_lost_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    label("nas")
    before = rows()
    changed = os.stat("nas/album/c.wav").st_ctime_ns
    while os.stat("nas/album/c.wav").st_ctime_ns == changed:
        os.chmod("nas/album/c.wav", 0)
    with monkeypatch.context() as patch:  # root may read it all the same
        real = os.open

        def refusing(path: Any, *arguments: Any) -> int:
            if str(path).endswith("c.wav"):
                raise PermissionError(13, "Permission denied")
            return real(path, *arguments)

        patch.setattr(os, "open", refusing)
        for _ in range(2):
            assert told(label("nas")) == {"resumed": 5, "absent": 1}
            assert rows() == before
    assert told(label("nas")) == {"resumed": 5, "updated": 1}
    assert told(label("nas")) == {"resumed": 5}


@pytest.fixture
def old_folder() -> None:
    """Rows of before there were identities: one file by three spellings, and a row of what was away."""
    for path in ("nas/album/a.wav", "./nas/album/a.wav", f"{os.getcwd()}/nas/album/a.wav", "nas/album/b.wav"):
        with CatalogueRun(Sources([path]), MODEL, FakeBackend(), OPTIONS, f"labels {len(path)}") as run:
            list(run.labels())
    os.mkdir("labels")
    tables = [pq.read_table(path) for path in sorted(Path(".").glob("labels */part-*"))]
    old = [
        table.drop_columns(["ctime_ns", "real_path", "error_kind"]).replace_schema_metadata(None)
        for table in tables
    ]
    away = {"path": "nas/album/c.wav", "status": "error", "error": "no such file", "windows": []}
    old.append(pa.Table.from_pylist([away], schema=old[0].schema))
    for number, table in enumerate(old):
        pq.write_table(table, f"labels/part-{number:06}.parquet")
    Path("labels/run.json").write_bytes((tables[0].schema.metadata or {})[KEY])


@pytest.mark.usefixtures("old_folder")
def test_old_folders_resume_and_get_the_new_columns() -> None:
    run = label("nas")
    assert told(run) == {"resumed": 2, "replaced": 1, "dropped": 2}
    assert not Path("labels/run.json").exists()
    assert sorted(os.path.basename(row["path"]) for row in rows()) == [f"{name}.wav" for name in "abcde"]
    assert {row["error_kind"] for row in rows()} == {None}
    table = pq.read_table("labels")  # a data set: one schema, and nothing in the way
    assert table.num_rows == 5
    assert None not in table["real_path"].to_pylist() + table["ctime_ns"].to_pylist()


@pytest.mark.usefixtures("old_folder")
def test_old_rows_of_a_share_that_is_away_stay() -> None:
    os.rename("nas", "away")
    run = label("nas")
    assert (run.absent, len(rows())) == (4, 5)
    os.rename("away", "nas")
    assert told(label("nas")) == {"resumed": 2, "replaced": 1, "dropped": 2}


def test_the_folder_is_a_data_set_to_others() -> None:
    label("nas")
    assert pq.read_table("labels").num_rows == 5
    pandas = pytest.importorskip("pandas")
    assert list(pandas.read_parquet("labels")["emotion"]) == ["happy"] * 5


def test_a_folder_whose_rows_have_a_column_that_differs_from_ours_in_capitals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As older versions named it: it stays so, and no second column comes beside it."""
    table = Path("list.csv")
    table.write_text("path,Title\nnas/album/a.wav,theirs\n")
    with monkeypatch.context() as older:
        older.setattr(run_module, "_carried_before", lambda folder: {"Title": "string"})
        label("list.csv")
    table.write_text("path,Title\nnas/album/a.wav,changed\nnas/album/b.wav,more\n")
    assert told(label("list.csv")) == {"resumed": 1, "updated": 1}
    assert [(row["title"], row["Title"]) for row in rows()] == [("title", "changed"), ("title", "more")]
    assert not any("manifest_Title" in row for row in rows())
    Path("labels").rename("before")
    label("list.csv")
    label("list.csv")
    assert [row["manifest_Title"] for row in rows()] == ["changed", "more"]
    assert not any("Title" in row for row in rows())


def test_a_share_that_is_away_is_known_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows have the capitals that its disk listed while it was there."""
    with pytest.MonkeyPatch.context() as there:
        find_any_capitals(tmp_path, there)
        os.rename("nas", tmp_path / "NAS")
        label(str(tmp_path / "nas"))
    assert all("/NAS/" in row["real_path"] for row in rows())
    (tmp_path / "NAS").rename(tmp_path / "away")
    assert told(label(str(tmp_path / "nas")))["absent"] == 5
