"""Walks folders lazily and in order, links included, without going in circles."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from ..audio.formats import is_audio_name
from ..audio.litter import is_left_out
from .patterns import Pattern, States
from .source import real_path_of

EVERYTHING = Pattern(["**"])
"""Matches every file below a folder."""


class _Ancestor(NamedTuple):
    device: int
    inode: int
    path: str


class _Folder(NamedTuple):
    path: str
    real: str
    states: States
    above: tuple[_Ancestor, ...]


# 0 for a file, 1 for a folder, 2 for a link to a folder, which is the order of a folder's entries; the name;
# whether it is a link. (A named tuple takes three times as long to make, and there is one for each file.)
_Entry = tuple[int, str, bool]


class Walk:
    """One walk over folders, which searches each real folder once, whatever links lead there.

    A link is not followed into what the walk searches anyway, so one that is added later changes nothing.
    Equal inodes alone mean nothing: below one virtiofs, 9p or overlay export all mounts may share one.

    Attributes:
        folders_left_out: those among what ``skip`` was called for.

    Args:
        skip: called for each file that is left out, with its path where its suffix alone is why, else with
            an empty text; and once for each such folder.
        check: called for each entry; what it raises ends the walk.
        hidden: take names with a dot in front too.
        unlisted: called for each folder that cannot be listed, with its path and why.
    """

    def __init__(
        self,
        skip: Callable[[str], None],
        check: Callable[[], None],
        hidden: bool,
        unlisted: Callable[[str, str], None] = lambda folder, reason: None,
    ) -> None:
        self._skip, self._check, self._hidden, self._unlisted = skip, check, hidden, unlisted
        self.folders_left_out = 0
        # Where searches for all that is below began: state, real path.
        self._roots: set[tuple[int, str]] = set()
        self._real_path = lru_cache(1_000)(real_path_of)

    def audio(self, folder: str, pattern: Pattern = EVERYTHING) -> Iterator[str]:
        """The audio files below a folder that a pattern matches, and the folders that cannot be listed.

        In each folder files come first, then what is in its folders, then what is behind its links, by name.
        """
        real = real_path_of(folder)
        start = {state for state in pattern.start if pattern.parts[state] != "**" or self._claim(state, real)}
        waiting = [_Folder(folder, real, pattern.with_skipped(start), ())]
        while waiting:
            item = self._without_loops(waiting.pop(), pattern)
            if not item.states:
                continue
            prefix = os.path.join(item.path, "") if item.path else ""
            folders: list[_Folder] = []
            everything = pattern.searches(item.states)
            entries, error = self._entries(item, prefix, pattern)
            for kind, name, is_link in entries:
                self._check()
                if kind:
                    folders += self._below(item, prefix + name, name, is_link, pattern)
                elif self._takes(item.states, prefix, name, pattern) and not (
                    is_link and everything and self._is_met(item, prefix + name, pattern)
                ):
                    yield prefix + name
            if error:  # its songs must not be missing silently
                if not isinstance(error, FileNotFoundError):
                    self._unlisted(item.path, error.strerror or str(error))
                yield item.path
            waiting += reversed(folders)

    def _takes(self, states: States, prefix: str, name: str, pattern: Pattern) -> bool:
        left_out = name.startswith(".") and is_left_out(name, self._hidden)  # other litter is folders
        if not pattern.takes(states, name, left_out):
            if left_out and pattern.takes(states, name, False):
                self._skip("")
            return False
        if is_audio_name(name):
            return True
        self._skip(prefix + name)
        return False

    def _is_met(self, item: _Folder, link: str, pattern: Pattern) -> bool:
        """Whether the walk comes to what a link to a file names, so that the link itself is not needed."""
        try:
            folder, name = os.path.split(os.path.join(item.real, os.readlink(link)))
        except OSError:  # removed since it was listed
            return False
        return (
            is_audio_name(name)
            and not is_left_out(name, self._hidden)
            and self._is_searched(len(pattern.parts) - 1, self._real_path(folder))
            and os.path.isfile(link)
        )

    def _below(
        self, item: _Folder, path: str, name: str, is_link: bool, pattern: Pattern
    ) -> Iterator[_Folder]:
        """A folder in a folder with the states that go on there; nothing if there are none."""
        left_out = is_left_out(name, self._hidden)
        stay, on = pattern.below(item.states, name, left_out)
        if left_out and not on and any(pattern.below(item.states, name, False)):
            self._skip("")
            self.folders_left_out += 1
        if not stay and not on:
            return
        moved = is_link or name == os.pardir
        real = real_path_of(path) if moved else os.path.join(item.real, name)
        kept = {state for state in on if pattern.parts[state] != "**" or self._claim(state, real)}
        if moved:
            kept |= {state for state in stay if self._claim(state, real)}
        else:
            kept |= {state for state in stay if (state, real) not in self._roots}
        if kept:
            yield _Folder(path, real, pattern.with_skipped(kept), item.above)

    def _claim(self, state: int, real: str) -> bool:
        """Begins a search for all that is below a folder, unless another one comes through it."""
        if self._is_searched(state, real):
            return False
        self._roots.add((state, real))
        return True

    def _is_searched(self, state: int, real: str) -> bool:
        while (state, real) not in self._roots:
            folder, name = os.path.split(real)
            if folder == real or is_left_out(name, self._hidden):
                return False
            real = folder
        return True

    def _without_loops(self, item: _Folder, pattern: Pattern) -> _Folder:
        """Drops the search for all that is below where the folder is its own ancestor, and remembers it.

        Links cannot bring that about, but bind mounts and linked folders can. Such a folder has the names of
        its ancestor too; of a mount whose root has the inode of a mount's root above it, that is not so.
        """
        searching = {state for state in item.states if pattern.parts[state] == "**"}
        if not searching:
            return item
        try:
            status = os.stat(item.path or os.curdir)
            here = _Ancestor(status.st_dev, status.st_ino, item.path)
            is_loop = any(here[:2] == above[:2] and _names(here) == _names(above) for above in item.above)
        except OSError:  # listing it says why
            return item
        if is_loop:
            return item._replace(states=item.states - pattern.with_skipped(searching))
        return item._replace(above=(*item.above, here))

    def _entries(self, item: _Folder, prefix: str, pattern: Pattern) -> tuple[list[_Entry], OSError | None]:
        """What is in a folder, in order, and why not all of it could be listed."""
        parts = {pattern.parts[state] for state in item.states if pattern.literal[state]}
        if len(parts) == len(item.states):  # no wildcard: nothing to list, and ".." is in no list
            there = [name for name in sorted(parts) if os.path.lexists(prefix + name)]
            return [
                _entry(name, os.path.isdir(prefix + name), os.path.islink(prefix + name)) for name in there
            ], None
        entries: list[_Entry] = []
        try:
            with os.scandir(item.path or os.curdir) as listing:
                for entry in listing:
                    self._check()
                    is_link = False
                    try:
                        is_link = entry.is_symlink()
                        is_folder = entry.is_dir()
                    except OSError as error:
                        # A link to itself is no folder. What cannot be looked at, as on a disk that fails, is
                        # a song or a folder by its name: opening or listing it says why.
                        is_folder = error.errno != errno.ELOOP and not is_audio_name(entry.name)
                    entries.append(_entry(entry.name, is_folder, is_link))
        except OSError as error:
            return sorted(entries), error
        return sorted(entries), None


def _entry(name: str, is_folder: bool, is_link: bool) -> _Entry:
    return (0 if not is_folder else 2 if is_link else 1), name, is_link


def _names(folder: _Ancestor) -> set[str]:
    return set(os.listdir(folder.path or os.curdir))
