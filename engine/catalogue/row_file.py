"""Writes rows to one Parquet, CSV or JSONL file, or to stdout. Every command writes its rows through here."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ..errors import MerError, UsageError
from ..files import Disk
from ..signals import StoppedAtOnce, signals_deferred
from ..text.escape import csv_line
from ..text.streams import print_out
from .rows import columns_of_rows, schema_of_rows, size_of_row
from .run_info import FILE_KEY, RunInfo

SUFFIXES = (".parquet", ".csv", ".jsonl")
STDOUT = "-"
"""In place of a file's name: JSON lines on stdout."""
LONGEST_LINE = 64 << 20
"""Characters of a row in a file: a timeline of some days."""

_ROWS_AT_ONCE = 1_000
_BYTES_AT_ONCE = 16 << 20  # whatever rows hold: a timeline of a day, a cell of a table


class _Writer:
    """Writes rows of one format to an open file."""

    def write(self, row: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Writes what a format has behind its last row; most have nothing."""


class RowFile:
    """One ``.parquet``, ``.csv`` or ``.jsonl`` file, written under a temporary name; a context manager.

    The file gets its name when the block ends without an error, or by a second signal when it has rows, and
    is deleted otherwise, unless it ``keeps`` its rows. ``spare_older`` lets an older file stay. A link stays
    one: the file that it leads to is replaced. Rows of ``STDOUT`` are printed at once.

    Args:
        path: of the file, or ``STDOUT``.
        info: what all rows have in common. Parquet says all of it, other formats the names of columns.
        keeps: the file, if it has rows, also gets its name after an error that is not of writing it; a note
            of the error says so.

    Raises:
        UsageError: another suffix.
        MerError: the folder is missing or not writable, the disk is full, or stdout is closed.
        ReaderGoneError: the reader of stdout has gone.
    """

    def __init__(
        self, path: str | Path, info: RunInfo, disk: Disk | None = None, *, keeps: bool = False
    ) -> None:
        self.path = Path(path)
        is_file = str(path) != STDOUT
        self._kept_after = (StoppedAtOnce, Exception) if keeps and is_file else (StoppedAtOnce,)
        self._has_rows = False
        self._target: Path | None = None  # what gets the file's rows at the end
        if not is_file:
            self._writer, self._stack = _Stdout(info), ExitStack()
            return
        if self.path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{path}: the name of a file of rows must end in {', '.join(SUFFIXES)}")
        writer = {".parquet": _Parquet, ".csv": _Csv, ".jsonl": _Jsonl}[self.path.suffix.lower()]
        with self._explained(), ExitStack() as stack:
            path = self._target = Path(os.path.realpath(self.path))
            file = stack.enter_context((disk or Disk()).whole(path, lambda: self._target))
            self._writer: _Writer = writer(file, info)
            self._stack = stack.pop_all()

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a row."""
        # A signal must not leave a part of a row. Nobody may read stdout: it is to end that wait.
        kept = "" if self._target is None else "; rows of --out FOLDER/ would be kept"
        with self._explained(kept), nullcontext() if str(self.path) == STDOUT else signals_deferred():
            self._has_rows = False  # of a row that fails, a part may be written
            self._writer.write(row)
            self._has_rows = True

    def spare_older(self, beside: bool) -> bool:
        """Lets an older file of that name stay, if there is one: what these rows say is not all, or nothing.

        Args:
            beside: these rows, if there are any, go to the file ``partial``; else they go.
        """
        if self._target is None or not os.path.exists(self._target):
            return False
        self._target = self._target.with_name(self.partial.name) if beside and self._has_rows else None
        return True

    @property
    def partial(self) -> Path:
        """Where rows of a run go that is stopped or fails; see ``partial_of``."""
        return partial_of(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or (self._has_rows and issubclass(kind, self._kept_after)):
            with signals_deferred(), self._explained(), self._stack:
                self._writer.close()
            if isinstance(error, Exception) and self._target:
                error.add_note(f"the rows until then are in {self._target}")
            return
        with suppress(Exception):  # pyarrow's writer must be closed before its file
            self._writer.close()
        self._stack.__exit__(kind, error, trace)

    @contextmanager
    def _explained(self, advice: str = "") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MerError(f"{self.path} cannot be written: {error.strerror or error}{advice}") from None


def partial_of(path: Path) -> Path:
    """Beside a file, ``rows.partial.csv``; of a link, beside the file that it leads to, on its disk."""
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    return place.with_name(f"{place.stem}.partial{path.suffix}")


class _Parquet(_Writer):
    def __init__(self, file: IO[bytes], info: RunInfo) -> None:
        from pyarrow import parquet

        self._schema = schema_of_rows(info.labels, info.carried).with_metadata({FILE_KEY: info.to_json()})
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd", write_page_checksum=True)
        self._rows: list[Mapping[str, Any]] = []
        self._bytes = 0

    def write(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        self._bytes += size_of_row(row)
        if len(self._rows) >= _ROWS_AT_ONCE or self._bytes >= _BYTES_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
        self._bytes = 0

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()


class _Csv(_Writer):
    def __init__(self, file: IO[bytes], info: RunInfo) -> None:
        self._file = file
        self._columns = [*columns_of_rows(info.labels), *info.carried]
        self._file.write(csv_line(self._columns).encode())

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(csv_line(_cell(row.get(name)) for name in self._columns).encode())


def _cell(value: Any) -> Any:
    """The timeline as JSON, other values as they are."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _json(row: Mapping[str, Any], ensure_ascii: bool = True) -> str:
    """A row as JSON, which has no NaN and no infinities: columns of a manifest that hold one are null."""
    try:
        return json.dumps(row, ensure_ascii=ensure_ascii, allow_nan=False)
    except ValueError:
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        return json.dumps(finite, ensure_ascii=ensure_ascii, allow_nan=False)


def _whole(row: Mapping[str, Any], carried: Mapping[str, None]) -> Mapping[str, Any]:
    """With null for columns of a manifest that the row lacks: its song may be named beside the manifest."""
    if carried.keys() <= row.keys():
        return row
    own = {name: value for name, value in row.items() if name not in carried}
    return {**own, **carried, **{name: value for name, value in row.items() if name in carried}}


class _Jsonl(_Writer):
    def __init__(self, file: IO[bytes], info: RunInfo) -> None:
        self._file, self._carried = file, dict.fromkeys(info.carried)

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(_json(_whole(row, self._carried), ensure_ascii=False).encode() + b"\n")


class _Stdout(_Writer):
    def __init__(self, info: RunInfo) -> None:
        if sys.stdout is None:
            raise MerError("standard output is closed: rows cannot be written to it")
        self._carried = dict.fromkeys(info.carried)

    def write(self, row: Mapping[str, Any]) -> None:
        print_out(_json(_whole(row, self._carried)))  # in ASCII: whatever the terminal and its encoding
