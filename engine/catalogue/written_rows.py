"""Reads files of rows that mer-label wrote (Parquet, CSV, JSON lines); copies rows from place to place."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..audio.formats import open_regular_file
from ..errors import MerError
from ..strict_json import json_from_text
from .csv_rows import open_csv
from .output import Kind, output_from_text
from .row_file import SUFFIXES, RowFile
from .rows import columns_of_rows, rounded
from .run_info import FILE_KEY, RunInfo, fields_from_json, info_from_fields
from .shards import NEW_COLUMNS, ShardFolder, fields_of_folder, labelled_shards, rows_in

_Row = dict[str, Any]
_SHA256 = "_model_sha256"  # what the last column of a further model ends in
_VALUES: dict[str, Callable[[str], Any]] = {
    "float32": float,
    "float64": float,
    "int64": int,
    "windows": json_from_text,
}
_PYTHON = {"string": str, "float32": (int, float), "float64": (int, float), "int64": int, "windows": list}
_CARRIED = {bool: "bool", int: "int64", float: "float64", str: "string"}


def copy_rows(source: str | Path, out: str | Path) -> int:
    """Copies the rows of a folder of labels, or of a file of rows, to another place; returns their number.

    Args:
        out: a ``.parquet``, ``.csv`` or ``.jsonl`` file, ``-`` for stdout, or, for the rows of a file, a new
            folder of labels.

    Raises:
        UsageError: another suffix, or a file in a folder of shards.
        MerError: ``source`` holds no rows, or a damaged one; ``out`` holds labels, or cannot be written.
    """
    source = Path(source)
    output = output_from_text(str(out))
    info, rows = rows_in_file(source) if source.is_file() else (labelled_shards(source)[0], rows_in(source))
    if output.kind is not Kind.FOLDER or not source.is_file():
        place = RowFile(out, info)
    elif os.path.isdir(out) and fields_of_folder(Path(out)) is not None:
        raise MerError(f"{out} holds labels: name a new folder")
    else:
        place = ShardFolder(out, info)
    columns = (*columns_of_rows(info.labels), *info.carried)
    count = 0
    with _explained(source), place:
        for row in rows:
            place.write({name: row.get(name) for name in columns})  # older ones lack some
            count += 1
    return count


def rows_in_file(file: Path) -> tuple[RunInfo, Iterator[_Row]]:
    """What the rows of a file have in common, and the rows, each of which has been looked at.

    Parquet says which options its rows were made with. CSV and JSON lines say the models alone, so that no
    run can go on in a folder of their rows.

    Raises:
        MerError: it cannot be read, or is not what mer-label writes.
    """
    read = {".parquet": _from_parquet, ".csv": _from_csv, ".jsonl": _from_jsonl}.get(file.suffix.lower())
    if read is None:
        raise MerError(f"{file} holds no rows: the name of a file of rows ends in {', '.join(SUFFIXES)}")
    with _explained(file):
        columns, said, rows = read(file)
        labels = _labels(columns)
        own = columns_of_rows(labels)
        if missing := [name for name in own if name not in columns and name not in NEW_COLUMNS]:
            raise MerError(f"{file} holds no rows of mer-label: it has no column {missing[0]!r}")
        first: _Row | None = None
        kinds: dict[str, set[type]] = {name: set() for name in columns if name not in own}
        for number, row in enumerate(rows(), 1):
            first = first or row
            _check(row, first, own, number)
            for name, found in kinds.items():
                found.add(type(row.get(name)))
    if said is not None:
        return said, rows()
    if first is None:
        raise MerError(f"{file} holds no rows")
    carried = {name: _kind(found - {type(None)}) for name, found in kinds.items()}
    return RunInfo(labels, carried, _decides(first)), rows()


def _labels(columns: list[str]) -> tuple[str, ...]:
    """The labels, from the columns of their shares, which stand between two others."""
    try:
        between = columns[columns.index("confidence") : columns.index("duration_s")]
    except ValueError:
        return ()
    return tuple(name[2:] for name in between if name.startswith("p_"))


def _decides(row: _Row) -> dict[str, Any]:
    """What a row says of the run that made it."""
    further = [(row[name], name.removesuffix(_SHA256)) for name in row if name.endswith(_SHA256)]
    return {
        **{name: row.get(name) for name in ("model", "model_sha256", "runtime")},
        "audio_spec": None,  # nor the windows: the row does not say it
        "further": ", ".join(f"{digest} {name}" for digest, name in further) or None,
    }


def _check(row: _Row, first: _Row, own: dict[str, str], number: int) -> None:
    for name, kind in own.items():
        value = row.get(name)
        if value is None and name not in ("path", "status"):
            continue
        is_one = isinstance(value, _PYTHON[kind]) and value != ""
        if not is_one or (isinstance(value, list) and not all(map(_is_window, value))):
            raise ValueError(f"row {number}: {name} is {str(value)[:40]!r}")
    if row["model_sha256"] != first["model_sha256"]:
        raise ValueError(f"row {number} is by another model than the first one")


def _is_window(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"start_s", "p"}


def _kind(types: set[type]) -> str:
    """The kind of a manifest's column."""
    names = {_CARRIED.get(each, "string") for each in types}
    return names.pop() if len(names) == 1 else "float64" if names == {"int64", "float64"} else "string"


