"""A model of a catalogue's life.

Files come, go, change, are renamed and linked, shares vanish and return, rights are lost, runs are killed:
after every run the rows equal those of ``rows_after``, the rules in some twenty lines.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pyarrow.parquet as pq
from fake_labels import MODEL, OPTIONS, FakeBackend, read, read_tags
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from merkit.engine.catalogue import run as run_module
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.run import CatalogueRun
from merkit.engine.errors import MerError, UnreadableError
from merkit.engine.spec import QUADRANTS

FILES = ("a/x.wav", "a/y.wav", "nas/x.wav", "nas/y.wav", "nas/sub/x.wav", "nas/sub/y.wav")
# The same files by other ways; "shelf" is a link to nas, "a/l.wav" one to nas/x.wav.
SPELT = (*FILES, "./a/x.wav", "a/../nas/x.wav", "shelf/x.wav", "shelf/sub/y.wav", "a/l.wav")
ARGUMENTS = (*SPELT, "a", "./a/", "nas", "shelf", "nas/sub", "all.m3u")
SOME = st.lists(st.sampled_from(ARGUMENTS), min_size=1, max_size=3)
ERRORS = (errno.EACCES, errno.EIO, errno.ESTALE)


class Song(NamedTuple):
    """What a row says: "ok", "audio" or "unreadable", the emotion and the title; and of which file's time."""

    status: str
    emotion: str | None = None
    title: str | None = None
    time: int | None = None


class Seen(NamedTuple):
    """A file that can be read: its time and what it holds."""

    time: int
    emotion: str
    title: str

    def label(self) -> Song:
        return Song("audio", time=self.time) if self.emotion == "bad" else Song("ok", *self[1:], self.time)


UNREADABLE = Song("unreadable")


def rows_after(
    rows: dict[str, Song],
    named: set[str],
    searched: set[str],
    seen: Callable[[str], Seen | None],
    gone: Callable[[str], bool],
    prune: bool = False,
) -> dict[str, Song]:
    """The rows by real path, after a run.

    It names these files, and folders that cannot be seen; ``searched`` are the folders that it searches.
    """
    after = dict(rows)
    for path in rows:  # a link stands there now: it is another file's row, or that file has two
        if (leads_to := os.path.realpath(path)) != path and leads_to in named:
            row = after.pop(path)
            if after.get(leads_to, UNREADABLE).status != "ok":
                after[leads_to] = row
    rows = dict(after)
    for path in {*named, *rows}:
        before, now = rows.get(path), seen(path)
        if prune and gone(path):
            after.pop(path, None)
        elif path not in named:
            leads_to = os.path.realpath(path)
            above = {leads_to, *map(str, Path(leads_to).parents)}
            if before == UNREADABLE and os.path.isdir(path) and above & searched:
                after.pop(path)
        elif now is None:
            below = any(row.status == "ok" for other, row in rows.items() if other.startswith(f"{path}/"))
            if before in (None, UNREADABLE):
                after.pop(path, None)
                after |= {} if below else {path: UNREADABLE}
        elif (
            before is None
            or before.status == "unreadable"
            or before.time != now.time
            or (before.status == "ok" and before.title != now.title)  # another song was put in its place
        ):
            after[path] = now.label()
    return after


