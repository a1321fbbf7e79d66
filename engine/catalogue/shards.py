"""A folder of Parquet shards. The shards are the journal of a run: one that is killed loses none of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from ..artifact import Artifact
from ..errors import MerError
from ..files import Disk, FolderLock
from ..labelling.file_windows import WindowOptions
from .input_store import InputStore
from .row_file import RowFile
from .rows import schema_of_rows

RUN_FILE = "run.json"
_FORMAT = 1
_NAME = re.compile(r"part-(\d{6,})\.parquet")


@dataclass(frozen=True)
class RunInfo:
    """What all rows of a folder have in common.

    ``carried`` has a manifest's columns and their kinds; ``decides`` is all that decides a row, apart from
    its audio file: the model and the options.
    """

    labels: tuple[str, ...]
    carried: Mapping[str, str]
    decides: Mapping[str, Any]

    def to_json(self) -> str:
        """The text of the folder's ``run.json``."""
        fields = {"format": _FORMAT, "labels": self.labels, "carried": dict(self.carried), **self.decides}
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def run_info(
    artifact: Artifact,
    runtime: str,
    options: WindowOptions,
    carried: Mapping[str, str] = MappingProxyType({}),
) -> RunInfo:
    """The ``RunInfo`` of a run. It leaves out the time limit: a run may be resumed with a longer one."""
    decides = {
        "model": artifact.name,
        "model_sha256": artifact.sha256,
        "audio_spec": options.spec.fingerprint,
        "runtime": runtime,
        "windows": options.windows,
        "hop_s": options.hop_s,
    }
    return RunInfo(artifact.spec.labels, carried, decides)


