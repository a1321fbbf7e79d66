"""The inputs of a run, in a temporary SQLite file: memory does not grow with the catalogue."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

from ..audio.formats import open_regular_file
from ..closing import ClosedByWith
from ..errors import AudioError, MerError
from ..text.escape import text_from_path
from .reconcile import RealPaths, Step
from .source import Item, Place, Source, int64, is_same_time

_PAGE = 50  # inputs at once in memory: the columns of a list can be long
_BLOCK = 1 << 20
_LARGEST = 4 << 30  # of files whose contents are compared: to label a film twice costs less than to read it
_ITEM = "position, path, size, mtime, ctime, columns, is_link, text, shard, row, row_ok, same_as, done"


class InputStore(ClosedByWith):
    """All inputs in order, read from ``sources`` when it is created; a context manager.

    A file that several inputs name is there once, by its first path, with the first columns that a manifest
    has for it. Each input without a path is there. One thread may iterate ``pending`` while another calls
    the other methods.

    Attributes:
        repeats: inputs that name a file again.
        other_columns: those of them that have other columns of a manifest than the file's first.

    Raises:
        MerError: the temporary folder is full or not writable; this can come from every method.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        # A database without a name is in SQLite's page cache and, beyond 2 MB, in an anonymous file.
        self._base = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        self._base.create_function("nfc", 1, partial(unicodedata.normalize, "NFC"), deterministic=True)
        self._base.create_function("same_time", 2, is_same_time, deterministic=True)
        self._base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE inputs (position INTEGER PRIMARY KEY, path BLOB, text TEXT, size INTEGER,"
            " mtime INTEGER, ctime INTEGER, columns TEXT, is_link INTEGER, key BLOB, same_as INTEGER,"
            " done INTEGER DEFAULT 0, tags INTEGER DEFAULT 0, shard INTEGER, row INTEGER,"
            " row_ok INTEGER DEFAULT 0, label TEXT, again INTEGER DEFAULT 0);"
            "CREATE TABLE readings (text TEXT, position INTEGER)"
        )
        self._sources = sources
        self._columns: tuple[str, ...] | None = None
        with _sqlite_errors():
            self._fill(sources)
            self.repeats, self.other_columns = self._merge()
            self._base.execute("CREATE INDEX by_text ON inputs (text)")
            self._base.execute("CREATE INDEX by_reading ON readings (text)")

    def __len__(self) -> int:
        return self._one("SELECT count(*) FROM inputs")[0]

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Many calls of the other methods as one transaction, which is faster."""
        self._one("BEGIN")
        yield
        self._one("COMMIT")

    def done(self) -> int:
        """The number of inputs whose rows stay."""
        return self._one("SELECT count(*) FROM inputs WHERE done")[0]

    def named(self, identity: str, size_bytes: int | None, mtime_ns: int | None) -> Item | None:
        """The input of an identity, as rows hold it; of several the one of that size and time without a row.

        Names that are not UTF-8 may look alike, and thousands may have none.
        """
        if not identity:
            self._one("CREATE INDEX IF NOT EXISTS without_path ON inputs (shard) WHERE text = ''")
            which = "INDEXED BY without_path WHERE text = '' ORDER BY shard LIMIT 1"
            return self._item(f"SELECT {_ITEM} FROM inputs {which}", ())
        return self._item(
            f"SELECT {_ITEM} FROM inputs WHERE text = ?"
            " ORDER BY shard IS NOT NULL, (size IS ?) * ((mtime IS ?) + same_time(mtime, ?)) DESC, position"
            " LIMIT 1",
            (identity, size_bytes, mtime_ns, mtime_ns),
        )

    def spelt(self, path: str) -> Item | None:
        """The input that was named by this path."""
        self._one("CREATE INDEX IF NOT EXISTS by_path ON inputs (path)")
        statement = f"SELECT {_ITEM} FROM inputs WHERE path = ? LIMIT 1"
        return self._item(statement, (_bytes_of(path),))

    def read_as(self, identity: str) -> Item | None:
        """The input of a list's line that can be read as this identity, too."""
        statement = (
            f"SELECT {_ITEM} FROM inputs WHERE position IN (SELECT position FROM readings WHERE text = ?)"
        )
        return self._item(statement, (identity,))

    def in_other_form(self, identity: str, size_bytes: int | None, mtime_ns: int | None) -> Item | None:
        """The input of that size and time without a row, of that name but for the form of its letters."""
        self._one("CREATE INDEX IF NOT EXISTS by_form ON inputs (nfc(text))")
        which = "nfc(text) = nfc(?) AND size = ? AND same_time(mtime, ?) AND shard IS NULL LIMIT 1"
        return self._item(f"SELECT {_ITEM} FROM inputs WHERE {which}", (identity, size_bytes, mtime_ns))

    def take(self, position: int, place: Place, row_ok: bool, todo: Step) -> None:
        """Notes the row of an input, and what is to be done about it."""
        self._one(
            "UPDATE inputs SET done = ?, tags = ?, shard = ?, row = ?, row_ok = ? WHERE position = ?",
            (todo is not Step.LABEL, todo is Step.TAGS, *place, row_ok, position),
        )

    def is_absent_input(self, identity: str) -> bool:
        """Whether this is an input of which nothing can be seen."""
        return self._one("SELECT 1 FROM inputs WHERE text = ? AND size IS NULL", (identity,)) is not None

    def leave_out(self, identity: str) -> None:
        """Takes an input out that has no row and needs none."""
        self._one("DELETE FROM inputs WHERE text = ? AND shard IS NULL", (identity,))

    def find_copies(self) -> int:
        """Finds inputs of equal bytes to be labelled; their number.

        Only files of equal size are read, of 4 GB at most. What ``check`` of the sources raises ends it.
        """
        with _sqlite_errors():
            self._hash_contents()
            self._base.execute(
                "UPDATE inputs SET same_as = (SELECT min(position) FROM inputs AS other"
                " WHERE other.key = inputs.key AND NOT other.done)"
                " WHERE NOT done AND key IN"
                " (SELECT key FROM inputs WHERE NOT done GROUP BY key HAVING count(*) > 1)"
            )
        return self._one("SELECT count(*) FROM inputs WHERE same_as < position")[0]

    def pending(self) -> Iterator[Item]:
        """Yields the inputs that are to be labelled, in order."""
        return self._pages("NOT done")

    def to_tag(self) -> Iterator[Item]:
        """Yields the inputs whose tags are to be read, in order."""
        return self._pages("tags")

    def label_itself(self, position: int) -> None:
        """Notes an input that is to be labelled itself: the first one of its content has gone."""
        self._one("UPDATE inputs SET again = 1 WHERE position = ?", (position,))

    def to_label_themselves(self) -> Iterator[Item]:
        """Yields the inputs that ``label_itself`` was called for, in order."""
        return (replace(item, same_as=None) for item in self._pages("again"))

    def _pages(self, which: str) -> Iterator[Item]:
        last = -1
        while True:
            with _sqlite_errors(), self._lock:
                page = self._base.execute(
                    f"SELECT {_ITEM} FROM inputs WHERE position > ? AND {which} ORDER BY position LIMIT ?",
                    (last, _PAGE),
                ).fetchall()
            if not page:
                return
            yield from map(self._item_from_row, page)
            last = page[-1][0]

    def keep(self, position: int, text: str) -> None:
        """Stores a text: a label for the inputs of the same content, or what its row says of its song."""
        self._one("UPDATE inputs SET label = ? WHERE position = ?", (text, position))

    def kept(self, position: int) -> str:
        """The text that ``keep`` stored."""
        return self._one("SELECT label FROM inputs WHERE position = ?", (position,))[0]

    def close(self) -> None:
        """Closes the database; SQLite removes its file."""
        self._base.close()

    def _fill(self, sources: Iterable[Source]) -> None:
        real_paths = RealPaths()
        stream = enumerate(sources)
        while batch := list(islice(stream, _PAGE)):
            self._base.execute("BEGIN")
            self._base.executemany(
                "INSERT INTO inputs (position, path, text, size, mtime, ctime, columns, is_link, key)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [self._row(position, source, real_paths) for position, source in batch],
            )
            self._base.executemany(
                "INSERT INTO readings VALUES (?, ?)",
                (
                    (text_from_path(real_paths.of(reading)), position)
                    for position, source in batch
                    for reading in source.readings
                ),
            )
            self._base.execute("COMMIT")

    def _merge(self) -> tuple[int, int]:
        """Merges the inputs of one file; returns how many repeat one, and how many of these differ."""
        self._base.executescript(
            "CREATE INDEX by_key ON inputs (key);"
            "CREATE TEMP TABLE firsts AS SELECT key, min(position) AS first FROM inputs"
            " GROUP BY key HAVING count(*) > 1;"
            "UPDATE inputs SET columns = (SELECT columns FROM inputs AS other WHERE other.key = inputs.key"
            " AND columns IS NOT NULL ORDER BY position LIMIT 1)"
            " WHERE columns IS NULL AND position IN (SELECT first FROM firsts);"
        )
        repeats = "FROM inputs JOIN firsts USING (key) WHERE position > first"
        other = "(SELECT columns FROM inputs AS first_input WHERE first_input.position = first)"
        counts = self._base.execute(
            f"SELECT count(*), coalesce(sum(columns IS NOT NULL AND columns != {other}), 0) {repeats}"
        ).fetchone()
        self._base.execute(f"DELETE FROM inputs WHERE position IN (SELECT position {repeats})")
        return counts

    def _row(self, position: int, source: Source, real_paths: RealPaths) -> tuple[Any, ...]:
        identity = real_paths.of(source.path, source.is_link)
        columns = None
        if source.columns:
            self._columns = self._columns or tuple(source.columns)
            columns = json.dumps([source.columns[name] for name in self._columns])
        return (
            position, _bytes_of(source.path), text_from_path(identity), int64(source.size_bytes),
            int64(source.mtime_ns), int64(source.ctime_ns), columns, source.is_link,
            hashlib.blake2b(_bytes_of(identity), digest_size=16).digest() if identity else None,
        )  # fmt: skip

    def _item(self, statement: str, values: tuple[Any, ...]) -> Item | None:
        row = self._one(statement, values)
        return self._item_from_row(row) if row else None

    def _item_from_row(self, values: tuple[Any, ...]) -> Item:
        position, path, size, mtime, ctime, columns, is_link, text, shard, row, row_ok, same_as, done = values
        own = dict(zip(self._columns or (), json.loads(columns), strict=True)) if columns else {}
        source = Source(_path_of(path), size, mtime, own, ctime, bool(is_link), text)
        place = None if shard is None else Place(shard, row)
        same = same_as if same_as is not None and same_as < position else None
        return Item(position, source, place, bool(row_ok), same, same_as == position, bool(done))

    def _hash_contents(self) -> None:
        # All at once: sizes that were grouped for each page anew took minutes of 100,000 clips cut alike.
        self._base.execute(
            "CREATE TABLE alike AS SELECT position, path FROM inputs WHERE NOT done AND size IN (SELECT size"
            " FROM inputs WHERE NOT done AND size BETWEEN 1 AND ? GROUP BY size HAVING count(*) > 1)",
            (_LARGEST,),
        )
        for position, path in self._base.execute("SELECT position, path FROM alike"):
            with suppress(OSError, AudioError), open(open_regular_file(_path_of(path)), "rb") as file:
                key = self._digest(file)
                self._base.execute("UPDATE inputs SET key = ? WHERE position = ?", (key, position))
        self._base.execute("DROP TABLE alike")

    def _digest(self, file: BinaryIO) -> bytes:
        digest = hashlib.sha256()
        check: Callable[[], None] = getattr(self._sources, "check", lambda: None)
        while block := file.read(_BLOCK):
            check()
            digest.update(block)
        return digest.digest()

    def _one(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        with _sqlite_errors(), self._lock:
            return self._base.execute(statement, values).fetchone()


def _bytes_of(path: str) -> bytes:
    """Whatever the locale can encode: a list may name what it cannot."""
    return path.encode("utf-8", "surrogatepass")


def _path_of(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    """SQLite fails here when the temporary folder is full or not writable."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise MerError(f"the list of inputs cannot be kept in the temporary folder: {error}") from None
