"""Where tagged files are today that are not where they were tagged."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...catalogue.reconcile import RealPaths
from ...catalogue.shards import shards_in
from ...catalogue.source import int64
from ...errors import MerError
from ...text.escape import text_from_path
from ..songs import Found, find, songs_in
from .tag_run import digest_of
from .undo_file import Facts


class MovedFiles:
    """Looks for files by today's rows, which are read once one is looked for.

    Args:
        folder: of labels; without shards nothing is found.
        real_paths: those of the whole run.
        is_own: whether a file of this real path and SHA-256 has a record of its own place.
    """

    def __init__(self, folder: Path, real_paths: RealPaths, is_own: Callable[[str, str], bool]) -> None:
        self._folder, self._real_paths, self._is_own = folder, real_paths, is_own
        self._by_text: dict[str, list[str]] | None = None
        self._by_size: dict[int | None, list[tuple[str, int | None]]] = defaultdict(list)
        self._digests: dict[str, str] = {}  # by real path: a file is read once, however many are looked for

    def paths(self, text: str, after: list[Facts], besides: list[str]) -> tuple[list[str], bool]:
        """Paths of files that are the one that was at ``text``: that of its row, or else of the same bytes.

        Of several of its bytes those are meant that are likest to it: of its time, and of its name.
        Also whether they may be copies: a file that has a row and is not there may be away for a time.

        Args:
            after: what the file may be.
            besides: paths that were looked at.
        """
        rows = self._rows()
        meant = {each.sha256 for each in after}
        if own := [path for path in rows.get(text, ()) if self._is_meant(path, meant, besides)]:
            return own, False
        facts = {(each.size, int64(each.mtime_ns)) for each in after}
        by_likeness: dict[int, list[str]] = defaultdict(list)
        for size in {size for size, _ in facts}:
            for path, time in self._by_size[size]:
                has_name = text_from_path(os.path.basename(path)) == os.path.basename(text)
                by_likeness[((size, time) in facts) + has_name].append(path)
        for _, likest in sorted(by_likeness.items(), reverse=True):
            if found := [path for path in likest if self._is_meant(path, meant, besides)]:
                return found, text in rows
        return [], text in rows

    def has_row(self, text: str) -> bool:
        """Whether a row names ``text``."""
        return text in self._rows()

    def has_become(self, path: str, facts: Facts) -> None:
        """Notes what a file is now, or would be."""
        self._digests[self._real_paths.of(path)] = facts.sha256
        self._by_size[facts.size].append((path, int64(facts.mtime_ns)))

    def _is_meant(self, path: str, digests: set[str], besides: list[str]) -> bool:
        real = self._real_paths.of(path)
        if any(self._real_paths.of(each) == real for each in besides):
            return False
        if real not in self._digests:
            self._digests[real] = ""
            with suppress(OSError), open(real, "rb") as file:
                self._digests[real] = digest_of(file)
        digest = self._digests[real]
        return digest in digests and not self._is_own(real, digest)

    def _rows(self) -> dict[str, list[str]]:
        """The files of each text as rows hold it, as far as they are as they were labelled."""
        if self._by_text is None:
            by_text: dict[str, list[str]] = defaultdict(list)
            with suppress(MerError):  # a damaged shard says nothing of where files are
                for song in songs_in(self._folder)[1] if shards_in(self._folder) else ():
                    own = by_text[song.real_path or text_from_path(self._real_paths.of(song.path))]
                    found, path = find(song)
                    if found is Found.SAME:
                        own.append(path)
                        self._by_size[song.size_bytes].append((path, song.mtime_ns))
            self._by_text = dict(by_text)
        return self._by_text
