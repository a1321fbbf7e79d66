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
        self._is_whole = False  # whether the rows are all of the folder's
        self._unread: dict[int | None, list[tuple[str, int | None]]] = defaultdict(list)  # by size
        self._digests: dict[str, str] = {}  # by real path: a file is read once, however many are looked for
        self._files: dict[str, dict[str, tuple[str, int | None]]] = defaultdict(dict)  # by digest, real path

    def paths(self, text: str, after: list[Facts], besides: list[str]) -> tuple[list[str], bool]:
        """Paths of files that are the one that was at ``text``: that of its row, or else of the same bytes.

        Of several those are meant that have the newest bytes, and of these the likest to it: of its time, and
        of its name. Also whether they may be copies: a file that has a row and is not there may be away for a
        time.

        Args:
            after: what the file may be, the newest first.
            besides: paths that were looked at.
        """
        own = {self._real_paths.of(path) for path in self._rows().get(text, ())}
        others = {self._real_paths.of(path) for path in besides}
        newest = []
        for each in after:
            meant = {
                real: file
                for real, file in self._files_of(each).items()
                if real not in others and not self._is_own(real, each.sha256)
            }
            if found := [path for real, (path, _) in meant.items() if real in own]:
                return found, False
            newest = newest or [*meant.values()]
        times = {int64(each.mtime_ns) for each in after}
        by_likeness: dict[int, list[str]] = defaultdict(list)
        for path, time in newest:
            has_name = text_from_path(os.path.basename(path)) == os.path.basename(text)
            by_likeness[(time in times) + has_name].append(path)
        return by_likeness[max(by_likeness, default=0)], self.has_row(text)

    def has_row(self, text: str) -> bool:
        """Whether a row names ``text``, or may: not all could be read."""
        return text in self._rows() or not self._is_whole

    def has_become(self, path: str, facts: Facts) -> None:
        """Notes what a file is now, or would be."""
        real = self._real_paths.of(path)
        self._files[self._digests.get(real, "")].pop(real, None)
        self._digests[real] = facts.sha256
        self._files[facts.sha256][real] = path, int64(facts.mtime_ns)

    def _files_of(self, facts: Facts) -> dict[str, tuple[str, int | None]]:
        """Files of the same bytes, with their times; by real path."""
        for path, time in self._unread.pop(facts.size, ()):
            real = self._real_paths.of(path)
            if real in self._digests:
                continue
            self._digests[real] = ""
            with suppress(OSError), open(real, "rb") as file:
                self._digests[real] = digest_of(file)
            self._files[self._digests[real]][real] = path, time
        return self._files[facts.sha256]

    def _rows(self) -> dict[str, list[str]]:
        """The files of each text as rows hold it, as far as they are as they were labelled."""
        if self._by_text is None:
            self._by_text = defaultdict(list)
            with suppress(MerError):  # a damaged shard says nothing of where files are
                for song in songs_in(self._folder)[1] if shards_in(self._folder) else ():
                    own = self._by_text[song.real_path or text_from_path(self._real_paths.of(song.path))]
                    found, path = find(song)
                    if found is Found.SAME:
                        own.append(path)
                        self._unread[song.size_bytes].append((path, song.mtime_ns))
                self._is_whole = bool(shards_in(self._folder))
        return self._by_text
