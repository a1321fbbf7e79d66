"""Two folders of labels of the same songs in, what changed between them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .songs import Song


@dataclass(frozen=True, slots=True)
class Change:
    """A song that is called something else now; ``confidence`` is today's, None without an emotion."""

    path: str
    before: str
    after: str
    confidence_before: float | None
    confidence: float | None


@dataclass(frozen=True)
class Changes:
    """What became of the songs that both have.

    ``counts`` has every pair of (before, after), also of songs that stayed as they were; ``changed`` is the
    surest first. The others are in one of them only.
    """

    counts: Counter[tuple[str, str]]
    changed: list[Change]
    only_before: int
    only_after: int

    @property
    def both(self) -> int:
        """Songs that both have."""
        return self.counts.total()


def changes_between(before: Iterable[Song], after: Iterable[Song]) -> Changes:
    """Compares songs by the files that they are: names of folders may have changed between, links too.

    A song without an emotion is called by its verdict, or "no label", in brackets. Of rows for one file the
    last one counts.
    """
    old = {_file(song): (_name(song), song.confidence) for song in before}
    only_before, only_after = len(old), 0
    counts: Counter[tuple[str, str]] = Counter()
    changed: list[Change] = []
    new = {_file(song): (song.path, _name(song), song.confidence) for song in after}
    for file, (path, name, confidence) in new.items():
        known = old.get(file)
        if known is None:
            only_after += 1
            continue
        only_before -= 1
        counts[known[0], name] += 1
        if known[0] != name:
            changed.append(Change(path, known[0], name, known[1], confidence))
    changed.sort(key=lambda change: (-(change.confidence or 0.0), change.path))
    return Changes(counts, changed, only_before, only_after)


def _file(song: Song) -> str:
    return song.real_path or song.path


def _name(song: Song) -> str:
    return song.emotion or f"({song.verdict or 'no label'})"
