"""Rows to Parquet, CSV or JSONL. Every command and runtime writes through here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from .artifact import Artifact
from .decoders import TAGS
from .disk import Disk
from .errors import MerError, UsageError
from .labeler import SongLabel
from .sources import Source
from .spool import text_from_path

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".csv", ".jsonl")
_ROWS_AT_ONCE = 1_000


def row_from_label(label: SongLabel, artifact: Artifact, source: Source | None = None) -> dict[str, Any]:
    """A song's row: the same keys in the same order for every song of a model.

    ``path`` holds bytes that are no UTF-8 as ``\\xNN``, since no format here could hold them raw. The
    columns of the source's manifest come last; one that has a name of ours gets ``manifest_`` before it.
    """
    labels = artifact.spec.labels
    probabilities = label.probabilities or (None,) * len(labels)
    return {
        "path": text_from_path(label.path),
        "status": "error" if label.error else "ok",
        "error": label.error,
        "emotion": label.emotion,
        "confidence": label.confidence,
        **{f"p_{name}": value for name, value in zip(labels, probabilities, strict=True)},
        "duration_s": label.duration_s,
        "windows": [{"start_s": start, "p": list(p)} for start, p in label.windows],
        **{name: label.tags.get(name) for name in TAGS},
        "decoder": label.decoder,
        "model": artifact.name,
        "model_sha256": artifact.sha256,
        "size_bytes": source.size_bytes if source else None,
        "mtime_ns": source.mtime_ns if source else None,
        **(carried_columns(source.columns, labels) if source else {}),
    }


def columns_of_rows(labels: tuple[str, ...]) -> dict[str, str]:
    """Every row's own columns, in order: name to "string", "int64", "float32", "float64" or "windows"."""
    return {
        **dict.fromkeys(("path", "status", "error", "emotion"), "string"),
        **dict.fromkeys(("confidence", *(f"p_{name}" for name in labels)), "float32"),
        "duration_s": "float64",
        "windows": "windows",
        **dict.fromkeys((*TAGS, "decoder", "model", "model_sha256"), "string"),
        **dict.fromkeys(("size_bytes", "mtime_ns"), "int64"),
    }


def carried_columns(columns: Mapping[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    """A manifest's columns under the names that they have in rows."""
    own = columns_of_rows(labels)
    return {f"manifest_{name}" if name in own else name: value for name, value in columns.items()}


def schema_of_rows(labels: tuple[str, ...], carried: Mapping[str, str] = MappingProxyType({})) -> pa.Schema:
    """The Parquet schema; ``carried`` has a manifest's columns, as rows name them, and their kinds."""
    import pyarrow as pa

    kinds: dict[str, Any] = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "windows": pa.list_(pa.struct([("start_s", pa.float64()), ("p", pa.list_(pa.float32()))])),
    }
    columns = {**columns_of_rows(labels), **carried}
    fields = [pa.field(name, kinds[kind], name not in ("path", "status")) for name, kind in columns.items()]
    return pa.schema(fields)


class Writer(Protocol):
    """Takes rows of one shape; nothing stands under the file's name before ``close``."""

    def write(self, row: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class RowFile:
    """One ``.parquet``, ``.csv`` or ``.jsonl`` file, written aside and renamed when complete.

    As a context manager it is kept on a clean exit only.

    Raises:
        UsageError: another suffix.
        MerError: the folder is missing or not writable, or the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        labels: tuple[str, ...],
        carried: Mapping[str, str] = MappingProxyType({}),
        disk: Disk | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"--out {path}: the name must end in {', '.join(SUFFIXES)}")
        make = {".parquet": _Parquet, ".csv": _Csv, ".jsonl": _Jsonl}[self.path.suffix.lower()]
        with self._explained(), ExitStack() as stack:
            file = stack.enter_context((disk or Disk()).whole(self.path))
            self._writer: Writer = make(file, labels, carried)
            self._stack = stack.pop_all()

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a row."""
        with self._explained():
            self._writer.write(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._explained(), self._stack:
                self._writer.close()
            return
        with suppress(Exception):  # pyarrow's writer must end before its file does
            self._writer.close()
        self._stack.__exit__(kind, error, trace)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MerError(f"{self.path} cannot be written: {error.strerror or error}") from None


class _Parquet:
    def __init__(self, file: IO[bytes], labels: tuple[str, ...], carried: Mapping[str, str]) -> None:
        from pyarrow import parquet

        self._schema = schema_of_rows(labels, carried)
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()


class _Csv:
    def __init__(self, file: IO[bytes], labels: tuple[str, ...], carried: Mapping[str, str]) -> None:
        self._file = file
        self._columns = [*columns_of_rows(labels), *carried]
        self._line(self._columns)

    def write(self, row: Mapping[str, Any]) -> None:
        self._line([_cell(row.get(name)) for name in self._columns])

    def _line(self, cells: list[Any]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerow(cells)
        self._file.write(text.getvalue().encode())

    def close(self) -> None:
        pass


def _cell(value: Any) -> Any:
    """A spreadsheet runs cells that begin with these; the timeline is JSON."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


class _Jsonl:
    def __init__(self, file: IO[bytes], labels: tuple[str, ...], carried: Mapping[str, str]) -> None:
        self._file = file

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        pass