class ShardFolder:
    """Writes rows to a folder, ``rows_a_shard`` in a file; a context manager that holds the folder's lock.

    Each shard is written under a temporary name, synced and renamed. The last, shorter one is written
    when the block ends, also when an error ends it.

    Raises:
        MerError: another run is writing here; the folder belongs to another model or other options, or
            is not a folder of labels; it cannot be written.
    """

    def __init__(
        self, folder: str | Path, info: RunInfo, disk: Disk | None = None, rows_a_shard: int = 500
    ) -> None:
        self.folder, self._info = Path(folder), info
        self._disk, self._rows_a_shard = disk or Disk(), rows_a_shard
        self._rows: list[Mapping[str, Any]] = []
        self._failed = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MerError(f"{self.folder} cannot be made: {error.strerror}") from None
        self._check_kind()
        self._lock = FolderLock(self.folder)
        try:
            self._check_run()
            for unfinished in self.folder.glob(".*.part"):  # left by a run that was killed
                with suppress(OSError):
                    unfinished.unlink()
            self._next = max((int(_number(path)) for path in shards_in(self.folder)), default=-1) + 1
        except BaseException:
            self._lock.release()
            raise

    def resume(self, inputs: InputStore, retry_errors: bool = False) -> int:
        """Marks the inputs that have rows here, and removes the rows of those that have changed since.

        Args:
            retry_errors: also remove the rows of inputs that failed.

        Returns:
            The number of removed rows; their inputs will be labelled again.
        """
        removed = 0
        for path in shards_in(self.folder):
            table = _read(path, ["path", "size_bytes", "mtime_ns", "status"])
            kept = []
            for row in table.to_pylist():
                if retry_errors and row["status"] == "error":
                    kept.append(not inputs.has(row["path"]))
                    continue
                state = inputs.mark_done(row["path"], row["size_bytes"], row["mtime_ns"])
                kept.append(state != "changed")
            if not all(kept):
                removed += len(kept) - sum(kept)
                self._rewrite(path, kept)
        return removed

    def write(self, row: Mapping[str, Any]) -> None:
        """Adds a row."""
        self._rows.append(row)
        if len(self._rows) >= self._rows_a_shard:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Finished rows are kept even if a later song raised an error.
            if self._rows and not self._failed and (kind is None or issubclass(kind, Exception)):
                self._flush()
        finally:
            self._lock.release()

    def _flush(self) -> None:
        import pyarrow as pa

        table = pa.Table.from_pylist(self._rows, schema=schema_of_rows(self._info.labels, self._info.carried))
        self._store(self.folder / f"part-{self._next:06}.parquet", _bytes_from_table(table))
        self._next += 1
        self._rows.clear()

    def _rewrite(self, path: Path, kept: list[bool]) -> None:
        if any(kept):
            self._store(path, _bytes_from_table(_read(path).filter(kept)))
        else:
            with self._explained(path):
                path.unlink()

    def _store(self, path: Path, content: bytes) -> None:
        with self._explained(path), self._disk.whole(path) as file:
            file.write(content)

    @contextmanager
    def _explained(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failed = True
            raise MerError(
                f"{path} cannot be written: {error.strerror or error}. The {len(shards_in(self.folder))} "
                "shards that were written are complete: fix this and run the same command again to go on"
            ) from None

    def _check_kind(self) -> None:
        names = {path.name for path in self.folder.iterdir()} - {".lock"}
        if names and RUN_FILE not in names and not all(name.startswith(".") for name in names):
            raise MerError(f"{self.folder} holds other files and no {RUN_FILE}: name a new folder for labels")

    def _check_run(self) -> None:
        path, text = self.folder / RUN_FILE, self._info.to_json()
        if not path.exists():
            self._store(path, text.encode())
            return
        before = _read_run(path)
        differences = [
            f"{name} {_short(before.get(name))}, now {_short(value)}"
            for name, value in json.loads(text).items()
            if before.get(name) != value
        ]
        if differences:
            raise MerError(
                f"{self.folder} was begun with other options: {'; '.join(differences)}. "
                "Write to another folder, or delete this one to start again"
            )


def shards_in(folder: Path) -> list[Path]:
    """The finished shards of a folder, in order.

    Raises:
        MerError: the folder cannot be read.
    """
    try:
        shards = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except OSError as error:
        raise MerError(f"{folder} cannot be read: {error.strerror}") from None
    return sorted(shards, key=lambda path: int(_number(path)))


def rows_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Every row of a folder's shards, in order, as ``row_from_label`` made it.

    Raises:
        MerError: a shard is damaged.
    """
    import pyarrow as pa

    for path in shards_in(folder):
        table = _read(path)
        float32_columns = [field.name for field in table.schema if pa.types.is_float32(field.type)]
        for batch in table.to_batches(max_chunksize=100):
            for row in batch.to_pylist():
                # Back to the six decimals that were stored as float32: an export equals what a run writes.
                for name in float32_columns:
                    row[name] = row[name] if row[name] is None else round(row[name], 6)
                for window in row["windows"]:
                    window["p"] = window["p"] and [round(p, 6) for p in window["p"]]
                yield row


def export_folder(folder: str | Path, out: str | Path) -> int:
    """Copies a folder's rows into one ``.parquet``, ``.csv`` or ``.jsonl`` file; returns their number.

    Raises:
        UsageError: another suffix.
        MerError: ``folder`` is not a folder of labels, a shard is damaged, or the file cannot be written.
    """
    info = _read_run(Path(folder) / RUN_FILE)
    count = 0
    with RowFile(out, tuple(info["labels"]), info["carried"]) as file:
        for row in rows_in(Path(folder)):
            file.write(row)
            count += 1
    return count


def _read_run(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MerError(f"{path.parent} is no folder of labels: it has no {RUN_FILE}") from None
    except (OSError, ValueError) as error:
        raise MerError(f"{path} cannot be read: {error}") from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise MerError(f"{path} was made by another version of merkit: write to another folder")
    return fields


def _read(path: Path, columns: list[str] | None = None) -> Any:
    from pyarrow import ArrowException, parquet

    try:
        # Not read as a data set, which would make columns of the names of folders.
        with parquet.ParquetFile(path) as file:
            return file.read(columns)
    except (OSError, ArrowException, KeyError) as error:
        raise MerError(
            f"{path} is damaged ({error}): delete it and run again: its songs are then labelled again"
        ) from None


def _bytes_from_table(table: Any) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    # In memory, so that all errors of the disk come from our own atomic write.
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _number(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    return match[1] if match else "0"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}..."
