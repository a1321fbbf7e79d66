"""Where tagged files are today that are not where they were tagged."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ...catalogue.reconcile import RealPaths
from ...catalogue.shards import shards_in
from ...errors import MerError
from ...text.escape import text_from_path
from ..songs import Found, find, songs_in


class MovedFiles:
    """Looks for files by today's rows, which are read once one is looked for.

    Args:
        folder: of labels; without shards nothing is found.
        known: real paths, as rows hold them, of files that have records of their own.
    """

    def __init__(self, folder: Path, known: Iterable[str]) -> None:
        self._folder, self._known = folder, frozenset(known)
        self._by_text: dict[str, list[str]] | None = None
        self._by_size: dict[int | None, list[tuple[str, int | None]]] = defaultdict(list)

    def paths(self, text: str, facts: set[tuple[int, int | None]]) -> tuple[list[str], bool]:
        """Paths of files that may be the one that was at ``text``: those of its row, or else by size.

        Of several of its size those are meant that are likest to it: of its time, and of its name.
        ``facts`` are the sizes and times (``mtime_ns``) that it may have.
        Also whether they may be copies: a file that has a row and is not there may be away for a time.
        """
        if self._by_text is None:
            self._by_text = self._read()
        if own := self._by_text.get(text):
            return own, False
        likeness = {
            path: ((size, time) in facts) + (text_from_path(os.path.basename(path)) == os.path.basename(text))
            for size in {size for size, _ in facts}
            for path, time in self._by_size[size]
        }
        likest = max(likeness.values(), default=0)
        return [path for path, own in likeness.items() if own == likest], text in self._by_text

    def _read(self) -> dict[str, list[str]]:
        by_text: dict[str, list[str]] = defaultdict(list)
        real_paths = RealPaths()
        with suppress(MerError):  # a damaged shard says nothing of where files are
            for song in songs_in(self._folder)[1] if shards_in(self._folder) else ():
                own = by_text[song.real_path or text_from_path(real_paths.of(song.path))]
                found, path = find(song)
                if found is Found.SAME and text_from_path(real_paths.of(path)) not in self._known:
                    own.append(path)
                    self._by_size[song.size_bytes].append((path, song.mtime_ns))
        return dict(by_text)
