"""Rows of songs behind URLs, of which listings fail and come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fake_labels import MODEL, OPTIONS, FakeBackend
from http_folder import Answers, answered_by
from merkit.engine.audio import remote_copy
from merkit.engine.catalogue import remote_listing
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.reconcile import RealPaths
from merkit.engine.catalogue.run import CatalogueRun
from merkit.engine.errors import MerError
from merkit.engine.labelling.song_label import SongLabel

LISTS = {"": ["a.mp3", "dir/"], "dir": ["b.mp3", "sub/"], "dir/sub": ["c.mp3", "d.mp3"]}
SONGS = ["a.mp3", "dir/b.mp3", "dir/sub/c.mp3", "dir/sub/d.mp3"]


class Library:
    """A server of ``LISTS``, and the runs over it. What is in ``closed`` answers 503, a song too."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.closed: dict[str, SongLabel] = {}
        self.gone: set[str] = set()

    def close(self, path: str, kind: str = "unreadable") -> None:
        """``kind`` is what the rows say of it: "audio" if it answers again when it is fetched."""
        self.closed[path] = SongLabel(f"{self.url}/{path}", "bad", unreadable=kind == "unreadable")

    def label(self, *paths: str, **options: Any) -> CatalogueRun:
        sources = Sources([f"{self.url}{path}" for path in paths])
        backend = Backend(self)
        with CatalogueRun(sources, MODEL, backend, OPTIONS, "labels", rows_a_shard=2, **options) as run:
            for _ in run.labels():
                pass
        return run

    def rows(self) -> list[tuple[str, str]]:
        """(the path, the kind of error or "ok") of the rows, by path."""
        shards = sorted(Path("labels").glob("part-*"))
        rows = [row for shard in shards for row in pq.ParquetFile(shard).read().to_pylist()]
        paths = [row["path"].removeprefix(self.url).removeprefix("/") for row in rows]
        return sorted((path, row["error_kind"] or "ok") for path, row in zip(paths, rows, strict=True))


class Backend(FakeBackend):
    def __init__(self, library: Library) -> None:
        super().__init__()
        self._library = library

    def _label(self, path: str) -> SongLabel:
        name = path.removeprefix(self._library.url).removeprefix("/")
        closed = self._library.closed.get(name)
        return closed or SongLabel(path, None, "happy", (0.25,) * 4, 9.0, (), "fake", {})


class Lists(Answers):
    library: Library  # that of the test which runs

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        if name in self.library.closed:
            return self._answer(503)
        if name.rstrip("/") not in LISTS or name in self.library.gone:
            return self._answer(404)
        there = [entry for entry in LISTS[name.rstrip("/")] if name + entry not in self.library.gone]
        return self._answer(200, "".join(f'<a href="{entry}">x</a>' for entry in there).encode())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    with answered_by(Lists) as url:
        yield url


@pytest.fixture
def library(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote_copy, "_PAUSES_S", (0.0, 0.0))
    Lists.library = Library(server)
    return Lists.library


def ok(*paths: str) -> list[tuple[str, str]]:
    return [(path, "ok") for path in paths or SONGS]


@pytest.mark.parametrize("options", [{}, {"retry_errors": True}, {"prune": True}], ids=str)
@pytest.mark.parametrize("kind", ["unreadable", "audio"])
@pytest.mark.parametrize(("closed", "below"), [("", 0), ("dir/", 1), ("dir/sub/", 2)])
def test_the_error_of_a_listing_goes_when_there_is_one(
    library: Library, closed: str, below: int, kind: str, options: dict[str, bool]
) -> None:
    library.close(closed, kind)
    library.label("/")
    assert library.rows() == sorted([*((song, "ok") for song in SONGS[:below]), (closed, kind)])
    library.closed.clear()
    run = library.label("/", **options)
    assert library.rows() == ok()
    assert (run.errors, run.absent, run.dropped) == (0, 0, 1)


@pytest.mark.parametrize("retry_errors", [False, True])
@pytest.mark.parametrize(("closed", "below"), [("", 4), ("dir/", 3), ("dir/sub/", 2)])
def test_good_rows_speak_for_a_listing_that_fails(
    library: Library, closed: str, below: int, retry_errors: bool
) -> None:
    library.label("/")
    library.close(closed)
    run = library.label("/", retry_errors=retry_errors)
    assert library.rows() == ok()
    assert (run.errors, run.absent) == (0, below)
    library.closed.clear()
    run = library.label("/")
    assert (run.resumed, run.absent, run.errors) == (4, 0, 0)


@pytest.mark.parametrize("kind", ["unreadable", "audio"])
@pytest.mark.parametrize("retry_errors", [False, True])
def test_the_error_of_a_listing_beside_good_rows(library: Library, kind: str, retry_errors: bool) -> None:
    """The error stands before them, and has been counted when they come."""
    library.close("dir/sub/", kind)
    library.label("/dir/sub/")
    run = library.label("/dir/sub/c.mp3")
    assert (library.rows(), run.errors) == ([("dir/sub/", kind), *ok("dir/sub/c.mp3")], 1)
    run = library.label("/", retry_errors=retry_errors)
    assert library.rows() == ok(*SONGS[:3])
    assert (run.errors, run.absent) == (0, 1)


