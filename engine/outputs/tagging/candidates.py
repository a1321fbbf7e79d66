"""Files that may have been tagged: those in the places where tagging was, and those of today's rows."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...catalogue.reconcile import RealPaths, paths_from_text
from ...catalogue.shards import shards_in
from ...catalogue.source import source_from_path
from ...errors import MerError
from ...text.escape import text_from_path
from ..songs import Found, Song, find, songs_in


@dataclass(eq=False)
class Candidate:
    """A file, where it is today."""

    path: str
    real: str
    size: int | None  # as it was found
    places: set[str] = field(default_factory=set)  # texts of records that lead to it
    rows: list[Song] = field(default_factory=list)  # that name it
    known: set[tuple[int | None, int | None]] = field(default_factory=set)  # sizes and times in rows for it
    digest: str = ""  # the SHA-256 that it has, or would have
    undone: set[int] = field(default_factory=set)  # where the records begin that were undone in it
    is_told: bool = False


class Candidates:
    """One for each real path, those in recorded places first.

    Args:
        folder: of labels; without shards there are no rows.
        places: texts of records.
        sizes: in bytes; files of rows have one of these.

    Attributes:
        files: all of them.
        at: those in each place; none where no file is there.
    """

    def __init__(self, folder: Path, places: Collection[str], sizes: Collection[int]) -> None:
        self._real_paths = RealPaths()
        self._by_real: dict[str, Candidate] = {}
        self.at = {
            text: [self._file(path) for path in paths_from_text(text) if os.path.isfile(path)]
            for text in places
        }
        for text, files in self.at.items():
            for file in files:
                file.places.add(text)
        self._named: set[str] = set()
        self._is_whole = False  # whether all rows could be read
        with suppress(MerError):  # a damaged shard says nothing of where files are
            for song in songs_in(folder)[1] if places and shards_in(folder) else ():
                self._add(song, sizes)
            self._is_whole = bool(shards_in(folder))
        self.files = [*self._by_real.values()]

    def has_row(self, text: str) -> bool:
        """Whether a row names ``text``, or may: not all could be read."""
        return text in self._named or not self._is_whole

    def _add(self, song: Song, sizes: Collection[int]) -> None:
        found, path = find(song)
        real = self._real_paths.of(path)
        # Of one that has moved with its labels the row leads to where it is now.
        self._named.add(
            song.real_path if song.real_path and found is not Found.SAME else text_from_path(real)
        )
        is_there = found in (Found.SAME, Found.CHANGED)
        if is_there and (real in self._by_real or source_from_path(path).size_bytes in sizes):
            self._file(path).rows.append(song)

    def _file(self, path: str) -> Candidate:
        real = self._real_paths.of(path)
        return self._by_real.setdefault(real, Candidate(path, real, source_from_path(path).size_bytes))
