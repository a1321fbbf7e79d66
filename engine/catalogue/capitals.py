"""Names as folders list them: some disks find a name in any capitals or normal form."""

from __future__ import annotations

import os
import stat
import string
import unicodedata
from functools import lru_cache

_FOLDERS = 1 << 16  # that are remembered
_MOST_NAMES = 100_000  # of a folder, kept for names in other capitals
_MOST_FOLDERS = 16  # of which they are kept
_LETTERS, _CAPITALS = string.ascii_lowercase, string.ascii_uppercase
# A disk may find other letters than these only as they stand.
_SWAPPED = str.maketrans(_LETTERS + _CAPITALS, _CAPITALS + _LETTERS)
# Combining classes of letters, and of viramas: most names of India have these, and no composed letter does.
_NO_MARKS = (0, 9)


class Spelling:
    """Paths as folders list their names; remembers folders, so use it for one run only."""

    def __init__(self) -> None:
        self._finds_others: dict[tuple[str, bool], bool] = {}  # by folder, and whether in another form
        self._names = lru_cache(_MOST_FOLDERS)(
            lambda folder: names_by_fold(folder, os.stat(folder).st_mtime_ns)
        )

    def of(self, path: str) -> str:
        """A real path with each name as its folder lists it, as far as it is there."""
        drive, rest = os.path.splitdrive(path)
        place = drive + os.sep
        for name in filter(None, rest.split(os.sep)):
            place = self.in_folder(place, name)
        return place

    def in_folder(self, folder: str, name: str) -> str:
        """The path of a name in a folder, as the folder lists it; ``folder`` is one that ``of`` gave.

        Of a folder of more than 100,000 names, or that has several such, it stays as it is.
        """
        path = os.path.join(folder, name)
        try:
            if not self._may_find(folder, name, path):
                return path
            listed = self._names(folder).get(folded(name))
            if listed is None or listed == name:
                return path
            other = os.path.join(folder, listed)
            return other if _is_same(os.lstat(other), os.lstat(path)) else path
        except (OSError, ValueError):
            return path

    def _may_find(self, folder: str, name: str, path: str) -> bool:
        """Whether a folder may find a name that it lists in other capitals, or in another normal form."""
        has_capitals, has_forms = name.swapcase() != name, not name.isascii() and _has_forms(name)
        return (has_capitals and self._finds(folder, name, path, name.translate(_SWAPPED), False)) or (
            has_forms and self._finds(folder, name, path, _other_form(name), True)
        )

    def _finds(self, folder: str, name: str, path: str, other: str, is_form: bool) -> bool:
        """Whether a folder finds a name as this other one; one look tells of all names."""
        if (known := self._finds_others.get((folder, is_form))) is not None:
            return known
        # What mounts a share once it is looked at would mount it again, by its other name.
        status = os.lstat(path)
        is_mount = stat.S_ISDIR(status.st_mode) and status.st_dev != os.lstat(folder).st_dev
        if is_mount or other == name:
            return True
        if len(self._finds_others) >= _FOLDERS:
            self._finds_others.clear()
        finds = self._finds_others[folder, is_form] = os.path.lexists(os.path.join(folder, other))
        return finds


def _has_forms(name: str) -> bool:
    """Whether Unicode has other characters for a name; some letters with a mark no form composes."""
    return _other_form(name) != name or any(unicodedata.combining(each) not in _NO_MARKS for each in name)


def _other_form(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name)
    return decomposed if decomposed != name else unicodedata.normalize("NFC", name)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether a name that a folder lists, and one that it finds and does not list, are of one file.

    exFAT by FUSE gives a file another inode with each spelling of its name.
    """
    facts, others = (
        (each.st_dev, stat.S_IFMT(each.st_mode), each.st_size, each.st_mtime_ns) for each in (one, other)
    )
    return os.path.samestat(one, other) or facts == others


@lru_cache(_MOST_FOLDERS)  # listed once, not for each name: the disk may be slow
def names_by_fold(folder: str, mtime_ns: int) -> dict[str, str | None]:
    """The names in a folder by ``folded``; None where there are several. Empty for a folder of too many."""
    names: dict[str, str | None] = {}
    with os.scandir(folder or os.curdir) as entries:
        for number, entry in enumerate(entries):
            if number == _MOST_NAMES:
                return {}
            name = folded(entry.name)
            names[name] = None if name in names else entry.name
    return names


def folded(name: str) -> str:
    """What names have in common that differ in capitals or in their normal form."""
    decomposed = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFD", decomposed)


def is_same_way(one: str, other: str) -> bool:
    """Whether two real paths are of one place, where the disk finds names in any capitals."""
    if one == other:
        return True
    spelling = Spelling()
    return folded(one) == folded(other) and spelling.of(one) == spelling.of(other)