def _from_parquet(file: Path) -> tuple[list[str], RunInfo | None, Callable[[], Iterator[_Row]]]:
    import pyarrow as pa
    from pyarrow import parquet

    with _opened(file) as binary, parquet.ParquetFile(binary) as table:
        schema, text = table.schema_arrow, (table.metadata.metadata or {}).get(FILE_KEY)
    floats = [field.name for field in schema if pa.types.is_float32(field.type)]

    def rows() -> Iterator[_Row]:
        with (
            _explained(file),
            _opened(file) as binary,
            parquet.ParquetFile(binary, pre_buffer=False, page_checksum_verification=True) as table,
        ):
            for batch in table.iter_batches(100, use_threads=False):  # shard_file.py says why
                for row in batch.to_pylist():
                    yield rounded(row, floats)

    return schema.names, None if text is None else info_from_fields(fields_from_json(text, file)), rows


def _from_csv(file: Path) -> tuple[list[str], None, Callable[[], Iterator[_Row]]]:
    names, _ = open_csv(str(file), "path")
    kinds = columns_of_rows(_labels(names))
    for prefix in (name.removesuffix(_SHA256) for name in names if name.endswith(_SHA256)):
        numbers = (f"{prefix}_confidence", f"{prefix}_novelty", f"{prefix}_p_")
        kinds |= {name: "float64" for name in names if name.startswith(numbers)}

    def rows() -> Iterator[_Row]:
        for number, cells in enumerate(open_csv(str(file), "path")[1], 1):
            row = {}
            for name, cell in zip(names, cells, strict=True):
                try:
                    row[name] = _VALUES.get(kinds.get(name, ""), str)(cell) if cell else None
                except ValueError:
                    raise MerError(f"{file} cannot be read: row {number}: {name} is {cell[:40]!r}") from None
            yield row

    return names, None, rows


def _from_jsonl(file: Path) -> tuple[list[str], None, Callable[[], Iterator[_Row]]]:
    def rows() -> Iterator[_Row]:
        with _explained(file), io.TextIOWrapper(_opened(file), "utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    row = json_from_text(line)
                    if not isinstance(row, dict):
                        raise ValueError(f"line {number} is no row")
                    yield row

    return list(next(rows(), {})), None, rows


def _opened(file: Path) -> BinaryIO:
    try:
        return os.fdopen(open_regular_file(file), "rb")
    except MerError as error:
        raise MerError(f"{file} cannot be read: {error}") from None


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except MerError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        NotImplementedError,
    ) as error:  # Arrow's own are among these
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise MerError(f"{file} cannot be read: {reason}") from None
