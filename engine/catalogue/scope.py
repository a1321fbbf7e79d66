"""Which rows of earlier runs the arguments of a run speak of, beyond the inputs that they name today."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from ..text.escape import text_from_path
from .patterns import is_pattern, split_pattern
from .reconcile import RealPaths


class Scope:
    """The folders, patterns and URLs among the arguments, and the inputs that cannot be seen.

    Identities are real paths, as rows hold them.

    Args:
        is_input: whether an identity is an input that cannot be seen.
    """

    def __init__(
        self, arguments: Iterable[str], real_paths: RealPaths, is_input: Callable[[str], bool]
    ) -> None:
        self._named: set[str] = set()
        self._patterns: list[tuple[str, list[str]]] = []
        for argument in arguments:
            identity = text_from_path(real_paths.of(argument))
            self._named.add(identity)
            if is_pattern(argument):
                self._patterns.append((identity, _parts(argument, real_paths)))
        self._is_input = is_input
        self._of_folder = lru_cache(64)(self._search)

    def names(self, identity: str) -> bool:
        """Whether an argument is this file or folder."""
        return identity in self._named

    def holding(self, identity: str) -> str | None:
        """The identity of the argument or absent input that a file lies below, the nearest one, or None."""
        holder = self._of_folder(os.path.dirname(identity))
        if holder is None and self._patterns:
            names = identity.split(os.sep)
            holder = next((pattern for pattern, parts in self._patterns if _matches(parts, names)), None)
        return holder

    def _search(self, folder: str) -> str | None:
        while folder:
            if folder in self._named or self._is_input(folder):
                return folder
            above = os.path.dirname(folder)
            folder = "" if above == folder else above
        return None


def _parts(pattern: str, real_paths: RealPaths) -> list[str]:
    """A pattern's parts from the root on; the folders before the first wildcard by their real path."""
    folder, parts = split_pattern(os.path.abspath(pattern))
    folder = text_from_path(real_paths.of(folder))
    return [*map(glob.escape, folder.rstrip(os.sep).split(os.sep)), *map(text_from_path, parts)]


def _matches(parts: list[str], names: list[str]) -> bool:
    """Whether a pattern matches a path or a folder above it, which is then searched."""
    if not parts:
        return True
    if parts[0] == "**":
        return any(_matches(parts[1:], names[i:]) for i in range(len(names) + 1))
    # Brackets may be those of a folder's name that is away now.
    is_match = bool(names) and (names[0] == parts[0] or fnmatchcase(names[0], parts[0]))
    return is_match and _matches(parts[1:], names[1:])
