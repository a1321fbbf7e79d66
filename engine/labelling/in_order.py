"""Labels that come in any order, in the order of their files."""

from __future__ import annotations

from collections.abc import Iterator

from ..signals import StoppedAtOnce
from .song_label import SongLabel


class LabelsInOrder(dict[int, SongLabel]):
    """Labels by position, which wait for those before them; ``next`` is the position that comes next."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.next = first

    def ready(self) -> Iterator[SongLabel]:
        """Takes out labels in the order of the positions, up to one that is not there."""
        while self.next in self:
            label = self.pop(self.next)
            self.next += 1
            yield label

    def and_rest(self, labels: Iterator[SongLabel]) -> Iterator[SongLabel]:
        """A call's labels, then ``rest``, even if a second signal ends the call."""
        try:
            yield from labels
        except StoppedAtOnce:
            yield from self.rest()
            raise
        yield from self.rest()

    def rest(self) -> Iterator[SongLabel]:
        """Takes out all labels that are there, though some before them are not: the run was stopped."""
        for position in sorted(self):
            yield self.pop(position)
