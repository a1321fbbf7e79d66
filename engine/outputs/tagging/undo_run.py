"""Gives tagged files the bytes that they had before."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
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
from .moods import NoPlaceError, is_ours, read_moods, require_mutagen
from .moved_files import MovedFiles
from .replacement import replacement
from .tag_run import Outcome, Tagged, digest_of, reason_of, writing
from .undo_file import Record, UndoFile

_ELSEWHERE = "restored elsewhere; if it was moved there, mer-label --forget its old folder"
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
        yield from _Undo(folder, UndoFile(folder), None).run(is_stopped)
        return
    with writing(folder, disk) as undo:
        run = _Undo(folder, undo, disk)
        try:
            yield from run.run(is_stopped)
        finally:
            _store_rows(folder, run.restored, disk)
            undo.keep(run.left, run.found)


class _Undo:
    """Undoes all records; without ``disk`` it writes nothing, and says the same.

    Attributes:
        left: where the records begin that are of use still.
        found: those of them whose file, or a copy of it, was restored elsewhere.
        restored: what the rows are to say.
    """

    def __init__(self, folder: Path, undo: UndoFile, disk: Disk | None) -> None:
        self._undo, self._disk = undo, disk
        self._starts: dict[str, list[int]] = defaultdict(list)  # of what is to be undone, the oldest first
        for start, record in undo.records():
            self._starts[record.path].append(start)
        self.left = {start for starts in self._starts.values() for start in starts}
        self.found: set[int] = set()
        self.restored: _Restored = defaultdict(dict)
        self._real = RealPaths()
        self._moved = MovedFiles(folder, self._real, self._is_own)
        self._again: dict[str, set[int]] = defaultdict(set)  # of use, and maybe to other files
        self._spare: set[int] = set()  # those of them that go at the end, unless the run is stopped before
        self._said: set[str] = set()  # of which real paths something was
        self._now: dict[str, str] = {}  # the digests of files that were restored, or would be, by real path

    def run(self, is_stopped: Callable[[], bool]) -> Iterator[Tagged]:
        """What becomes of each file: first of those in their places, then of those that are looked for."""
        rest: dict[str, Tagged] = {}
        for text in self._starts:
            if is_stopped():
                return
            files, other = self._undone(text, _here(text))
            if self._starts[text] and not _has(files, Outcome.FAILED):
                is_whole = len(files) == len([*paths_from_text(text)])  # no other file has the same text
                rest[text] = files.pop() if is_whole else other or Tagged(text, Outcome.MISSING)
            yield from files
        self._said = {*self._now} - {self._real.of(tagged.path) for tagged in rest.values()}
        # Each step may bring forth the bytes that an earlier record is of, under another name.
        is_more = True
        while is_more:
            is_more = False
            for text in [*rest]:
                if is_stopped():
                    return
                files = self._undone_late(text)
                is_more |= _has(files, Outcome.WRITTEN)
                is_done = not self._starts[text] and rest[text].outcome is not Outcome.CHANGED
                if is_done or _has(files, Outcome.FAILED):
                    del rest[text]
                yield from self._news(files)
            # Only what no other record is of: of equal files each has its own time of before.
            for text in [*self._again] if not is_more else ():
                if is_stopped():
                    return
                files = self._undone_again(text)
                is_more |= _has(files, Outcome.WRITTEN)
                yield from self._news(files)
        self.left -= self._spare
        for text, tagged in rest.items():
            if self._starts[text]:
                yield self._left_over(text, tagged)
            elif self._is_tagged(tagged.path):
                yield tagged

    def _news(self, files: list[Tagged]) -> Iterator[Tagged]:
        """What was not said of these files, or is worse."""
        for each in files:
            if each.outcome is Outcome.FAILED or self._real.of(each.path) not in self._said:
                self._said.add(self._real.of(each.path))
                yield each

    def _undone_again(self, text: str) -> list[Tagged]:
        """Undoes what is of records that were of use, maybe to a copy or to a file of equal bytes."""
        starts, rest = self._again[text], self._starts[text]
        self._starts[text] = sorted(starts)
        files = self._undone_moved(text)
        self._starts[text] = rest
        if _has(files, Outcome.FAILED):
            self._spare -= self._again.pop(text)
        return files

    def _undone_late(self, text: str) -> list[Tagged]:
        """Undoes what is left of one text: of what a step has changed in its place, or of what has moved."""
        changed = [path for path in _here(text) if self._real.of(path) in self._now]
        files, _ = self._undone(text, changed)
        return files if _has(files, Outcome.WRITTEN) else self._undone_moved(text)

    def _undone_moved(self, text: str) -> list[Tagged]:
        here = _here(text)
        after = [self._undo.record_at(start).after for start in reversed(self._starts[text])]
        found, are_copies = self._moved.paths(text, after, here)
        return self._undone(text, found, elsewhere=True, is_free=not (here or are_copies))[0]

    def _left_over(self, text: str, tagged: Tagged) -> Tagged:
        """What is to be said of records that are left; those whose file was restored elsewhere may go."""
        starts, is_here = self._starts[text], tagged.outcome in (Outcome.WRITTEN, Outcome.SAME)
        if not all(self._undo.record_at(start).found for start in starts):
            return replace(tagged, outcome=Outcome.EARLIER) if is_here else tagged
        if tagged.outcome is Outcome.MISSING and self._moved.has_row(text):
            return replace(tagged, reason=_ELSEWHERE)
        if tagged.outcome is Outcome.MISSING:
            self.left -= {*starts}
        elif is_here or self._is_tagged(tagged.path):
            return tagged
        return replace(tagged, outcome=Outcome.SAME)

    def _is_tagged(self, path: str) -> bool:
        """Whether a file that has changed may have its mood still, and is not another with that name now."""
        if self._real.of(path) in self._now:
            return False
        try:
            require_mutagen()
            return is_ours(read_moods(path))
        except NoPlaceError:
            return False
        except (MerError, OSError):
            return True

    def _is_own(self, real: str, digest: str) -> bool:
        """Whether a file has bytes that a record of its own place is of, and still has to be undone."""
        starts = self._starts.get(text_from_path(real), ())
        return any(self._undo.record_at(start).after.sha256 == digest for start in starts)

    def _undone(
        self, text: str, found: list[str], elsewhere: bool = False, is_free: bool = True
    ) -> tuple[list[Tagged], Tagged | None]:
        """Undoes what rows hold as one text in files that may be it; also one of them that is not.

        Args:
            elsewhere: the files are not where they were tagged.
            is_free: no other file can be meant, so that the row of this text is theirs.
        """
        files, other, of_use, again = [], None, set(), set()
        for real, path in {self._real.of(path): path for path in found}.items():
            was = source_from_path(real)
            tagged, done, passed = self._undone_file(path, real, self._starts[text])
            # Elsewhere the bytes of before are no sign: they may be those of a copy that never was tagged.
            if tagged.outcome is Outcome.CHANGED or (tagged.outcome is Outcome.SAME and elsewhere):
                other = tagged
                continue
            files.append(tagged)
            of_use |= done
            again |= done if elsewhere else done - passed
            if self._disk is not None and done:
                after = [self._undo.record_at(start).after for start in done]
                known = {
                    (was.size_bytes, was.mtime_ns),
                    *((each.size, int64(each.mtime_ns)) for each in after),
                }
                for name in (text_from_path(real), *((text,) if is_free else ())):
                    steps = self.restored[name]
                    known |= {key for key, status in steps.items() if _facts(status) in known}
                    steps |= dict.fromkeys(known, os.stat(real))
        if _has(files, Outcome.FAILED):
            return files, other  # the records may be of the file that failed, too
        if again:
            self._again[text] |= again
        if is_free:
            self.left -= of_use - again
            self._spare |= again
        self.found |= again if is_free else of_use
        self._starts[text] = [start for start in self._starts[text] if start not in of_use]
        return files, other

    def _undone_file(self, path: str, real: str, starts: list[int]) -> tuple[Tagged, set[int], set[int]]:
        """Undoes the changes of a file from the last one to the first.

        Also which records may be of it, and which of them were undone.
        """
        try:
            digest = "" if self._disk else self._now.get(real, "")
            if not digest:
                with open(real, "rb") as file:
                    digest = digest_of(file)
            first, passed = None, set()
            for start in reversed(starts):
                record = self._undo.record_at(start)
                if digest == record.after.sha256:
                    if self._disk is not None:
                        _restore(Path(real), record, self._disk)
                    digest, first = record.before.sha256, record
                    passed.add(start)
        except (MerError, OSError) as error:
            return Tagged(path, Outcome.FAILED, reason=reason_of(error)), set(), set()
        done, digests = set(), {digest}
        for start in starts:  # also those of a change that a kill came before, or after which it was undone
            record = self._undo.record_at(start)
            if record.before.sha256 in digests:
                done.add(start)
                digests.add(record.after.sha256)
        if first:
            self._now[real] = digest
            self._moved.has_become(path, first.before)
            return Tagged(path, Outcome.WRITTEN), done, passed
        return Tagged(path, Outcome.SAME if done else Outcome.CHANGED), done, passed


def _here(text: str) -> list[str]:
    return [path for path in paths_from_text(text) if os.path.isfile(path)]


def _facts(status: os.stat_result) -> tuple[int | None, int | None]:
    return status.st_size, int64(status.st_mtime_ns)


def _has(files: list[Tagged], outcome: Outcome) -> bool:
    return any(tagged.outcome is outcome for tagged in files)


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
