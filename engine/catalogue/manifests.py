"""Lists of files: M3U playlists, and manifests (CSV or Parquet tables with a column of paths)."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..audio.formats import is_remote
from ..errors import MerError, UsageError
from .source import Source, source_from_path

_KINDS = {"bool": "bool", "int": "int64", "float": "float64", "double": "float64"}


def columns_of_manifests(files: Iterable[str], path_column: str) -> dict[str, str]:
    """The columns that manifests add to rows: name to "string", "int64", "float64" or "bool".

    Raises:
        UsageError: a manifest without ``path_column``, or manifests with different columns.
        MerError: a manifest that cannot be read.
    """
    common: dict[str, str] | None = None
    for file in files:
        columns = _columns(file)
        if path_column not in columns:
            raise UsageError(
                f"{file} has no column {path_column!r} (it has {', '.join(columns) or 'none'}); "
                "name the column that holds the paths"
            )
        del columns[path_column]
        if common is not None and columns != common:
            raise UsageError(f"{file} has other columns than the manifest before it: label them apart")
        common = columns
    return common or {}


def sources_from_manifest(file: str, path_column: str) -> Iterator[Source]:
    """The rows of a CSV or Parquet file, one at a time, with their other columns.

    Paths are relative to the file. A row without a path becomes an input that fails.

    Raises:
        MerError: the file cannot be read.
    """
    folder = os.path.dirname(file)
    with _reading(file):
        for row in _rows(file):
            path = str(row.pop(path_column) or "")
            if is_remote(path):
                yield Source(path, columns=row)
            else:
                yield source_from_path(os.path.join(folder, path) if path else "", row)


def sources_from_playlist(file: str, skip: Callable[[], None]) -> Iterator[Source]:
    """The local entries of a playlist, relative to its folder; ``skip`` is called for every other entry.

    Raises:
        MerError: the file cannot be read.
    """
    folder = os.path.dirname(file)
    with _reading(file), open(file, "rb") as lines:
        for number, line in enumerate(lines):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            line = line.strip(b"\r\n\0 \t")
            if not line or line.startswith(b"#"):
                continue
            path = os.fsdecode(line)  # .m3u8 is UTF-8; bytes of older encodings are kept, as in file names
            if path.lower().startswith("file://"):
                parts = urlsplit(path)
                if parts.netloc not in ("", "localhost"):
                    skip()
                    continue
                path = unquote(parts.path)
            elif is_remote(path):
                skip()
                continue
            path = os.path.join(folder, path)
            if not os.path.exists(path) and "\\" in path and os.sep == "/":
                path = os.path.join(folder, os.fsdecode(os.fsencode(path)).replace("\\", "/"))
            yield source_from_path(path)


def _columns(file: str) -> dict[str, str]:
    with _reading(file):
        if not file.lower().endswith(".parquet"):
            with open(file, newline="", encoding="utf-8-sig") as text:
                return dict.fromkeys(next(csv.reader(text), []), "string")
        from pyarrow import parquet

        schema = parquet.read_schema(file)
        return {field.name: _kind(str(field.type)) for field in schema}


def _kind(arrow_type: str) -> str:
    """The kind of column that rows have for an Arrow type; lists, dates and others become text."""
    for prefix, kind in _KINDS.items():
        if arrow_type.startswith(prefix):
            return kind
    return "string"


def _rows(file: str) -> Iterator[dict[str, Any]]:
    if not file.lower().endswith(".parquet"):
        with open(file, newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text, restval="")
            for row in reader:
                row.pop(None, None)  # pyright: ignore[reportArgumentType]  (more cells than the header has)
                yield row
        return
    from pyarrow import parquet

    kinds = _columns(file)
    with parquet.ParquetFile(file) as table:
        for batch in table.iter_batches(1_000):
            for row in batch.to_pylist():
                yield {
                    name: str(value) if kinds[name] == "string" and value is not None else value
                    for name, value in row.items()
                }


@contextmanager
def _reading(file: str) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except OSError as error:
        raise MerError(f"{Path(file)} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error, ArrowException) as error:
        raise MerError(f"{Path(file)} cannot be read: {error}") from None
