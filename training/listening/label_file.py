"""The CSV of labels that grows by a row a key, each on the disk before the next song is shown."""

from __future__ import annotations

import csv
import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...engine.audio.readable import opened
from ...engine.data.cleaning import cleaned
from ...engine.data.labelled_audio import path_from_cell
from ...engine.errors import MerError, os_errors_say
from ...engine.files import sync_to_disk, write_whole
from ...engine.text.escape import csv_line, storable, text_from_csv

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

COLUMNS = ("path", "label", "artist")
NOT_UTF8 = "its name is not UTF-8: rename it"
_MOST_BYTES = 1 << 26
_BOM = b"\xef\xbb\xbf"
_MODE = os.O_RDWR | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would wait


def path_cell(path: str, folder: Path) -> str:
    """How a file's absolute path stands in a CSV of this folder: relative where the file lies below it.

    Raises:
        MerError: it cannot stand in a file of UTF-8.
    """
    inside = os.path.realpath(folder)
    cell = os.path.relpath(path, inside) if path.startswith(inside.rstrip(os.sep) + os.sep) else path
    if storable(cell) != cell:
        raise MerError(f"{path}: {NOT_UTF8}")
    return cell


def labelled_paths(file: Path) -> frozenset[str]:
    """The absolute paths of the files that have a label in such a CSV.

    Raises:
        MerError: it cannot be read, or is none.
    """
    return frozenset(row.path for row in _read(file, "--labelled")[1])


@dataclass(frozen=True)
class LabelRow:
    """A row: the file's absolute path, with its links followed, the label, and the row's bytes in the CSV."""

    path: str
    label: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


