"""One shard: rows as the bytes of a Parquet file, sealed with a checksum of the whole, and read back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audio.readable import opened
from ..errors import MerError
from ..files import Disk
from .rows import size_of_row
from .run_info import FORMAT, KEY, fields_from_json

if TYPE_CHECKING:
    import pyarrow as pa

# Checksums of pages, which Parquet has, say nothing of the footer: names, places, counts, ``mer.run``. The
# checksum of the whole file, with zeros in its own place, stands in the footer, last of what is in there.
_SEAL_KEY, _SEAL = b"mer.seal", b"mer.sha256:"
_OPEN = b"0" * 64
_DAMAGED = (OSError, ValueError, LookupError, ArithmeticError, MemoryError, NotImplementedError)


def bytes_from_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    """A shard's file. ``schema`` has the ``RunInfo`` under ``KEY`` in its metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    # In memory, so that all errors of the disk come from our own atomic write.
    sink = pa.BufferOutputStream()
    with parquet.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))
        writer.add_key_value_metadata({_SEAL_KEY: _SEAL + _OPEN})
    content = sink.getvalue().to_pybytes()
    start = content.rindex(_SEAL + _OPEN) + len(_SEAL)
    seal = hashlib.sha256(content).hexdigest().encode()
    return content[:start] + seal + content[start + len(seal) :]


def write_shard(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, disk: Disk) -> None:
    """Writes a shard's file whole.

    Raises:
        OSError: it could not be written; an older one stays as it was.
    """
    content = bytes_from_rows(rows, schema)
    with disk.whole(path) as file:
        file.write(content)


class ShardFile:
    """A shard that was read whole and is what was written.

    Attributes:
        run: the fields of its ``RunInfo``; None in old shards, and in files that are none of ours.
        columns: the names of its columns.

    Raises:
        MerError: it cannot be read, is damaged, or is another version's.
    """

    def __init__(self, path: Path) -> None:
        from pyarrow import BufferReader, parquet

        self.path = path
        if path.is_file() and not path.stat().st_size:
            raise _damaged(path, "it is empty")
        content = content_of(path)
        is_sealed = _check_seal(path, content)
        with _explained(path):
            self._file = parquet.ParquetFile(
                BufferReader(content), pre_buffer=False, page_checksum_verification=True
            )
            self.schema: pa.Schema = self._file.schema_arrow
            text = (self._file.metadata.metadata or {}).get(KEY)
        self.columns: list[str] = self.schema.names
        self.run = None if text is None else fields_from_json(text, path)
        if self.run and self.run["format"] == FORMAT and not is_sealed:
            raise _damaged(path, "its checksum is missing")

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """Its rows as a table, of some columns or of all."""
        with _explained(self.path):
            # One of Arrow's threads may still hold the content, bytes of Python, when Python itself ends: to
            # free them then aborts the process. So reads have no threads here and in parquet_rows.py.
            return self._file.read(columns, use_threads=False)

    def rows(self, columns: list[str] | None = None) -> list[dict[str, Any]]:
        """Its rows, of some columns or of all."""
        with _explained(self.path):
            return self.table(columns).to_pylist()

    @cached_property
    def count(self) -> int:
        """The number of rows."""
        return self._file.metadata.num_rows

    def decoder_asked(self) -> str | None:
        """The ``decoder`` option of a shard that does not say it, by who decoded the first good row."""
        rows = self.rows(["decoder"]) if "decoder" in self.columns else ()
        name = next((row["decoder"] for row in rows if row["decoder"]), None)
        return name and ("dali" if str(name).startswith("dali") else "auto")

    def check_columns(self, schema: pa.Schema, optional: set[str]) -> None:
        """Refuses a file that does not hold rows of ``schema``; the columns in ``optional`` may be missing.

        Raises:
            MerError: a column is missing or has another type; a row has no path.
        """
        for field in schema:
            if field.name not in self.columns:
                if field.name not in optional:
                    raise _foreign(self.path, f"it has no column {field.name!r}")
            elif self.schema.field(field.name).type != field.type:
                kind = self.schema.field(field.name).type
                raise _foreign(self.path, f"its column {field.name!r} is of type {kind}, not {field.type}")
        required = [field.name for field in schema if not field.nullable]
        if any(column.null_count for column in self.table(required).columns):
            raise _foreign(self.path, f"it has rows without {' or '.join(required)}")


def rows_of_short_shard(
    path: Path, run: Mapping[str, Any], columns: list[str], most: int, most_bytes: int
) -> list[dict[str, Any]]:
    """The rows of a shard of this run and columns, of at most ``most``; none of a link, or of a bad one.

    In memory they take less than ``most_bytes``, as ``size_of_row`` counts: of more, the rest is not made.
    """
    with suppress(MerError), _explained(path):
        shard = ShardFile(path) if min(most, most_bytes) > 0 and not os.path.islink(path) else None
        if shard and (shard.run, shard.columns) == (run, columns) and shard.count <= most:
            rows: list[dict[str, Any]] = []
            for batch in shard.table().to_batches(max_chunksize=10):
                rows += batch.to_pylist()
                most_bytes -= sum(map(size_of_row, rows[-batch.num_rows :]))
                if most_bytes <= 0:
                    return []
            return rows
    return []


def content_of(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        MerError: it is none, or cannot be read.
    """
    with opened(path) as file:
        return file.read()


def _check_seal(path: Path, content: bytes) -> bool:
    """Whether a file has the checksum of its bytes; older ones have none."""
    start = content.rfind(_SEAL)
    if start < 0:
        return False
    start += len(_SEAL)
    end = start + len(_OPEN)
    if hashlib.sha256(content[:start] + _OPEN + content[end:]).hexdigest().encode() != content[start:end]:
        raise _damaged(path, "it is not what was written: its checksum differs")
    return True


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, *_DAMAGED) as error:
        raise _damaged(path, " ".join(str(error).split()) or type(error).__name__) from None


def _damaged(path: Path, reason: str) -> MerError:
    return MerError(
        f"{path} is damaged ({reason}): delete it and run again: its songs are then labelled again"
    )


def _foreign(path: Path, reason: str) -> MerError:
    return MerError(f"{path} is no shard of these labels ({reason}): move it to another folder")
