"""Gives tagged files the bytes that they had before."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from ...catalogue.reconcile import RealPaths, paths_from_text
from ...catalogue.shard_facts import store_facts
from ...catalogue.shards import shards_in
from ...catalogue.source import int64, source_from_path
from ...errors import MerError
from ...files import Disk
from ...text.escape import text_from_path
from ..songs import songs_in
from .differences import bytes_from_pieces
from .moved_files import MovedFiles
from .replacement import replacement
from .tag_run import Outcome, Tagged, digest_of, reason_of, writing
from .undo_file import Record, UndoFile

_Restored = dict[str, dict[tuple[int | None, int | None], os.stat_result]]
"""By real path as rows hold it, and by size and time of after the change: what the file is now."""


def undo_tags(
    folder: Path,
    write: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
    disk: Disk | None = None,
) -> Generator[Tagged, None, None]:
    """What becomes of each file that was tagged from a folder of labels; without ``write`` nothing changes.

    A file of which every byte is as tagging left it gets those of before, its time too. What was done to it
    since stays, and so does its record. The rows get the sizes and times of before; none are needed.

    Raises:
        MerError: ``folder`` is no folder of labels, is in use, or cannot be written; or the undo file is
            damaged.
    """
    disk = disk or Disk()
    if not UndoFile(folder).path.exists() or shards_in(folder):
        songs_in(folder)
    if not write:
        undo = UndoFile(folder)
        by_path = _by_path(undo)
        moved = MovedFiles(folder, by_path)
        for text, starts in by_path.items():
            if is_stopped():
                return
            yield from _undone(text, starts, undo, moved, None).files
        return
    with writing(folder, disk) as undo:
        by_path = _by_path(undo)
        moved = MovedFiles(folder, by_path)
        left = {start for starts in by_path.values() for start in starts}
        restored: _Restored = defaultdict(dict)
        try:
            for text, starts in by_path.items():
                if is_stopped():
                    return
                undone = _undone(text, starts, undo, moved, disk)
                left -= undone.done
                for real, facts in undone.restored.items():
                    restored[real] |= facts
                yield from undone.files
        finally:
            _store_rows(folder, restored, disk)
            undo.keep(left)


def _by_path(undo: UndoFile) -> dict[str, list[int]]:
    """Where the records of each file begin, the oldest first."""
    by_path: dict[str, list[int]] = defaultdict(list)
    for start, record in undo.records():
        by_path[record.path].append(start)
    return by_path


@dataclass
class _Undone:
    """What became of files; the records that are of no use any more; what the rows are to say."""

    files: list[Tagged] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    restored: _Restored = field(default_factory=lambda: defaultdict(dict))


def _undone(text: str, starts: list[int], undo: UndoFile, moved: MovedFiles, disk: Disk | None) -> _Undone:
    """Undoes the changes of the files that rows hold as one text, or says what it would do."""
    undone = _Undone()
    candidates = list(paths_from_text(text))
    here = [path for path in candidates if os.path.isfile(path)]
    found, are_copies = here, False
    if not here:
        after = [undo.record_at(start).after for start in starts]
        found, are_copies = moved.paths(text, {(each.size, int64(each.mtime_ns)) for each in after})
    real_paths = RealPaths()
    paths = {real_paths.of(path): path for path in found}
    of_none = []
    for real, path in paths.items():
        was = source_from_path(real)
        tagged, done = _undone_file(path, Path(real), starts, undo, disk)
        # Elsewhere the bytes of before are no sign: they may be those of a copy that never was tagged.
        if tagged.outcome is Outcome.CHANGED or (tagged.outcome is Outcome.SAME and not here):
            of_none.append(tagged)
            continue
        undone.files.append(tagged)
        undone.done |= done
        if disk is not None and done:
            after = [undo.record_at(start).after for start in done]
            known = {(was.size_bytes, was.mtime_ns), *((each.size, int64(each.mtime_ns)) for each in after)}
            facts = dict.fromkeys(known, os.stat(real))
            for name in (text_from_path(real), *(() if are_copies else (text,))):
                undone.restored[name] |= facts
    failed = any(tagged.outcome is Outcome.FAILED for tagged in undone.files)
    if failed or are_copies:
        undone.done.clear()  # they may be of the file that failed, or is away, too
    is_one_left = undone.done != {*starts} and len(candidates) > len(undone.files)
    if not undone.files or (is_one_left and here and not failed):
        undone.files += of_none[:1] if here and of_none else [Tagged(text, Outcome.MISSING)]
    return undone


def _undone_file(
    path: str, real: Path, starts: list[int], undo: UndoFile, disk: Disk | None
) -> tuple[Tagged, set[int]]:
    """Undoes the changes of a file from the last one to the first. Also which records are of it."""
    try:
        with real.open("rb") as file:
            digest = digest_of(file)
        steps = 0
        for start in reversed(starts):
            record = undo.record_at(start)
            if digest == record.after.sha256:
                if disk is not None:
                    _restore(real, record, disk)
                digest = record.before.sha256
                steps += 1
    except (MerError, OSError) as error:
        return Tagged(path, Outcome.FAILED, reason=reason_of(error)), set()
    done, digests = set(), {digest}
    for start in starts:  # also those of a change that a kill came before, or after which it was undone
        record = undo.record_at(start)
        if record.before.sha256 in digests:
            done.add(start)
            digests.add(record.after.sha256)
    if steps:
        return Tagged(path, Outcome.WRITTEN), done
    return Tagged(path, Outcome.SAME if done else Outcome.CHANGED), done


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


def _store_rows(folder: Path, restored: _Restored, disk: Disk) -> None:
    """Puts the files' sizes and times into the rows that say those of after the change."""
    facts: dict[Path, dict[int, os.stat_result]] = defaultdict(dict)
    real_paths = RealPaths()
    for song in songs_in(folder)[1] if restored and shards_in(folder) else ():
        text = song.real_path or text_from_path(real_paths.of(song.path))
        status = restored.get(text, {}).get((song.size_bytes, song.mtime_ns))
        if status is not None:
            facts[song.shard][song.number] = status
    for shard, numbers in facts.items():
        store_facts(shard, numbers, disk)
