"""Gives tagged files the bytes that they had before."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path

from ...catalogue.reconcile import paths_from_text
from ...catalogue.shard_facts import store_facts
from ...errors import MerError
from ...files import Disk
from ...text.escape import text_from_path
from ..songs import songs_in
from .differences import bytes_from_pieces
from .replacement import replacement
from .tag_run import Outcome, Tagged, digest_of, writing
from .undo_file import Record, UndoFile

_Sizes = set[tuple[int, int]]


def undo_tags(
    folder: Path,
    write: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
    disk: Disk | None = None,
) -> Generator[Tagged, None, None]:
    """What becomes of each file that was tagged from a folder of labels; without ``write`` nothing changes.

    A file of which every byte is as tagging left it gets those of before, its time too. What was done to it
    since stays, and so does its record. The rows get the sizes and times of before.

    Raises:
        MerError: ``folder`` is no folder of labels, is in use, or cannot be written; or the undo file is
            damaged.
    """
    songs_in(folder)
    disk = disk or Disk()
    if not write:
        undo = UndoFile(folder)
        for path, starts in _by_path(undo).items():
            if is_stopped():
                return
            yield _undone(path, starts, undo, None)
        return
    with writing(folder, disk) as undo:
        by_path = _by_path(undo)
        left = {start for starts in by_path.values() for start in starts}
        restored: dict[str, _Sizes] = {}
        try:
            for path, starts in by_path.items():
                if is_stopped():
                    return
                tagged = _undone(path, starts, undo, disk)
                if tagged.outcome in (Outcome.WRITTEN, Outcome.SAME):
                    left.difference_update(starts)
                    after = [undo.record_at(start).after for start in starts]
                    restored[path] = {(facts.size, facts.mtime_ns) for facts in after}
                yield tagged
        finally:
            _store_rows(folder, restored, disk)
            undo.keep(left)


def _by_path(undo: UndoFile) -> dict[str, list[int]]:
    """Where the records of each file begin, the oldest first."""
    by_path: dict[str, list[int]] = defaultdict(list)
    for start, record in undo.records():
        by_path[record.path].append(start)
    return by_path


def _undone(text: str, starts: list[int], undo: UndoFile, disk: Disk | None) -> Tagged:
    """Undoes the changes of a file from the last one to the first, or says what it would do."""
    path = next((path for path in paths_from_text(text) if os.path.isfile(path)), None)
    if path is None:
        return Tagged(text, Outcome.MISSING)
    try:
        with open(path, "rb") as file:
            digest = digest_of(file)
        steps = known = 0
        for start in reversed(starts):
            record = undo.record_at(start)
            if digest == record.after.sha256:
                if disk is not None:
                    _restore(Path(path), record, disk)
                digest = record.before.sha256
                steps += 1
            known += digest == record.before.sha256  # also where a kill came before the change
    except (MerError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Tagged(path, Outcome.FAILED, reason=reason)
    if steps:
        return Tagged(path, Outcome.WRITTEN)
    return Tagged(path, Outcome.SAME if known else Outcome.CHANGED)


def _restore(path: Path, record: Record, disk: Disk) -> None:
    """Gives a file the bytes of before a change.

    Raises:
        MerError, OSError: it stays as it was.
    """
    digest = hashlib.sha256()
    with path.open("rb") as now, replacement(path, record.before.mtime_ns, disk) as out:
        try:
            for part in bytes_from_pieces(record.pieces, now):
                digest.update(part)
                out.write(part)
        except (ValueError, zlib.error):
            raise MerError("its record is damaged") from None
        if digest.hexdigest() != record.before.sha256:
            raise MerError("its record is damaged: it would get other bytes than it had")


def _store_rows(folder: Path, restored: dict[str, _Sizes], disk: Disk) -> None:
    """Puts the files' sizes and times into the rows that say those of after the change."""
    facts: dict[Path, dict[int, os.stat_result]] = defaultdict(dict)
    for song in songs_in(folder)[1] if restored else ():
        text = song.real_path or text_from_path(os.path.realpath(song.path))
        if (song.size_bytes, song.mtime_ns) in restored.get(text, ()):
            path = next((path for path in paths_from_text(text) if os.path.isfile(path)), None)
            if path is not None:
                facts[song.shard][song.number] = os.stat(path)
    for shard, numbers in facts.items():
        store_facts(shard, numbers, disk)
