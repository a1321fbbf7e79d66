"""What one evening of listening is: words and their keys, songs, their labels in the file, skips and undo."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any
from unicodedata import normalize

from ...engine.data.cleaning import labels_from_list
from ...engine.errors import MerError, UsageError
from ...engine.text.escape import for_csv, for_terminal
from .label_file import LabelFile
from .queue_file import QueuedSong

KEYS = "1234567890qwertyiopdfghjklzxcvbnm"
"""In the order of the labels; u and s are taken, a is near s."""


def labels_from_text(text: str) -> tuple[str, ...]:
    """The labels of an option ``A,B,...``, in order.

    Raises:
        UsageError: no such list, fewer than two, one twice, or one that a file of labels cannot hold.
    """
    labels = tuple(" ".join(normalize("NFC", label).split()) for label in labels_from_list(text))
    if len(labels) < 2 or not all(labels):
        raise UsageError(f"{text!r} names no two labels: write them with a comma between, as in calm,tense")
    if len(labels) > len(KEYS):
        raise UsageError(f"{len(labels)} labels are more than there are keys ({len(KEYS)})")
    if len({label.casefold() for label in labels}) < len(labels):
        raise UsageError(f"{text!r} names a label twice")
    for label in labels:
        if for_csv(label) != label or for_terminal(label) != label:
            raise UsageError(f"the label {label!r} begins like a formula or holds what cannot be shown")
    return labels


class StaleError(MerError):
    """The page is behind: another tab has labelled the song meanwhile."""


class Session:
    """The songs of a queue, of which each has at most one row in the file of labels; for several threads.

    A song that has a row is done, whoever wrote it. Skipped songs come again at the end of the queue.
    """

    def __init__(self, songs: Sequence[QueuedSong], labels: Sequence[str], file: LabelFile) -> None:
        self.songs, self.labels = tuple(songs), tuple(labels)
        self._file = file
        self._lock = threading.Lock()
        self._numbers = {song.path: number for number, song in enumerate(self.songs)}
        self._skipped: dict[int, None] = {}  # in order
        self._done: list[tuple[int, bool]] = []  # labels and skips, the last one last; whether each is a skip

    def state(self) -> dict[str, Any]:
        """What the page shows, as JSON can hold it; ``song`` is None when all are labelled.

        Raises:
            MerError: see ``LabelFile.rows``.
        """
        with self._lock:
            return self._state()

    def label(self, number: int, label: str) -> dict[str, Any]:
        """Gives a song its label; the row is on the disk when this returns.

        Raises:
            StaleError: the song has a label already.
            MerError: no such song or label; the file cannot be written.
        """
        with self._lock:
            self._check(number)
            if label not in self.labels:
                raise MerError(f"{label!r} is none of the labels")
            song = self.songs[number]
            self._file.add(song.path, label, song.artist)
            self._done.append((number, False))
            return self._state()

    def skip(self, number: int) -> dict[str, Any]:
        """Puts a song behind all others; the file stays as it is.

        Raises:
            StaleError: the song has a label already.
            MerError: no such song.
        """
        with self._lock:
            self._check(number)
            self._skipped.pop(number, None)
            self._skipped[number] = None
            self._done.append((number, True))
            return self._state()

    def undo(self) -> dict[str, Any]:
        """Takes back the last label or skip; labels of an earlier session too. The song is the next one.

        Raises:
            MerError: there is nothing to take back, or another program changed the file.
        """
        with self._lock:
            number, is_skip = self._last()
            if number is None:
                raise MerError("there is nothing to take back")
            if not is_skip and self.songs[number].path in self._labelled():
                self._file.take_back(self.songs[number].path)
            self._skipped.pop(number, None)
            if self._done:
                self._done.pop()
            return self._state(first=number)

    def _last(self) -> tuple[int | None, bool]:
        """The number of the song of which undo takes back what was last, and whether that was a skip."""
        if self._done:
            return self._done[-1]
        rows = self._file.rows()
        return self._numbers.get(rows[-1].path) if rows else None, False

    def _labelled(self) -> dict[str, str]:
        return {row.path: row.label for row in self._file.rows()}

    def _check(self, number: int) -> None:
        if not 0 <= number < len(self.songs):
            raise MerError("no such song in the queue")
        if self.songs[number].path in self._labelled():
            raise StaleError("this song has a label already")

    def _state(self, first: int | None = None) -> dict[str, Any]:
        labelled = self._labelled()
        left = [n for n, song in enumerate(self.songs) if song.path not in labelled]
        again = [n for n in self._skipped if self.songs[n].path not in labelled]
        order = [*(n for n in left if n not in self._skipped), *again]
        if first in order:
            order.remove(first)
            order.insert(0, first)
        counts = Counter(labelled[song.path] for song in self.songs if song.path in labelled)
        last, is_skip = self._last()
        return {
            "total": len(self.songs),
            "done": len(self.songs) - len(left),
            "counts": [counts[label] for label in self.labels],
            "song": self._shown(order[0]) if order else None,
            "last": None
            if last is None
            else {**self._shown(last), "label": None if is_skip else labelled.get(self.songs[last].path)},
        }

    def _shown(self, number: int) -> dict[str, Any]:
        song = self.songs[number]
        name = song.title or PurePath(song.path).name
        return {"number": number, "name": for_terminal(name), "artist": for_terminal(song.artist)}
