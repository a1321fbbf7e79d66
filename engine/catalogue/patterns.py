"""Patterns (``*``, ``?``, ``[...]``, ``**``), matched name by name on the way down a tree."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Sequence

from ..audio.formats import is_remote

States = frozenset[int]
"""Where a pattern stands at a folder: the parts that what is in the folder may match next."""


class Pattern:
    """The parts of a pattern below a folder. A folder that matches all of them is searched.

    With ``**`` only files match, since ``**`` matches every folder and every file in it; with a separator at
    the end only folders do. Wildcards do not match what ``is_left_out`` names; a part of that name does.

    Attributes:
        parts: the last one is ``**`` (all that is below), unless that would match what the pattern does not.
        start: the states at the folder.
    """

    def __init__(self, parts: Sequence[str], folders_only: bool = False) -> None:
        folders_only = folders_only or parts[-1] == "."
        self.parts: list[str] = []
        for part in parts:
            if part != "." and (part != "**" or self.parts[-1:] != ["**"]):  # two "**" in a row are one
                self.parts.append(part)
        self._last = -1 if folders_only else len(self.parts) - 1
        if (folders_only or "**" not in self.parts) and self.parts[-1:] != ["**"]:
            self.parts.append("**")
        self._everything = len(self.parts) - 1 if self.parts[-1:] == ["**"] else None
        self._match = [re.compile(fnmatch.translate(part)).match for part in self.parts]
        self.literal = [not glob.has_magic(part) for part in self.parts]
        self.start: States = frozenset([0])

    def with_skipped(self, states: Iterable[int]) -> States:
        """``states`` and those behind a ``**``, which matches no folder as well."""
        states = set(states)
        end = len(self.parts) - 1
        return frozenset(
            states | {state + 1 for state in states if self.parts[state] == "**" and state < end}
        )

    def searches(self, states: States) -> bool:
        """Whether every file below the folder is taken."""
        return self._everything in states

    def takes(self, states: States, name: str, left_out: bool) -> bool:
        """Whether a file of this name in the folder matches; ``left_out`` says whether wildcards skip it."""
        if self._everything in states and not left_out:
            return True
        return self._last in states and self._matches(self._last, name, left_out)

    def below(self, states: States, name: str, left_out: bool) -> tuple[set[int], set[int]]:
        """The states at a folder of this name in the folder: those of ``**``, which stay, and the next."""
        stay = set() if left_out else {state for state in states if self.parts[state] == "**"}
        on = {
            state + 1
            for state in states
            if state + 1 < len(self.parts) and self._matches(state, name, left_out)
        }
        return stay, on

    def _matches(self, state: int, name: str, left_out: bool) -> bool:
        part = self.parts[state]
        if part == "**":
            return False
        if left_out and name != part and not (name.startswith(".") and part.startswith(".")):
            return False
        return self._match[state](name) is not None


def is_pattern(text: str) -> bool:
    """Whether an argument is a pattern: it has wildcards, and is no URL and no name that is there."""
    return glob.has_magic(text) and not is_remote(text) and not os.path.lexists(text)


def split_pattern(text: str) -> tuple[str, list[str]]:
    """Splits a pattern into the folder before the first part with a wildcard, and the parts below it.

    Brackets in the name of a folder that is there are no wildcards ("[2001] Album").
    """
    folder, parts = text.rstrip(os.sep), []
    while not parts or (glob.has_magic(folder) and not os.path.lexists(folder)):
        folder, part = os.path.split(folder)
        parts.insert(0, part)
    return folder, parts


def pattern_below(text: str) -> tuple[str, Pattern]:
    """The folder that ``split_pattern`` finds, and the pattern below it."""
    folder, parts = split_pattern(text)
    return folder, Pattern(parts, folders_only=text.endswith(os.sep))