class Killed(BaseException):
    """As SIGKILL: nothing is written any more."""


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix="mer-life-")))
        self.before = os.getcwd()
        os.chdir(self.root)
        self.rows: dict[str, Song] = {}
        self.shown: dict[str, str] = {}  # the real paths of the rows, by the path that each row shows
        self.typed: dict[str, str] = {}  # the arguments of a run, by their real paths
        self.time = 10**18
        self.denied: set[str] = set()  # folders without any right
        self.error = errno.EACCES

    @initialize()
    def library(self) -> None:
        for folder in ("a", "nas/sub"):
            os.makedirs(folder)
        Path("all.m3u").write_text("\n".join(SPELT))
        Path("nas/cover.jpg").touch()
        for path in FILES:
            self.write(path, "happy")

    def teardown(self) -> None:
        os.chdir(self.before)
        shutil.rmtree(self.root)

    def stored(self, path: str) -> Path:
        """Where a file is, also while its share is away."""
        return Path("away" + path[3:] if path.startswith("nas") and os.path.exists("away") else path)

    @rule(path=st.sampled_from(FILES), emotion=st.sampled_from([*QUADRANTS, "bad"]))
    def write(self, path: str, emotion: str) -> None:
        self.time += 1
        self.stored(path).write_text(f"{emotion:<6}a")
        os.utime(self.stored(path), ns=(self.time, self.time))

    @rule(path=st.sampled_from(FILES), title=st.sampled_from("abc"))
    def retag(self, path: str, title: str) -> None:
        file = self.stored(path)
        if not file.exists():
            return
        status = file.stat()
        while file.stat().st_ctime_ns == status.st_ctime_ns:  # the clock of a file system ticks slowly
            file.write_text(f"{file.read_text()[:-1]}{title}")
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    @rule(path=st.sampled_from(FILES))
    def delete(self, path: str) -> None:
        self.stored(path).unlink(missing_ok=True)

    @rule(path=st.sampled_from(FILES), other=st.sampled_from(FILES))
    def rename(self, path: str, other: str) -> None:
        if self.stored(path).exists():
            self.stored(path).rename(self.stored(other))

    @rule(link=st.sampled_from([("shelf", "nas"), ("a/l.wav", "../nas/x.wav")]))
    def link(self, link: tuple[str, str]) -> None:
        if os.path.islink(link[0]):
            os.unlink(link[0])
        else:
            os.symlink(link[1], link[0])

    @rule(mount_point=st.booleans())
    def share_away(self, mount_point: bool) -> None:
        if not os.path.exists("away"):
            os.rename("nas", "away")
            if mount_point:
                os.mkdir("nas")

    @rule()
    def share_back(self) -> None:
        if os.path.exists("away"):
            if os.path.exists("nas"):
                os.rmdir("nas")
            os.rename("away", "nas")

    @rule(folder=st.sampled_from(["a", "nas/sub"]), error=st.sampled_from(ERRORS))
    def deny_or_allow(self, folder: str, error: int) -> None:
        self.denied ^= {str(self.root / folder)}
        self.error = error

    @rule(arguments=SOME, prune=st.booleans())
    def run(self, arguments: list[str], prune: bool) -> None:
        expected = self.expected(arguments, prune)
        self.label(arguments, prune)
        assert self.read_rows() == expected
        self.rows = expected

    @rule(arguments=SOME, number=st.integers(0, 4))
    def run_that_is_killed(self, arguments: list[str], number: int) -> None:
        def kill(files: int) -> None:
            if files == number:
                raise Killed

        self.check_broken_run(arguments, kill)

    @rule(arguments=SOME, number=st.integers(0, 4))
    def run_in_which_the_share_vanishes(self, arguments: list[str], number: int) -> None:
        self.check_broken_run(arguments, lambda files: self.share_away(False) if files == number else None)

    def check_broken_run(self, arguments: list[str], before_file: Callable[[int], None]) -> None:
        """Each row is as before, or as after a run that ends, or unreadable where there was no good one."""
        expected = self.expected(arguments, False)
        with contextlib.suppress(Killed):
            self.label(arguments, False, before_file)
        rows = self.read_rows()
        for path in {*rows, *self.rows, *expected}:
            before = self.rows.get(path)
            allowed = {before, expected.get(path), before or UNREADABLE}
            assert rows.get(path) in allowed, path
        self.rows = rows

    def expected(self, arguments: list[str], prune: bool) -> dict[str, Song]:
        self.typed = {}
        with self.rights():
            if not self.rows and not any(map(os.path.lexists, arguments)):
                return {}  # nothing that is named is there: no folder is begun
            searched = {os.path.realpath(path) for path in arguments if os.path.isdir(path)}
            named = self.named(arguments)
            for path in named - self.rows.keys():
                # A path that leads nowhere now is still the row's that is shown by it: that row stays.
                shown = self.shown.get(self.typed[path], "")
                is_its_own = os.path.realpath(shown) == shown
                if shown and is_its_own and shown not in named and self.seen(path) is None:
                    named = named - {path}
            return rows_after(self.rows, named, searched, self.seen, self.gone, prune)

    def label(
        self, arguments: list[str], prune: bool, before_file: Callable[[int], None] = lambda _: None
    ) -> None:
        with self.rights(), mock.patch.object(run_module, "read_tags", read_tags):
            try:
                sources, backend = Sources(arguments), FakeBackend(before_file)
                with CatalogueRun(
                    sources,
                    MODEL,
                    backend,
                    OPTIONS,
                    "labels",
                    prune=prune,
                    rows_a_shard=2,  # pyright: ignore
                ) as run:
                    shown = list(run.labels())
            except MerError as error:
                if not str(error).startswith(("no audio in", "no such file: ")):
                    raise
                return
        failed = [label for label in shown if label.error]
        errors = sum(row.status != "ok" for row in self.read_rows().values())
        assert bool(failed or run.errors) >= bool(errors)  # the exit code is that of the folder

    def named(self, arguments: list[str]) -> set[str]:
        """The real paths of what arguments name: files, and what is to be searched and cannot be."""
        named: set[str] = set()
        for argument in arguments:
            if argument == "all.m3u":
                named |= self.named(list(SPELT))
            elif os.path.isdir(argument):
                try:
                    names = sorted(os.listdir(argument))
                except OSError:
                    named.add(os.path.realpath(argument))
                    self.typed.setdefault(os.path.realpath(argument), argument)
                    continue
                below = [os.path.join(argument, name) for name in names]
                named |= self.named([path for path in below if not path.endswith(".jpg")])
            else:
                named.add(os.path.realpath(argument))
                self.typed.setdefault(os.path.realpath(argument), argument)
        return named

    def seen(self, path: str) -> Seen | None:
        try:
            return Seen(os.stat(path).st_mtime_ns, *read(path))
        except (OSError, UnreadableError):
            return None

    def gone(self, path: str) -> bool:
        path = os.path.realpath(path)
        folder = os.path.dirname(path)
        try:
            return not os.path.lexists(path) and bool(os.listdir(folder))
        except OSError:
            return False

    def read_rows(self) -> dict[str, Song]:
        rows = [
            row
            for path in sorted(Path("labels").glob("part-*"))
            for row in pq.ParquetFile(path).read().to_pylist()
        ]
        songs = {
            row["real_path"]: Song(
                row["error_kind"] or row["status"], row["emotion"], row["title"], row["mtime_ns"]
            )
            for row in rows
        }
        self.shown = {row["path"]: row["real_path"] for row in rows}
        assert len(songs) == len(rows) == len(self.shown)
        # An unreadable file may have been seen before it went away.
        return {path: UNREADABLE if song.status == "unreadable" else song for path, song in songs.items()}

    @contextlib.contextmanager
    def rights(self) -> Iterator[None]:
        """Refuses what is below the denied folders, as the system does, but for root too."""

        def refusing(function: Callable[..., Any], of_folder: bool) -> Callable[..., Any]:
            def refused(path: Any = ".", *arguments: Any, **options: Any) -> Any:
                if isinstance(path, str | Path):
                    place = os.path.join(str(self.root), path)
                    real = os.path.join(place if of_folder else os.path.dirname(place), "")
                    real = real.replace("/shelf/", "/nas/").replace("/a/../", "/").replace("/./", "/")
                    if any(real.startswith(folder + "/") for folder in self.denied):
                        raise OSError(self.error, os.strerror(self.error))
                return function(path, *arguments, **options)

            return refused

        with contextlib.ExitStack() as stack:
            for name in ("stat", "lstat", "open", "listdir", "scandir"):
                refused = refusing(getattr(os, name), name in ("listdir", "scandir"))
                stack.enter_context(mock.patch.object(os, name, refused))
            yield


TestLife = Life.TestCase
# Not shrunk: that takes minutes, and a life is short enough to read. MER_TEST_LIVES makes more of them.
LIVES = int(os.environ.get("MER_TEST_LIVES", "25"))
TestLife.settings = settings(max_examples=LIVES, stateful_step_count=25, phases=[Phase.generate])
