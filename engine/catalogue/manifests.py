"""Manifests: CSV or Parquet tables with a column of paths, whose other columns rows carry."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from ..audio.formats import is_remote, path_in_url
from ..errors import MerError, UsageError
from .csv_rows import open_csv, path_in_header
from .listed_paths import MARKS, folders_of_list, source_from_folders
from .parquet_rows import is_index, parquet_columns, parquet_rows
from .source import Source

SUFFIXES = (".csv", ".tsv", ".parquet")

_MOST_WHOLE = 1 << 53  # up to which each whole number is one of float64
_PANDAS = {"string": "string", "int64": "Int64", "float64": "Float64", "bool": "boolean"}


def columns_of_manifests(files: Iterable[str], path_column: str) -> dict[str, str]:
    """The columns that manifests add to rows: name to "string", "int64", "float64" or "bool".

    Raises:
        UsageError: a manifest without ``path_column`` or without a header, with two columns of one name, or
            with other columns than the one before.
        MerError: a manifest that cannot be read.
    """
    common: dict[str, str] | None = None
    for file in files:
        pairs = [(name, kind) for name, kind in _columns(file, path_column) if name]
        columns = dict(pairs)
        named = [path_column] if path_column in columns else columns
        if not _is_parquet(file) and (path := path_in_header(file, named)):
            raise UsageError(
                f"{file} has no header, its first line is of a song ({path}): write a line with the names of "
                "the columns above it, path for that of the paths"
            )
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        if twice:
            raise UsageError(f"{file} has two columns {', '.join(map(repr, twice))}: rename one")
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


def sources_from_manifest(
    file: str,
    path_column: str,
    check: Callable[[], None] = lambda: None,
    kinds: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Source]:
    """The rows of a CSV or Parquet file, one at a time, with their other columns.

    Paths are relative to the file's ``folders_of_list``; ``source_from_list`` says what they mean. A row
    without a path becomes an input that fails; one without anything is left out, and so are columns without a
    name, as pandas' index is. ``check`` is called for each row; what it raises ends the list. ``kinds`` are
    those that the values of columns are to have, where they are not the file's.

    Raises:
        MerError: the file cannot be read, or a value is none of the kind that it is to have.
    """
    folders = folders_of_list(file)
    with _reading(file):
        columns = _columns(file, path_column)
        names = [name for name, _ in columns]
        others = {name: kinds[name] for name, kind in columns if kinds.get(name, kind) != kind}
        rows = parquet_rows(file, path_column) if _is_parquet(file) else open_csv(file, path_column)[1]
        for values in rows:
            check()
            if not any(str(value).strip() for value in values if value is not None):
                continue
            row = {name: value for name, value in zip(names, values, strict=True) if name}
            row |= {name: _of_kind(row[name], kind, name, file) for name, kind in others.items()}
            path = str(row.pop(path_column) or "")
            url = path.strip().strip(MARKS).strip()
            if is_remote(url) and path_in_url(url) is None:
                yield Source(url, columns=row)
            else:
                is_empty = not path.strip(MARKS).strip()
                yield Source("", columns=row) if is_empty else source_from_folders(folders, path, row)


def _of_kind(value: Any, kind: str, name: str, file: str) -> Any:
    """A value as one of another kind, where it is the same there.

    pandas makes whole numbers with a gap floats, and has no type for a column of gaps.
    """
    if value is None:
        return None
    if kind == "int64" and isinstance(value, float):
        if math.isnan(value):  # a gap, as other writers than Arrow's store it
            return None
        if value.is_integer() and abs(value) < _MOST_WHOLE:
            return int(value)
    if kind == "float64" and type(value) is int and abs(value) <= _MOST_WHOLE:
        return float(value)
    raise MerError(
        f"{file}: the column {name!r} has {str(value)[:40]!r}, and the folder's rows have {kind} there: "
        f'write it as Parquet with that type (pandas: astype("{_PANDAS[kind]}")), or choose another folder'
    )


def _columns(file: str, path_column: str) -> list[tuple[str, str]]:
    with _reading(file):
        if _is_parquet(file):
            columns = parquet_columns(file)
            return [("" if is_index(name) and name != path_column else name, kind) for name, kind in columns]
        return [(name, "string") for name in open_csv(file, path_column)[0]]


def _is_parquet(file: str) -> bool:
    return file.lower().endswith(".parquet")


@contextmanager
def _reading(file: str) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except OSError as error:
        raise MerError(f"{file} cannot be read: {error.strerror or error}") from None
    except ArrowException as error:
        raise MerError(f"{file} cannot be read: {error}") from None
