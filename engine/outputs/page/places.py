"""Where the page finds a song: the way from the page's folder to the file, for people and as a link."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...audio.formats import is_remote
from ...catalogue.reconcile import Looks, RealPaths
from ...text.escape import for_terminal, text_from_path

_FOLDERS = 1 << 16


@dataclass(frozen=True)
class Place:
    """A song's folder, seen from the page, and the name of its file, both as people read them.

    ``is_link`` says whether a browser finds the file by these two. It does not where the file is remote, on
    another drive, or has a name that is not UTF-8 or holds controls.
    """

    folder: str
    name: str
    is_link: bool


class Places:
    """Looks for the files of rows.

    Args:
        page: the page's file; links are relative to its folder.
    """

    def __init__(self, page: Path) -> None:
        self._real_paths = RealPaths()
        self._here = text_from_path(os.path.dirname(self._real_paths.of(str(page))))
        self._as_named = text_from_path(os.path.dirname(os.path.abspath(page)))
        self._looks = Looks()
        self._seen_from_here = lru_cache(_FOLDERS)(self._relative)

    def of(self, path: str, real_path: str | None) -> tuple[Place, bool]:
        """The place of a row's song, and whether its file is there. What is remote counts as there."""
        if is_remote(path):
            folder, _, name = path.partition("?")[0].rpartition("/")  # without what signs the URL
            return Place(for_terminal(folder), for_terminal(name), False), True
        real_path = real_path or os.path.abspath(path)
        is_there = self._looks.is_file(real_path)
        if not is_there and (is_there := self._looks.is_file(path)):
            real_path = self._real_paths.of(path)
        folder, name = os.path.split(real_path)
        seen = self._seen_from_here(folder)
        if is_there and (below := self._below_as_named(path, real_path)) is not None:
            seen, name = os.path.split(below)
        shown = Place(for_terminal(folder if seen is None else seen), for_terminal(name), False)
        is_link = is_there and (shown.folder, shown.name) == (seen, name) and os.path.isfile(real_path)
        return Place(shown.folder, shown.name, is_link), is_there

    def is_gone(self, path: str, real_path: str | None) -> bool:
        """Whether a row's file is gone while its folder is there."""
        return self._looks.is_gone(real_path or _absolute(path))

    def _below_as_named(self, path: str, real_path: str) -> str | None:
        """The way to that file below the page's folder by the names that were typed, whatever these link to.

        Web servers serve that way alone, and browsers follow no link by themselves.
        """
        named, folder = _absolute(path), os.path.join(self._as_named, "")
        if not named.startswith(folder):
            return None
        # A folder is resolved once, and a file by itself only where it is a link: pages have 100,000 songs.
        real = self._real_paths.of(real_path, is_link=False)  # an older row has it as it was typed
        if real not in (self._real_paths.of(named, is_link=False), self._real_paths.of(named)):
            return None
        return named.removeprefix(folder).replace(os.sep, "/")

    def _relative(self, folder: str) -> str | None:
        try:
            seen = os.path.relpath(self._real_paths.of(folder), self._here)
        except ValueError:  # another drive
            return None
        return "" if seen == "." else seen.replace(os.sep, "/")


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except FileNotFoundError:  # the working folder is gone
        return path
