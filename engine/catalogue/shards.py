"""A folder of Parquet shards. The shards are the journal of a run: one that is killed loses none of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import MerError, os_errors_say
from ..files import Disk
from ..signals import signals_deferred
from .folder_lock import FolderLock
from .output import SHARD_NAME
from .replacements import MOST_BYTES, Replacements
from .resume import Resume
from .rows import rounded, schema_of_rows, size_of_row
from .run_info import KEY, OLD_FILES, RunInfo, fields_from_json, info_from_fields
from .shard_file import ShardFile, content_of, rows_of_short_shard, write_shard
from .source import Place

_KEEPING = (Exception, SystemExit, KeyboardInterrupt)
NEW_COLUMNS = {"ctime_ns", "real_path", "error_kind", "verdict", "novelty", "runtime"}
"""Columns that older rows lack."""

# What ``Resume.take`` reads of a row, apart from its manifest's columns.
_FACTS = (
    "path", "status", "error", "size_bytes", "mtime_ns", "ctime_ns", "real_path", "error_kind",
    "artist", "title",
)  # fmt: skip


class ShardFolder:
    """Writes rows to a folder, ``rows_a_shard`` in a file; a context manager that holds the folder's lock.

    Each shard is written under a temporary name, synced and renamed. The last, shorter one is written
    when the block ends, also when an error or a signal ends it. It joins the last shard of earlier runs where
    that has room for both: small runs must not leave a file each. A row that replaces one takes its place,
    in one step: whenever a run is killed, each row is there once, the old or the new. ``Replacements`` says
    how long such rows wait.

    Raises:
        MerError: another run is writing here; the folder belongs to another model or other options, or
            is not a folder of labels; it cannot be written.
    """

    def __init__(
        self, folder: str | Path, info: RunInfo, disk: Disk | None = None, rows_a_shard: int = 500
    ) -> None:
        self.folder, self._info = Path(folder), info
        self._disk, self._rows_a_shard = disk or Disk(), rows_a_shard
        self._schema = schema_of_rows(info.labels, info.carried).with_metadata({KEY: info.to_json()})
        self._rows: list[Mapping[str, Any]] = []
        self._row_bytes, self._replacements = 0, Replacements(rows_a_shard)
        self._superseded: dict[Path, set[int]] = defaultdict(set)
        self._failed = False
        self._is_new = not os.path.lexists(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MerError(f"{self.folder} cannot be made: {error.strerror}") from error
        self._check_kind()
        self._lock = FolderLock(self.folder)
        try:
            self._check_run()
            for unfinished in self.folder.glob(".part-*.part"):  # left by a run that was killed
                with suppress(OSError):
                    unfinished.unlink()
            self._next = max((_number(path) for path in shards_in(self.folder)), default=-1) + 1
        except BaseException:
            self._lock.release()
            raise

    def resume(self, resume: Resume, check: Callable[[], None] = lambda: None) -> None:
        """Gives ``resume`` every row; rewrites shards with rows that change or go, or of older versions.

        ``check`` is called for each shard; what it raises ends this, and the next run begins it again.
        """
        for path in shards_in(self.folder):
            check()
            number, shard = _number(path), _checked(path, self._info)
            names = [name for name in (*_FACTS, *self._info.carried) if name in shard.columns]
            changes = []
            stay = 0
            for record in shard.rows(names):
                changes.append(resume.take(record, Place(number, stay), path))
                stay += changes[-1] is not None
            is_old = shard.columns != self._schema.names or shard.run != self._info.fields()
            if is_old or any(change != {} for change in changes):
                self._rewrite(shard, changes)
        for number, places in groupby(resume.waiting, key=lambda place: place.shard):
            check()
            self._resume_waiting(ShardFile(self._path(number)), number, set(places), resume)
        for name in OLD_FILES:  # now every shard says it
            with self._explained(self.folder / name):
                (self.folder / name).unlink(missing_ok=True)
        for place in resume.superseded:
            self._superseded[self._path(place.shard)].add(place.row)

    def _resume_waiting(self, shard: ShardFile, number: int, places: set[Place], resume: Resume) -> None:
        changes: list[dict[str, Any] | None] = []
        for index, record in enumerate(shard.rows([*_FACTS, *self._info.carried])):
            place = Place(number, index)
            change = resume.take(record, place, shard.path, is_second=True) if place in places else {}
            if change is None:  # the places of the rows after it are known already
                resume.superseded.append(place)
            changes.append(change or {})
        if any(changes):
            self._rewrite(shard, changes)

    def write(self, row: Mapping[str, Any], place: Place | None = None) -> None:
        """Adds a row, or puts it in the place of an earlier one; it may lack columns that do not change."""
        if place is not None:
            self._replacements.add(row, place)
        else:
            self._rows.append(row)
            self._row_bytes += size_of_row(row)
        if len(self._rows) >= self._rows_a_shard or self._row_bytes >= MOST_BYTES:
            self._flush()
        if self._replacements.are_due():
            self._replace_rows()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Finished rows are kept even if a later song raised an error, or a signal ends the run.
            if not self._failed and (kind is None or issubclass(kind, _KEEPING)):
                with signals_deferred():  # all of them, also where a second signal comes meanwhile
                    self._flush(is_end=True)
                    self._replace_rows()
                    self._remove_superseded()
        finally:
            self._lock.release(remove=self._is_new and not self._failed)  # of a run without rows

    def _flush(self, is_end: bool = False) -> None:
        if self._rows:
            with signals_deferred():  # or the rows might be written again when the block ends
                if not (is_end and self._join_rows()):
                    self._store_rows(self._path(self._next), self._rows)
                    self._next += 1
                self._rows.clear()
                self._row_bytes = 0

    def _join_rows(self) -> bool:
        """Whether the last shard, if it has room, could be written with this run's rows behind its own."""
        path, most = self._path(self._next - 1), self._rows_a_shard - len(self._rows)
        room = MOST_BYTES - self._row_bytes
        if before := rows_of_short_shard(path, self._info.fields(), self._schema.names, most, room):
            with suppress(OSError):  # little room, or another user's file: a new one may be possible
                write_shard(path, [*before, *self._rows], self._schema, self._disk)
                return True
        return False

    def _replace_rows(self) -> None:
        """Signals take effect between two shards; a damaged one keeps no other from its rows."""
        damaged: list[MerError] = []
        while self._replacements:
            with signals_deferred():
                number, changes = self._replacements.pop()
                try:
                    shard = ShardFile(self._path(number))
                    rows = [{**row, **changes.get(index, {})} for index, row in enumerate(shard.rows())]
                except MerError as error:
                    damaged.append(error)
                else:
                    self._store_rows(shard.path, rows)
        if damaged:
            raise damaged[0]

    def _remove_superseded(self) -> None:
        for path, indices in self._superseded.items():  # last: places are counted with these rows
            shard = ShardFile(path)
            self._rewrite(shard, [None if index in indices else {} for index in range(shard.count)])

    def _rewrite(self, shard: ShardFile, changes: list[dict[str, Any] | None]) -> None:
        """Rewrites a shard without the rows whose change is None."""
        pairs = zip(shard.rows(), changes, strict=True)
        rows = [{**row, **change} for row, change in pairs if change is not None]
        if rows:
            self._store_rows(shard.path, rows)
        else:
            with self._explained(shard.path):
                shard.path.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06}.parquet"

    def _store_rows(self, path: Path, rows: list[Any]) -> None:
        with self._explained(path):
            write_shard(path, rows, self._schema, self._disk)

    @contextmanager
    def _explained(self, path: Path) -> Iterator[None]:
        try:
            yield
            return
        except OSError as error:
            self._failed = True
            cause, reason = error, error.strerror or str(error)
        try:
            written = len(shards_in(self.folder))
        except MerError:
            raise MerError(
                f"{self.folder} cannot be written ({reason}), nor listed now: is it gone? "
                "Bring it back and run the same command again to go on"
            ) from cause
        raise MerError(
            f"{path} cannot be written: {reason}. The {written} shards that were written are complete: "
            "fix this and run the same command again to go on"
        ) from cause

    def _check_kind(self) -> None:
        names = [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
        if names and fields_of_folder(self.folder) is None:
            raise MerError(f"{self.folder} holds other files and no labels: name a new folder for labels")

    def _check_run(self) -> None:
        before = fields_of_folder(self.folder)
        if before is not None:
            shards = map(ShardFile, shards_in(self.folder))
            decoder = before.get("decoder") or next(filter(None, map(ShardFile.decoder_asked, shards)), None)
            self._info.check({**before, "decoder": decoder}, self.folder)


def fields_of_folder(folder: Path) -> dict[str, Any] | None:
    """The fields of what a folder was begun with; None if it holds no labels.

    Raises:
        MerError: it, or a shard in it, cannot be read.
    """
    for path in (folder / name for name in OLD_FILES):
        if os.path.exists(path):  # Path.exists fails in a folder that may not be entered
            return fields_from_json(content_of(path), path)
    return next((run for path in shards_in(folder) if (run := ShardFile(path).run)), None)


def _checked(path: Path, info: RunInfo) -> ShardFile:
    """A shard that belongs to the rest of the folder."""
    shard = ShardFile(path)
    if shard.run:
        info.check(shard.run, path)
    elif not any((path.parent / name).exists() for name in OLD_FILES):
        raise MerError(f"{path} is no shard of these labels: move it to another folder")
    shard.check_columns(schema_of_rows(info.labels, info.carried), optional={*NEW_COLUMNS, *info.carried})
    return shard


def shards_in(folder: Path) -> list[Path]:
    """The finished shards of a folder, in order.

    Raises:
        MerError: the folder cannot be read.
    """
    with os_errors_say(f"{folder} cannot be read"):
        shards = [path for path in folder.iterdir() if SHARD_NAME.fullmatch(path.name)]
    return sorted(shards, key=_number)


def strangers_in(folder: Path) -> list[str]:
    """The names of files among shards that readers of ``*.parquet`` take for some.

    So are the copies that programs which keep folders in step make of a file with two versions.
    """
    names = (path.name for path in folder.glob("*.parquet"))
    return sorted(name for name in names if not SHARD_NAME.fullmatch(name) and not name.startswith("."))


def labelled_shards(folder: Path) -> tuple[RunInfo, Iterator[ShardFile]]:
    """What the rows of a folder of labels have in common, and its shards, in order.

    Raises:
        MerError: it is no folder of labels; or, from the iterator, a shard is damaged, or is of other labels
            than the first one.
    """
    run = fields_of_folder(folder)
    if run is None:
        raise MerError(f"{folder} is no folder of labels: it holds no shards")
    info = info_from_fields(run)
    return info, (_checked(path, info) for path in shards_in(folder))


def rows_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Every row of a folder's shards, in order, as ``row_from_label`` made it; none if it has no shards.

    Raises:
        MerError: a shard is damaged, or is of other labels than the first one.
    """
    import pyarrow as pa

    if fields_of_folder(folder) is None:
        return
    for shard in labelled_shards(folder)[1]:
        float32_columns = [field.name for field in shard.schema if pa.types.is_float32(field.type)]
        for batch in shard.table().to_batches(max_chunksize=100):
            for row in batch.to_pylist():
                yield rounded(row, float32_columns)


def _number(path: Path) -> int:
    return int(match[1]) if (match := SHARD_NAME.fullmatch(path.name)) else 0
