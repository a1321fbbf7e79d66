"""A folder of Parquet shards that is its own journal: killed at any moment, it loses no finished shard."""

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
    """What rows of one folder have in common: all that decides a row, apart from its file."""

    labels: tuple[str, ...]
    carried: Mapping[str, str]
    decides: Mapping[str, Any]

    def to_json(self) -> str:
        found = {"format": _FORMAT, "labels": self.labels, "carried": dict(self.carried), **self.decides}
        return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def run_info(
    artifact: Artifact,
    runtime: str,
    options: WindowOptions,
    carried: Mapping[str, str] = MappingProxyType({}),
) -> RunInfo:
    """A run's fingerprint. The time limit is not in it: a run may be resumed with a longer one."""
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
    """Takes rows, ``rows_a_shard`` a file; as a context manager it holds the folder's lock.

    A shard is written aside, synced and renamed. On a clean exit, and when a run is stopped, the
    last and shorter one is written too.

    Raises:
        MerError: another run is writing here; the folder belongs to another model or other options, or
            is no folder of labels; it cannot be written.
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
            for left in self.folder.glob(".*.part"):  # of a run that was killed
                with suppress(OSError):
                    left.unlink()
            self._next = max((int(_number(path)) for path in shards_in(self.folder)), default=-1) + 1
        except BaseException:
            self._lock.release()
            raise

    def resume(self, inputs: InputStore, retry_errors: bool = False) -> int:
        """Marks inputs that have their rows, and takes out the rows of those that have changed since.

        Returns:
            How many rows were taken out (their inputs will be labelled again).
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
            # Rows that were done count even if what came after them failed.
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
                "shards that stand are whole: mend this and run the same command again to go on"
            ) from None

    def _check_kind(self) -> None:
        names = {path.name for path in self.folder.iterdir()} - {".lock"}
        if names and RUN_FILE not in names and not all(name.startswith(".") for name in names):
            raise MerError(f"{self.folder} holds other files and no {RUN_FILE}: name a new folder for labels")

    def _check_run(self) -> None:
        path, ours = self.folder / RUN_FILE, self._info.to_json()
        if not path.exists():
            self._store(path, ours.encode())
            return
        found = _read_run(path)
        differing = [
            f"{name} {_short(found.get(name))}, now {_short(value)}"
            for name, value in json.loads(ours).items()
            if found.get(name) != value
        ]
        if differing:
            raise MerError(
                f"{self.folder} was begun otherwise: {'; '.join(differing)}. "
                "Give this run another --out, or delete that folder to begin anew"
            )


def shards_in(folder: Path) -> list[Path]:
    """A folder's finished shards, in order."""
    try:
        found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except OSError as error:
        raise MerError(f"{folder} cannot be read: {error.strerror}") from None
    return sorted(found, key=lambda path: int(_number(path)))


def rows_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Every row of a folder's shards, in order, as ``row_from_label`` made it."""
    import pyarrow as pa

    for path in shards_in(folder):
        table = _read(path)
        rounded = [field.name for field in table.schema if pa.types.is_float32(field.type)]
        for batch in table.to_batches(max_chunksize=100):
            for row in batch.to_pylist():
                # float32 as the six decimals that it was made from: exports equal what a run writes.
                for name in rounded:
                    row[name] = row[name] if row[name] is None else round(row[name], 6)
                for window in row["windows"]:
                    window["p"] = [round(p, 6) for p in window["p"]]
                yield row


def export_folder(folder: str | Path, out: str | Path) -> int:
    """Copies a folder's rows into one ``.parquet``, ``.csv`` or ``.jsonl`` file; says how many.

    Raises:
        UsageError: another suffix.
        MerError: no folder of labels, or the file cannot be written.
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
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MerError(f"{path.parent} is no folder of labels: it has no {RUN_FILE}") from None
    except (OSError, ValueError) as error:
        raise MerError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise MerError(f"{path} was made by another version of mer: give this run another --out")
    return found


def _read(path: Path, columns: list[str] | None = None) -> Any:
    from pyarrow import ArrowException, parquet

    try:
        # A file alone: as a data set, names of folders would become columns.
        with parquet.ParquetFile(path) as file:
            return file.read(columns)
    except (OSError, ArrowException, KeyError) as error:
        raise MerError(
            f"{path} is damaged ({error}): delete it and run again, and its songs are labelled anew"
        ) from None


def _bytes_from_table(table: Any) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    # In memory first: the disk's errors then come from our own write, whole or not at all.
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _number(path: Path) -> str:
    found = _NAME.fullmatch(path.name)
    return found[1] if found else "0"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}..."