class LabelFile:
    """A CSV ``path,label,artist`` that is added to in place, and read again when others have changed it.

    The file is held by a lock until ``close``: a second process is refused. Columns of one's own stay, and
    are empty in rows that are added here.

    A last row whose writing was interrupted is taken off at the start; ``cut`` is its text, else "".

    Args:
        labels: what rows are given here: a part of one at the end of the file was not written to its end.

    Raises:
        MerError: another process holds the file, it cannot be written, or it is no such CSV.
    """

    def __init__(self, file: Path, labels: Sequence[str] = ()) -> None:
        self.file, self.cut = file, ""
        self._rows: tuple[LabelRow, ...] = ()
        self._columns: tuple[str, ...] = COLUMNS
        self._seen: tuple[int, ...] = ()  # the file's state with these rows
        with os_errors_say(f"{file} cannot be written"):
            self._held = os.open(file, _MODE | os.O_CREAT, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(self._held).st_mode):
                raise MerError(f"{file} is not a regular file")
            if fcntl:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(self._held).st_size:
                self._append(csv_line(COLUMNS))
            self._mend(labels)
            self.rows()
        except BlockingIOError:
            self.close()
            raise MerError(f"{file} is in use by another mer-train listen: end that one first") from None
        except BaseException:
            self.close()
            raise

    def rows(self) -> tuple[LabelRow, ...]:
        """All rows, as the file has them now.

        Raises:
            MerError: it cannot be read, or is not what this class writes any more.
        """
        self._follow()
        state = self._state()
        if state != self._seen:
            self._columns, self._rows = _read(self.file)
            self._seen = state
        return self._rows

    def add(self, path: str, label: str, artist: str = "") -> None:
        """Adds a row; it is on the disk when this returns.

        Raises:
            MerError: as ``rows``; or it cannot be written, and the file is as it was.
        """
        rows, size = self.rows(), self._seen[1]
        cells = {"path": path_cell(path, self.file.parent), "label": label, "artist": storable(artist)}
        size += self._append(csv_line(cells.get(column, "") for column in self._columns))
        self._know((*rows, LabelRow(_real_path(cells["path"], self.file), cleaned(label))), size)

    def take_back(self, path: str) -> None:
        """Takes the last row that has a label off the file; it must be the one of ``path``.

        Raises:
            MerError: as ``rows``; or another row is the last one.
        """
        self.rows()
        with os_errors_say(f"{self.file} cannot be written"):
            content = os.pread(self._held, _MOST_BYTES, 0)
            _, rows = _parsed(self.file, content)
            if not rows or rows[-1].path != path:
                raise MerError(f"{self.file} was changed by another program: take the row out there")
            start, rest = rows[-1].start, content[rows[-1].end :]
            if rest:  # rows whose label was taken out, blank lines
                write_whole(self.file, content[:start] + rest)
                self._follow()
            else:
                os.ftruncate(self._held, start)
                sync_to_disk(self._held)
        self._know(rows[:-1], start + len(rest))

    def close(self) -> None:
        """Lets the file go; every row is in it."""
        os.close(self._held)

    def _state(self) -> tuple[int, ...]:
        status = os.fstat(self._held)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _know(self, rows: tuple[LabelRow, ...], size: int) -> None:
        """Spares reading the file again after a change of one's own; in another size it has others too."""
        state = self._state()
        self._rows, self._seen = rows, state if state[1] == size else ()

    def _mend(self, labels: Iterable[str]) -> None:
        """Takes off a last line that was cut short: by a full disk, or with the machine's power."""
        content = os.pread(self._held, _MOST_BYTES, 0)
        if content.endswith((b"\n", b"\r")) or len(content) == _MOST_BYTES:
            return
        start, end, cells = 0, 0, []
        try:
            for record in _records(content):
                start, end, cells = record
        except (csv.Error, UnicodeDecodeError):  # in a quoted cell, or within a character
            start, lines = end, content[end:].splitlines(keepends=True)
            if any(b"," in line for line in lines[1:]) or len(content) - start > csv.field_size_limit():
                return  # there may be rows, behind a quote that is not closed
            cells = next(csv.reader(line.decode(errors="surrogateescape") for line in lines), [])
        if start <= len(_BOM):
            return
        columns, rows = _parsed(self.file, content[:start])  # refused where it is not ours to mend
        if self._is_torn(cells, columns, {*labels, *(row.label for row in rows)}):
            self.cut = content[start:].decode(errors="surrogateescape")
            os.ftruncate(self._held, start)
            sync_to_disk(self._held)

    def _is_torn(self, cells: Sequence[str], columns: Sequence[str], labels: Collection[str]) -> bool:
        """Whether a last row without a line end was being written; editors leave whole ones so, too.

        What it lacks then is the label, a part of it, or of the path where that comes behind it.
        """
        cell = dict(zip(columns, cells, strict=False))
        label, is_short = cell.get("label", "").strip(), len(cells) < len(columns)
        if not label or "path" not in cell:
            return is_short
        last = columns[len(cells) - 1] if len(cells) <= len(columns) else ""
        if last == "path":
            return is_short and not os.path.isfile(_real_path(text_from_csv(cell["path"]), self.file))
        written = label.encode(errors="surrogateescape")  # may end within a character
        is_part = any(each.encode().startswith(written) for each in labels)
        return last == "label" and label not in labels and is_part

    def _follow(self) -> None:
        """Opens the file of this name anew where another program has put a new one in its place."""
        try:
            if os.path.samestat(os.fstat(self._held), os.stat(self.file)):
                return
            descriptor = os.open(self.file, _MODE)
        except OSError as error:
            raise MerError(f"{self.file} is not there any more ({error.strerror}): put it back") from None
        if fcntl:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise MerError(f"{self.file} is in use by another program: close it there") from None
        os.dup2(descriptor, self._held)
        os.close(descriptor)

    def _append(self, line: str) -> int:
        """Returns how many bytes the file has got."""
        before = os.fstat(self._held).st_size
        data = line.encode()
        if before and os.pread(self._held, 1, before - 1) != b"\n":
            data = b"\n" + data  # an editor that leaves the last line open
        try:
            if os.write(self._held, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync_to_disk(self._held)
        except OSError as error:
            os.ftruncate(self._held, before)
            raise MerError(f"{self.file} cannot be written: {error.strerror}") from None
        return len(data)


def _read(file: Path, option: str = "-o") -> tuple[tuple[str, ...], tuple[LabelRow, ...]]:
    with opened(file) as binary:
        content = binary.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise _foreign(file, "it is larger than 64 MiB")
    return _parsed(file, content, option)


def _parsed(file: Path, content: bytes, option: str = "-o") -> tuple[tuple[str, ...], tuple[LabelRow, ...]]:
    """The columns and the rows; a row without a label is none yet. ``option`` is what names the file."""
    try:
        records = list(_records(content))
    except UnicodeDecodeError:
        raise _foreign(file, "it is not UTF-8") from None
    except csv.Error as error:
        raise _foreign(file, str(error)) from None
    columns = tuple(name.strip().casefold() for name in records[0][2]) if records else ()
    is_ours = {"path", "label"} <= set(columns)
    if not is_ours and len(columns) > 1:  # one may be some, with other separators
        said = "has no columns path and label in its first line"
        raise MerError(f"{file} {said}: name another file with {option}")
    if not is_ours or len(set(columns)) < len(columns):
        raise _foreign(file, "its first line must name the columns path and label, once each")
    rows = []
    for number, (start, end, cells) in enumerate(records[1:], start=2):
        cell = dict(zip(columns, map(text_from_csv, cells), strict=False))
        if len(cells) > len(columns):
            raise _foreign(file, f"row {number} has more cells than the first line")
        if cell.get("path") and cell.get("label", "").strip():
            rows.append(LabelRow(_real_path(cell["path"], file), cleaned(cell["label"]), start, end))
    return columns, tuple(rows)


def _real_path(cell: str, file: Path) -> str:
    """The file of a row, found as ``mer-train --data`` finds it; as it is written where there is none."""
    with suppress(MerError):  # a URL
        if os.path.lexists(path := path_from_cell(cell, file)):
            return os.path.realpath(path)
    return os.path.realpath(file.parent / cell)


def _foreign(file: Path, reason: str) -> MerError:
    return MerError(f"{file} cannot be added to ({reason}): save it as CSV in UTF-8, with commas")


def _records(content: bytes) -> Iterator[tuple[int, int, list[str]]]:
    """Each record: its first byte, the first one behind it, and its cells; some hold line ends.

    Raises:
        UnicodeDecodeError, csv.Error: in the record behind the last one that was given.
    """
    start = end = len(_BOM) if content.startswith(_BOM) else 0

    def lines() -> Iterator[str]:
        nonlocal end
        for line in content[end:].splitlines(keepends=True):  # of bytes: at LF, CR and CR LF alone
            end += len(line)
            yield line.decode()

    for cells in csv.reader(lines(), strict=True):
        yield start, end, cells
        start = end
