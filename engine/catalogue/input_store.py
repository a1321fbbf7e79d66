"""The inputs of a run, in a temporary SQLite file: memory does not grow with the catalogue."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Literal, Self

from ..errors import MerError
from ..text.escape import text_from_path
from .source import Source

_PAGE = 1_000


@dataclass(frozen=True)
class Pending:
    """An input that has no row yet.

    ``same_as`` is the position of the first input that is equal, None if that is this one; ``repeated``
    says whether later inputs are equal to this one.
    """

    position: int
    source: Source
    same_as: int | None
    repeated: bool


class InputStore:
    """All inputs in order, read from ``sources`` when it is created; a context manager.

    One thread may iterate ``pending`` while another calls the other methods.

    Raises:
        MerError: the temporary folder is full or not writable; this can come from every method.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        # A database without a name is in SQLite's page cache and, beyond 2 MB, in an anonymous file.
        self._base = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        self._base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE inputs (position INTEGER PRIMARY KEY, path BLOB, text TEXT, size INTEGER,"
            " mtime INTEGER, columns TEXT, key BLOB, same_as INTEGER, done INTEGER DEFAULT 0, label TEXT)"
        )
        self._columns: tuple[str, ...] | None = None
        with _sqlite_errors():
            positions, stream = count(), iter(sources)
            while batch := list(islice(stream, _PAGE)):
                self._base.execute("BEGIN")
                self._base.executemany(
                    "INSERT INTO inputs (position, path, text, size, mtime, columns, key)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [self._row(next(positions), source) for source in batch],
                )
                self._base.execute("COMMIT")
            self.total = next(positions)
            self._base.execute("CREATE INDEX by_text ON inputs (text)")

    def __len__(self) -> int:
        return self.total

    def done(self) -> int:
        """The number of inputs that were marked as done."""
        return self._one("SELECT count(*) FROM inputs WHERE done")[0]

    def mark_done(
        self, text: str, size_bytes: int | None, mtime_ns: int | None
    ) -> Literal["done", "changed", "unknown"]:
        """Marks the input of an earlier run's row, unless it has changed since or is not among these.

        Args:
            text: the path as rows hold it.
            size_bytes: the size that the file had, None if unknown.
            mtime_ns: the time of its last change, None if unknown.
        """
        row = self._one(
            "SELECT position FROM inputs WHERE text = ? AND size IS ? AND mtime IS ? AND NOT done"
            " ORDER BY position LIMIT 1",
            (text, size_bytes, mtime_ns),
        )
        if row:
            self._one("UPDATE inputs SET done = 1 WHERE position = ?", row)
            return "done"
        same_path, unchanged = self._one(
            "SELECT count(*), sum(size IS ? AND mtime IS ?) FROM inputs WHERE text = ?",
            (size_bytes, mtime_ns, text),
        )
        return "changed" if same_path and not unchanged else "unknown"

    def has(self, text: str) -> bool:
        """Whether a path, as rows hold it, is among the inputs."""
        return self._one("SELECT 1 FROM inputs WHERE text = ? LIMIT 1", (text,)) is not None

    def find_repeats(self, by_content: bool = False) -> int:
        """Finds equal inputs among those that are not done; returns how many repeat an earlier one.

        Inputs are equal if they have the same path or, with ``by_content``, the same bytes (only files of
        equal size are read).
        """
        with _sqlite_errors():
            if by_content:
                self._hash_contents()
            self._base.execute("CREATE INDEX by_key ON inputs (key)")
            self._base.execute(
                "UPDATE inputs SET same_as = (SELECT min(position) FROM inputs AS other"
                " WHERE other.key = inputs.key AND NOT other.done)"
                " WHERE NOT done AND key IN"
                " (SELECT key FROM inputs WHERE NOT done GROUP BY key HAVING count(*) > 1)"
            )
        return self._one("SELECT count(*) FROM inputs WHERE same_as < position")[0]

    def pending(self) -> Iterator[Pending]:
        """Yields the inputs that are not done, in order."""
        last = -1
        while True:
            with _sqlite_errors(), self._lock:
                page = self._base.execute(
                    "SELECT position, path, size, mtime, columns, same_as FROM inputs"
                    " WHERE position > ? AND NOT done ORDER BY position LIMIT ?",
                    (last, _PAGE),
                ).fetchall()
            if not page:
                return
            for position, path, size, mtime, columns, same_as in page:
                values = dict(zip(self._columns or (), json.loads(columns), strict=True)) if columns else {}
                source = Source(os.fsdecode(path), size, mtime, values)
                same = same_as if same_as is not None and same_as < position else None
                yield Pending(position, source, same, same_as == position)
            last = page[-1][0]

    def keep(self, position: int, label: str) -> None:
        """Stores a label, as text, for the inputs that repeat this one."""
        self._one("UPDATE inputs SET label = ? WHERE position = ?", (label, position))

    def kept(self, position: int) -> str:
        """The label that ``keep`` stored."""
        return self._one("SELECT label FROM inputs WHERE position = ?", (position,))[0]

    def close(self) -> None:
        """Closes the database; SQLite removes its file."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _row(self, position: int, source: Source) -> tuple[Any, ...]:
        path = os.fsencode(source.path)
        columns = None
        if source.columns:
            self._columns = self._columns or tuple(source.columns)
            columns = json.dumps([source.columns[name] for name in self._columns])
        return (
            position, path, text_from_path(source.path), source.size_bytes, source.mtime_ns, columns,
            hashlib.blake2b(path, digest_size=16).digest(),
        )  # fmt: skip

    def _hash_contents(self) -> None:
        last = -1
        while page := self._base.execute(
            "SELECT position, path FROM inputs WHERE position > ? AND NOT done AND size IN"
            " (SELECT size FROM inputs WHERE NOT done AND size > 0 GROUP BY size HAVING count(*) > 1)"
            " ORDER BY position LIMIT ?",
            (last, _PAGE),
        ).fetchall():
            for position, path in page:
                with suppress(OSError), open(path, "rb") as file:
                    key = hashlib.file_digest(file, "sha256").digest()
                    self._base.execute("UPDATE inputs SET key = ? WHERE position = ?", (key, position))
            last = page[-1][0]

    def _one(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        with _sqlite_errors(), self._lock:
            return self._base.execute(statement, values).fetchone()


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    """SQLite fails here when the temporary folder is full or not writable."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise MerError(f"the list of inputs cannot be kept in the temporary folder: {error}") from None
