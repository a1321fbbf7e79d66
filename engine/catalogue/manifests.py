"""Lists of files: M3U playlists, and CSV or Parquet tables with a column of paths."""

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
    """The columns that manifests carry through: name to "string", "int64", "float64" or "bool".

    Raises:
        UsageError: a manifest without ``path_column``, or manifests with different columns.
        MerError: a manifest that cannot be read.
    """
    found: dict[str, str] | None = None
    for file in files:
        columns = _columns(file)
        if path_column not in columns:
            raise UsageError(
                f"{file} has no column {path_column!r} (it has {', '.join(columns) or 'none'}); "
                "name the one that holds paths with --path-column"
            )
        del columns[path_column]
        if found is not None and columns != found:
            raise UsageError(f"{file} has other columns than the manifest before it: label them apart")
        found = columns
    return found or {}


def sources_from_manifest(file: str, path_column: str) -> Iterator[Source]:
    """Rows of a CSV or Parquet file, streamed; paths are relative to the file. A row without is an error."""
    folder = os.path.dirname(file)
    with _reading(file):
        for row in _rows(file):
            path = str(row.pop(path_column) or "")
            if is_remote(path):
                yield Source(path, columns=row)
            else:
                yield source_from_path(os.path.join(folder, path) if path else "", row)


def sources_from_playlist(file: str, skip: Callable[[], None]) -> Iterator[Source]:
    """A playlist's local entries, relative to it; ``skip`` is called for each entry elsewhere."""
    folder = os.path.dirname(file)
    with _reading(file), open(file, "rb") as lines:
        for number, line in enumerate(lines):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            line = line.strip(b"\r\n\0 \t")
            if not line or line.startswith(b"#"):
                continue
            path = _text(line)
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


def _text(line: bytes) -> str:
    """UTF-8, which .m3u8 is by definition; older .m3u that are not keep their bytes, as file names do."""
    return os.fsdecode(line)


def _columns(file: str) -> dict[str, str]:
    with _reading(file):
        if not file.lower().endswith(".parquet"):
            with open(file, newline="", encoding="utf-8-sig") as text:
                return dict.fromkeys(next(csv.reader(text), []), "string")
        from pyarrow import parquet

        schema = parquet.read_schema(file)
        return {field.name: _kind(str(field.type)) for field in schema}


def _kind(arrow_type: str) -> str:
    """What a value is kept as: lists, dates and the like become their text."""
    for beginning, kind in _KINDS.items():
        if arrow_type.startswith(beginning):
            return kind
    return "string"


def _rows(file: str) -> Iterator[dict[str, Any]]:
    if not file.lower().endswith(".parquet"):
        with open(file, newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text, restval="")
            for row in reader:
                row.pop(None, None)  # pyright: ignore[reportArgumentType]  (cells beyond the header)
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
    except (OSError, UnicodeDecodeError, csv.Error, ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        raise MerError(f"{Path(file)} cannot be read: {reason}") from None
