"""Reads the columns of a Parquet file as values that rows can hold; what has no such value becomes text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..audio.formats import open_regular_file
from ..errors import MerError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

_KINDS = {
    "bool": "bool", "int": "int64", "uint": "int64",
    "halffloat": "float64", "float": "float64", "double": "float64",
}  # fmt: skip
_NO_VALUE = (ArithmeticError, LookupError, NotImplementedError, ValueError)  # Arrow's own are among these
_ROWS_AT_ONCE = 100  # cells can be long
_NUMBERS_AT_ONCE = 65_536


def parquet_columns(file: str) -> list[tuple[str, str]]:
    """The names of the columns, each with its kind: "string", "int64", "float64" or "bool".

    Raises:
        MerError: no regular file, or no Parquet.
    """
    with opened_parquet(file) as table:
        return _columns(table)


def parquet_rows(file: str, path_column: str) -> Iterator[list[Any]]:
    """The rows of a file, in the order of its columns. Paths in binary columns are names of files.

    Raises:
        MerError: no regular file, no Parquet, or a page does not have its checksum.
    """
    with opened_parquet(file) as table:
        columns = _columns(table)
        for batch in table.iter_batches(_ROWS_AT_ONCE, use_threads=False):  # shard_file.py says why
            values = [
                _texts(column, path=name == path_column) if kind == "string" else _numbers(column, kind)
                for (name, kind), column in zip(columns, batch.columns, strict=True)
            ]
            yield from map(list, zip(*values, strict=True))


def is_index(name: str) -> bool:
    """Whether a column is that of pandas' numbers of rows, which are no facts of songs and have no name."""
    return re.fullmatch(r"__index_level_\d+__", name) is not None


@contextmanager
def opened_parquet(file: str) -> Iterator[parquet.ParquetFile]:
    """A Parquet file, of which pages are checked; errors within the block are in one line.

    Raises:
        MerError: no regular file, no Parquet, or a page does not have its checksum.
    """
    from pyarrow import ArrowException, parquet

    try:
        with (
            os.fdopen(open_regular_file(file), "rb") as binary,
            parquet.ParquetFile(binary, pre_buffer=False, page_checksum_verification=True) as table,
        ):
            yield table
    except (ArrowException, MerError, OSError, MemoryError, *_NO_VALUE) as error:
        reason = " ".join(str(error).split()) or "the memory is full"
        raise MerError(f"{file} cannot be read: {reason}") from None


def _columns(table: parquet.ParquetFile) -> list[tuple[str, str]]:
    columns = [(field.name, str(field.type)) for field in table.schema_arrow]
    return [
        (name, "string" if kind == "uint64" and _has_too_large(table, name) else _kind(kind))
        for name, kind in columns
    ]


def _kind(arrow_type: str) -> str:
    """The kind of column that rows have for an Arrow type; lists, dates and others become text."""
    for prefix, kind in _KINDS.items():
        if arrow_type.startswith(prefix):
            return kind
    return "string"


def _has_too_large(table: parquet.ParquetFile, name: str) -> bool:
    """Whether a column of unsigned numbers, often hashes, has some that are none of int64."""
    import pyarrow as pa

    for batch in table.iter_batches(_NUMBERS_AT_ONCE, columns=[name], use_threads=False):
        for column in batch.columns:
            try:
                if column.type == pa.uint64():
                    column.cast(pa.int64())
            except pa.ArrowInvalid:
                return True
    return False


def _numbers(column: pa.Array, kind: str) -> list[Any]:
    values = column.to_pylist()
    if kind == "float64":  # of 16 bits they are NumPy's, in older versions of Arrow
        return [None if value is None else float(value) for value in values]
    return values


def _texts(column: pa.Array, path: bool) -> list[str | None]:
    decode = os.fsdecode if path else lambda value: value.decode("utf-8", "backslashreplace")
    try:
        values = column.to_pylist()
    except _NO_VALUE:  # at least one value is none of Python's: a year beyond 9999
        values = [_value(column.slice(i, 1)) for i in range(len(column))]
    return [
        value if value is None else decode(value) if isinstance(value, bytes) else str(value)
        for value in values
    ]


def _value(column: pa.Array) -> Any:
    """The only value of a column, by Python, as bytes, or as Arrow prints it."""
    import pyarrow as pa

    for convert in (lambda: column.to_pylist()[0], lambda: column.cast(pa.binary()).to_pylist()[0]):
        try:
            return convert()
        except _NO_VALUE:
            continue
    return column.to_string(skip_new_lines=True)[1:-1]