def test_the_error_of_a_song_stays_until_a_listing_is_without_it(library: Library) -> None:
    library.close("dir/sub/d.mp3")
    library.label("/")
    error = ("dir/sub/d.mp3", "unreadable")
    library.gone.add("dir/sub/d.mp3")
    for elsewhere in ("/a.mp3", "/dir/sub/c.mp3"):
        assert library.label(elsewhere).errors == 1
    library.close("dir/sub/")
    for run in (library.label("/"), library.label("/dir/sub/")):
        assert (library.rows(), run.errors) == ([*ok(*SONGS[:3]), error], 1)
    library.closed.clear()
    run = library.label("/")
    assert (library.rows(), run.errors, run.dropped) == (ok(*SONGS[:3]), 0, 1)


def test_the_error_of_a_song_that_was_read_stays(library: Library) -> None:
    library.close("dir/b.mp3", "audio")
    library.label("/")
    library.gone.add("dir/b.mp3")
    run = library.label("/", prune=True)
    assert (run.errors, run.dropped, ("dir/b.mp3", "audio") in library.rows()) == (1, 0, True)


@pytest.mark.parametrize("spelt", [("/dir/sub", "/dir/sub/"), ("/dir/sub/", "/dir/sub")])
def test_a_folder_is_one_with_and_without_a_slash(library: Library, spelt: tuple[str, str]) -> None:
    library.close("dir/sub/")
    library.close("dir/sub")
    run = library.label(*spelt)
    assert (run.total, [kind for _, kind in library.rows()]) == (1, ["unreadable"])
    library.closed.clear()
    run = library.label(spelt[1])
    assert (library.rows(), run.errors) == (ok(*SONGS[2:]), 0)


@pytest.mark.parametrize("closed", ["", "dir/sub/"])
def test_the_error_of_a_listing_in_an_older_folder(
    library: Library, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its real path ends in the slash."""
    library.close(closed)
    with monkeypatch.context() as older:
        older.setattr(RealPaths, "of", lambda _, path, is_link=None: path)
        library.label("/")
    assert f"{library.url}/{closed}" in pq.read_table("labels")["real_path"].to_pylist()
    library.closed.clear()
    assert library.label("/").errors == 0
    assert library.rows() == ok()


@pytest.mark.parametrize("place", ["/dir", "/dir/", ""])
def test_forget_removes_songs_that_a_listing_is_without(library: Library, place: str) -> None:
    library.label("/")
    library.gone |= {"dir/b.mp3", "a.mp3"}
    assert library.label("/").absent == 2  # which stay
    run = library.label("/", forget=[f"{library.url}{place}"])
    assert (run.pruned, run.absent) == ((1, 1) if place else (2, 0))
    assert library.rows() == ok(*(["a.mp3"] if place else []), *SONGS[2:])


def test_forget_removes_what_was_below_a_folder_that_is_gone(library: Library) -> None:
    library.label("/")
    library.gone.add("dir/sub/")
    run = library.label("/a.mp3", forget=[f"{library.url}/dir/sub", f"{library.url}/elsewhere/"])
    assert (run.pruned, library.rows()) == (2, ok(*SONGS[:2]))


def test_nothing_is_forgotten_below_what_cannot_be_listed(library: Library) -> None:
    library.label("/")
    library.close("dir/sub/")
    with pytest.raises(
        MerError, match=r"/dir/sub/? cannot be listed now, so that nothing below it is f.*503"
    ):
        library.label("/a.mp3", forget=[f"{library.url}/dir"])
    assert library.rows() == ok()


def test_a_listing_that_fails_ends_no_run_that_is_under_way(library: Library) -> None:
    library.label("/a.mp3")
    library.close("dir/sub/")
    library.close("dir/sub/c.mp3")
    run = library.label("/dir/sub/c.mp3", "/dir/b.mp3", forget=[f"{library.url}/dir"])
    assert (run.pruned, run.unwritten) == (0, 0)
    assert library.rows() == [*ok("a.mp3", "dir/b.mp3"), ("dir/sub/c.mp3", "unreadable")]


def test_the_error_of_a_url_is_forgotten_without_a_listing(library: Library) -> None:
    library.label("/a.mp3")
    library.close("dir/")
    wrong = f"{library.url}/dir/"
    assert library.label("/dir/").errors == 0
    run = library.label("/a.mp3")
    assert (run.errors, run.stray) == (1, wrong)
    run = library.label("/a.mp3", forget=[wrong, f"{library.url}/a.mp3"])
    assert (run.pruned, run.errors, library.rows()) == (1, 0, ok("a.mp3"))


def test_what_cannot_be_listed_says_why(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """To fetch it says less: S3 answers that without a body."""
    monkeypatch.setattr(remote_listing, "storage_reason", lambda error: "The provided token has expired.")
    library.close("dir/")
    library.label("/")
    shards = sorted(Path("labels").glob("part-*"))
    errors = {row["error"] for shard in shards for row in pq.ParquetFile(shard).read().to_pylist()}
    assert errors == {None, "cannot be listed: The provided token has expired."}
