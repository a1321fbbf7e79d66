"""The inputs of a run in a temporary SQLite file: memory does not grow with the catalogue."""

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
    """An input without a row yet. ``same_as`` is the position of an equal one before it, if any."""

    position: int
    source: Source
    same_as: int | None
    repeated: bool


class InputStore:
    """Every input once, in order, read from ``sources`` at once. Use as a context manager.

    One thread may read ``pending`` while another calls the other methods.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        # A database without a name lives in SQLite's page cache and, beyond 2 MB, in a nameless file.
        self._base = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        self._base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE inputs (position INTEGER PRIMARY KEY, path BLOB, text TEXT, size INTEGER,"
            " mtime INTEGER, columns TEXT, key BLOB, same_as INTEGER, done INTEGER DEFAULT 0, label TEXT)"
        )
        self._columns: tuple[str, ...] | None = None
        with _trying():
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
        """How many inputs were marked as done."""
        return self._one("SELECT count(*) FROM inputs WHERE done")[0]

    def mark_done(
        self, text: str, size_bytes: int | None, mtime_ns: int | None
    ) -> Literal["done", "changed", "unknown"]:
        """A row of an earlier run: its input is done, has changed since, or is not among these."""
        found = self._one(
            "SELECT position FROM inputs WHERE text = ? AND size IS ? AND mtime IS ? AND NOT done"
            " ORDER BY position LIMIT 1",
            (text, size_bytes, mtime_ns),
        )
        if found:
            self._one("UPDATE inputs SET done = 1 WHERE position = ?", found)
            return "done"
        others = self._one(
            "SELECT count(*), sum(size IS ? AND mtime IS ?) FROM inputs WHERE text = ?",
            (size_bytes, mtime_ns, text),
        )
        return "changed" if others[0] and not others[1] else "unknown"

    def has(self, text: str) -> bool:
        """Whether a row's path is among the inputs."""
        return self._one("SELECT 1 FROM inputs WHERE text = ? LIMIT 1", (text,)) is not None

    def find_repeats(self, by_content: bool = False) -> int:
        """Links equal inputs that are not done, so that each is labelled once; says how many repeat.

        Equal is the same path or, ``by_content``, the same bytes (only files of one size are read).
        """
        with _trying():
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
        """Inputs that are not done, in order."""
        last = -1
        while True:
            with _trying(), self._lock:
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
        """Keeps a label (as text) for the inputs that repeat this one."""
        self._one("UPDATE inputs SET label = ? WHERE position = ?", (label, position))

    def kept(self, position: int) -> str:
        """What ``keep`` was given."""
        return self._one("SELECT label FROM inputs WHERE position = ?", (position,))[0]

    def close(self) -> None:
        """Ends it; SQLite removes its file."""
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
        with _trying(), self._lock:
            return self._base.execute(statement, values).fetchone()


@contextmanager
def _trying() -> Iterator[None]:
    """SQLite's errors are the temporary folder's: full, or not writable."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise MerError(f"the list of inputs cannot be kept in the temporary folder: {error}") from None
