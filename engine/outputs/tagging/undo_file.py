"""The file that says how each tagged file gets its bytes of before; it lies with the labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...catalogue.reconcile import paths_from_text
from ...catalogue.run_info import UNDO_FILE as NAME
from ...catalogue.source import labels_lie_alike, real_path_of
from ...errors import MerError, os_errors_say
from ...files import Disk, keep_private
from ...strict_json import LONGEST, json_from_text
from ...text.escape import text_from_path
from .differences import Piece

_FORMAT, _FORMAT_FOUND = 1, 2  # so that versions which know no "found" do not call the line damaged


@dataclass(frozen=True)
class Facts:
    """What a file was or is: bytes, time in nanoseconds since 1970, SHA-256 of all bytes."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """One change of one file. ``path`` is its real path as rows hold it; ``pieces`` are of the file after.

    ``found``: it was undone elsewhere, in what may be a copy.
    """

    path: str
    before: Facts
    after: Facts
    pieces: list[Piece]
    found: bool = False


class UndoFile:
    """The records of a folder of labels, the oldest first. Whoever writes holds the folder's lock.

    A record is on the disk before the change that it is of. One that was cut off by a kill is of none.
    """

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.path, self._disk = folder / NAME, disk or Disk()
        self._is_copied_from = lru_cache(1 << 12)(lambda place: labels_lie_alike(self.path, place))

    def records(self) -> Iterator[tuple[int, Record]]:
        """Each record and where it begins. Where labels and songs were copied together, it is of the copy.

        Raises:
            MerError: the file cannot be read, or a line is no record.
        """
        try:
            with self.path.open("rb") as file:
                start = 0
                for number, line in enumerate(file, 1):
                    if line.endswith(b"\n"):
                        record = self._record(line, number)
                        yield start, replace(record, path=self._here(record.path))
                    start += len(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from None

    def record_at(self, start: int) -> Record:
        """The record that begins there, as ``records`` says it."""
        with self.path.open("rb") as file:
            file.seek(start)
            return self._record(file.readline())

    def append(self, record: Record) -> None:
        """Adds a record; it is on the disk when this returns.

        Raises:
            MerError: it cannot be written, or would be too long to be read.
        """
        line = _line(record)
        if len(line) > LONGEST:
            raise MerError("too much of it would change to be undone")
        with os_errors_say(f"{self.path} cannot be written"):
            with self.path.open("ab") as file:
                keep_private(file.fileno())  # it holds parts of files, whoever may read those
                file.truncate(self._whole_lines())
                file.write(line)
                self._disk.sync(file)
            self._disk.sync_folder(self.path.parent)

    def keep(self, starts: set[int], found: Set[int] = frozenset()) -> None:
        """Removes all records but those that begin there; the file goes with the last one.

        Args:
            found: those of them that are to say that they are.

        Raises:
            MerError: it cannot be written.
        """
        with os_errors_say(f"{self.path} cannot be written"):
            if not starts:
                self.path.unlink(missing_ok=True)
                return
            with self._disk.whole(self.path) as out:
                keep_private(out.fileno())
                with self.path.open("rb") as file:  # closed before it is replaced, which some disks want
                    for start in sorted(starts):
                        file.seek(start)
                        line = file.readline()
                        marked = _line(replace(self._record(line), found=True)) if start in found else line
                        out.write(marked if len(marked) <= LONGEST else line)

    def _here(self, text: str) -> str:
        """The path of a record, or that of the file's copy, which lies below the working folder as it does
        below the folder that it was copied from with these labels.
        """
        for path in paths_from_text(text):
            folders = [str(folder) for folder in reversed(Path(path).parents)]
            if firsts := [*filter(self._is_copied_from, folders)]:
                here = real_path_of(".")
                copies = [os.path.join(here, os.path.relpath(path, first)) for first in firsts]
                copy = max(copies, key=os.path.lexists)
                # A folder below may have labels of its own, and its songs a record here.
                if here not in folders or os.path.lexists(copy):
                    return text_from_path(real_path_of(copy))
        return text

    def _whole_lines(self) -> int:
        """Bytes up to the end of the last whole line."""
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - (1 << 16))
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    return start + newline + 1
                end = start
        return 0

    def _record(self, line: bytes, number: int | None = None) -> Record:
        try:
            fields = json_from_text(line)
            if fields.pop("format") not in (_FORMAT, _FORMAT_FOUND):
                raise self._error("was written by another version of merkit: undo with that one")
            before, after = (Facts(**fields.pop(name)) for name in ("before", "after"))
            record = Record(before=before, after=after, **fields)
            if not (isinstance(record.path, str) and all(map(_is_piece, record.pieces))):
                raise ValueError("a value has another type")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            where = "" if number is None else f" in line {number}"
            helps = "Move that line to a file elsewhere: then all can be undone but the one that it is of"
            raise self._error(f"is damaged{where}: {error}. {helps}") from None
        return record

    def _error(self, reason: str) -> MerError:
        return MerError(f"{self.path} {reason}")


def _line(record: Record) -> bytes:
    fields = {"format": _FORMAT_FOUND if record.found else _FORMAT, **asdict(record)}
    if not record.found:
        del fields["found"]
    return json.dumps(fields).encode() + b"\n"


def _is_piece(piece: Any) -> bool:
    if isinstance(piece, str):
        return True
    return isinstance(piece, list) and len(piece) == 2 and all(type(n) is int and n >= 0 for n in piece)
