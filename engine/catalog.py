"""Rows to Parquet, CSV or JSONL. Every command and runtime writes through here."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from .artifact import Artifact
from .errors import MerError, UsageError
from .labeler import SongLabel

SUFFIXES = (".parquet", ".csv", ".jsonl")
_ROWS_AT_ONCE = 1_000


def row_from_label(label: SongLabel, artifact: Artifact) -> dict[str, Any]:
    """A song's row: the same keys in the same order for every song of a model.

    ``path`` holds bytes that are no UTF-8 as ``\\xNN``, since no format here could hold them raw.
    """
    labels = artifact.spec.labels
    probabilities = label.probabilities or (None,) * len(labels)
    return {
        "path": os.fsencode(label.path).decode("utf-8", "backslashreplace"),
        "status": "error" if label.error else "ok",
        "error": label.error,
        "emotion": label.emotion,
        "confidence": label.confidence,
        **{f"p_{name}": value for name, value in zip(labels, probabilities, strict=True)},
        "duration_s": label.duration_s,
        "windows": [{"start_s": start, "p": list(p)} for start, p in label.windows],
        "decoder": label.decoder,
        "model": artifact.name,
        "model_sha256": artifact.sha256,
    }


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

    def __init__(self, path: str | Path, labels: tuple[str, ...]) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"--out {path}: the name must end in {', '.join(SUFFIXES)}")
        self._aside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        make = {".parquet": _Parquet, ".csv": _Csv, ".jsonl": _Jsonl}[self.path.suffix.lower()]
        try:
            self._file = self._aside.open("xb")
        except OSError as error:
            raise MerError(f"{self.path} cannot be written: {error.strerror}") from None
        self._writer: Writer = make(self._file, labels)

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a row."""
        self._trying(self._writer.write, row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._trying(self._finish)
        finally:
            with suppress(Exception):  # pyarrow's writer must end before its file does
                self._writer.close()
            self._file.close()
            self._aside.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._aside, self.path)

    def _trying(self, act: Any, *arguments: Any) -> None:
        try:
            act(*arguments)
        except OSError as error:
            raise MerError(f"{self.path} cannot be written: {error.strerror or error}") from None


class _Parquet:
    def __init__(self, file: IO[bytes], labels: tuple[str, ...]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        window = pa.struct([("start_s", pa.float64()), ("p", pa.list_(pa.float32()))])
        self._schema = pa.schema(
            [
                pa.field("path", pa.string(), nullable=False),
                pa.field("status", pa.string(), nullable=False),
                ("error", pa.string()),
                ("emotion", pa.string()),
                ("confidence", pa.float32()),
                *((f"p_{name}", pa.float32()) for name in labels),
                ("duration_s", pa.float64()),
                ("windows", pa.list_(window)),
                ("decoder", pa.string()),
                ("model", pa.string()),
                ("model_sha256", pa.string()),
            ]
        )
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
        self._flush()
        self._writer.close()


class _Csv:
    def __init__(self, file: IO[bytes], labels: tuple[str, ...]) -> None:
        self._file, self._begun = file, False

    def write(self, row: Mapping[str, Any]) -> None:
        import io

        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        if not self._begun:
            writer.writerow(row)
            self._begun = True
        writer.writerow([_cell(value) for value in row.values()])
        self._file.write(text.getvalue().encode())

    def close(self) -> None:
        pass


def _cell(value: Any) -> Any:
    """A spreadsheet runs cells that begin with these; the timeline is JSON."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


class _Jsonl:
    def __init__(self, file: IO[bytes], labels: tuple[str, ...]) -> None:
        self._file = file

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        pass
