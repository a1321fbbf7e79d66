"""Gives tagged files the bytes that they had before.

A record says which bytes a file had before it got others, so a file is known by its bytes, wherever it is
today. Each file goes back from record to record while it has the bytes of after of one, whatever becomes of
others. What is told, and which records are kept, then follows from the records of each place.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

from ...catalogue.reconcile import paths_from_text
from ...catalogue.shard_facts import store_facts
from ...catalogue.shards import shards_in
from ...catalogue.source import int64
from ...errors import MerError
from ...files import Disk
from ...text.escape import text_from_path
from ..songs import songs_in
from .candidates import Candidate, Candidates
from .differences import bytes_from_pieces
from .kinds import NoPlaceError
from .moods import is_ours, read_moods, require_mutagen
from .replacement import replacement
from .tag_run import Outcome, Tagged, digest_of, reason_of
from .undo_file import Facts, Record, UndoFile
from .writing import writing

_ELSEWHERE = "restored elsewhere; if it was moved there, mer-label --forget its old folder"


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
            _store_rows(run.files, disk)
            undo.keep(run.left, run.undone & run.left)


class _Undo:
    """Undoes all records; without ``disk`` it writes nothing, and says the same.

    Attributes:
        files: that may have been tagged.
        left: where the records begin that are of use still: all, until every file was looked at.
        undone: where those begin that were undone in a file, here or elsewhere.
    """

    def __init__(self, folder: Path, undo: UndoFile, disk: Disk | None) -> None:
        self._undo, self._disk = undo, disk
        self._records = {start: replace(record, pieces=[]) for start, record in undo.records()}
        self._of: dict[str, list[int]] = defaultdict(list)  # records by place, the oldest first
        self._from: dict[str, list[int]] = defaultdict(list)  # and by the digest of after
        for start, record in self._records.items():
            self._of[record.path].append(start)
            self._from[record.after.sha256].append(start)
        after = {record.after.size for record in self._records.values()}
        self._sizes = after | {record.before.size for record in self._records.values()}
        self._candidates = Candidates(folder, self._of, after)
        self.files = self._candidates.files
        self.left = {*self._records}
        self.undone: set[int] = set()
        self._failed: set[int] = set()  # records that could not be undone
        self._unread: set[int | None] = set()  # sizes of files that could not be read

    def run(self, is_stopped: Callable[[], bool]) -> Iterator[Tagged]:
        """What becomes of each file that has bytes of a record, and then of the rest of the records."""
        for file in self.files:
            if is_stopped():
                return
            failed = self._undo_file(file)
            if failed or (file.undone and not any(map(self._rest, file.places))):
                file.is_told = True
                yield failed or Tagged(file.path, Outcome.WRITTEN)
        left, told = set(), []
        for text in self._of:
            told += self._told(text, left)
        self._keep(left)
        yield from told

    def _undo_file(self, file: Candidate) -> Tagged | None:
        """Undoes the changes of a file from the last one to the first; what is to be said if that fails."""
        steps: list[int] = []
        try:
            if file.size in self._sizes:
                with open(file.real, "rb") as opened:
                    status, file.digest = os.fstat(opened.fileno()), digest_of(opened)
                now = Facts(status.st_size, status.st_mtime_ns, file.digest)
                steps = self._steps(file, now)
                file.known |= {_row_facts(now)} if steps else set()
                is_same = bool(steps) and self._records[steps[-1]].before == now
                while steps:
                    if self._disk is not None and not is_same:
                        _restore(Path(file.real), self._undo.record_at(steps[0]), self._disk)
                    file.digest = self._records[steps[0]].before.sha256
                    file.undone.add(steps.pop(0))
        except (MerError, OSError) as error:
            self._failed.update(steps or (at for text in file.places for at in self._of[text]))
            self._unread.add(file.size)
            return Tagged(file.path, Outcome.FAILED, reason=reason_of(error))
        finally:
            self.undone |= file.undone
        done = file.undone.union(*(self._done(text, file) for text in file.places))
        file.known |= {_row_facts(self._records[start].after) for start in done}
        return None

    def _steps(self, file: Candidate, now: Facts) -> list[int]:
        """The records that lead from a file's bytes to the first that it had, the newest first.

        Of several that are of the same bytes, as of equal files, the likest is taken: of the file's time, its
        place, its name, and then the newest.
        """
        steps: list[int] = []
        states, name = [now], text_from_path(os.path.basename(file.real))

        def likeness(start: int) -> tuple[bool, bool, bool, int]:
            record = self._records[start]
            has_name = os.path.basename(record.path) == name
            return record.after.mtime_ns == states[-1].mtime_ns, record.path in file.places, has_name, start

        while older := [at for at in self._from.get(states[-1].sha256, ()) if not steps or at < steps[-1]]:
            steps.append(max(older, key=likeness))
            states.append(self._records[steps[-1]].before)
        # Bytes that came again, as when a mood goes, may be those of an equal file that has no such past.
        first = [each.sha256 for each in states].index(states[-1].sha256)
        past = [self._records[at] for at in steps[first:]]
        is_own = past and past[0].after == states[first] and not all(record.found for record in past)
        return steps if is_own else steps[:first]

    def _done(self, text: str, file: Candidate) -> set[int]:
        """The records of a place that a file in it is as before: also of a change that a kill came before."""
        done, digests = set(), {file.digest}
        for start in self._of[text]:
            record = self._records[start]
            if start in file.undone or record.before.sha256 in digests:
                done.add(start)
                digests.add(record.after.sha256)
        return done

    def _rest(self, text: str) -> set[int]:
        """The records of a place that no file in it is as before."""
        return {*self._of[text]}.difference(*(self._done(text, at) for at in self._candidates.at[text]))

    def _told(self, text: str, left: set[int]) -> Iterator[Tagged]:
        """What is to be said of a place, and was not; ``left`` gets those of its records that are kept."""
        files, rest = self._candidates.at[text], self._rest(text) - self._failed
        own = [file for file in files if self._done(text, file)]
        others = [file for file in files if not (file.is_told or file.undone or file in own)]
        is_lost = any(not (start in self.undone or self._records[start].found) for start in rest)
        is_earlier = is_lost and len(own) == len([*paths_from_text(text)])  # no file is missing here
        for file in files:
            if not file.is_told and file not in others:
                file.is_told = True
                outcome = Outcome.WRITTEN if file.undone else Outcome.SAME
                yield Tagged(file.path, Outcome.EARLIER if is_earlier else outcome)
        # Where the file was found elsewhere, what is here may be another; or it was a copy that was found.
        changed = [file.path for file in others if is_lost or _is_tagged(file.path)]
        has_row = self._candidates.has_row(text)
        if is_lost or changed or has_row:
            left |= rest
        if changed:
            yield Tagged(changed[0], Outcome.CHANGED)
        elif is_lost and not is_earlier:
            yield Tagged(text, Outcome.MISSING)
        elif rest - self.undone and len(others) == len(files):
            is_away = has_row and not files
            yield Tagged(text, Outcome.MISSING, reason=_ELSEWHERE) if is_away else Tagged(text, Outcome.SAME)

    def _keep(self, left: set[int]) -> None:
        """Keeps records: also of what failed, and those to which one that is kept leads on."""
        self.left, digests = left | self._failed, set()
        for start, record in reversed(self._records.items()):
            if record.after.size in self._unread or record.after.sha256 in digests:
                self.left.add(start)
            if start in self.left:
                digests.add(record.before.sha256)
        for text in self._of:
            self.undone |= {*self._of[text]} - self._rest(text) - self._failed


def _row_facts(facts: Facts) -> tuple[int | None, int | None]:
    return facts.size, int64(facts.mtime_ns)


def _is_tagged(path: str) -> bool:
    """Whether a file that has changed may have its mood still, and is not another with that name now."""
    try:
        require_mutagen()
        return is_ours(read_moods(path))
    except NoPlaceError:
        return False
    except (MerError, OSError):
        return True


def _restore(path: Path, record: Record, disk: Disk) -> None:
    """Gives a file the bytes of before a change.

    Raises:
        MerError, OSError: it stays as it was.
    """
    digest = hashlib.sha256()
    with replacement(path, record.before.mtime_ns, disk) as (out, _), path.open("rb") as now:
        if digest_of(now) != record.after.sha256:  # pieces alone would not tell a change elsewhere
            raise MerError("it changed while it was read")
        try:
            for part in bytes_from_pieces(record.pieces, now):
                digest.update(part)
                out.write(part)
        except (ValueError, zlib.error):
            raise MerError("its record is damaged") from None
        if digest.hexdigest() != record.before.sha256:
            raise MerError("its record is damaged: it would get other bytes than it had")


def _store_rows(files: list[Candidate], disk: Disk) -> None:
    """Puts the files' sizes and times into the rows that say those of after the change."""
    facts: dict[Path, dict[int, os.stat_result]] = defaultdict(dict)
    for file in files:
        for song in file.rows:
            if (song.size_bytes, song.mtime_ns) in file.known:
                facts[song.shard][song.number] = os.stat(file.real)
    for shard, numbers in facts.items():
        store_facts(shard, numbers, disk)
