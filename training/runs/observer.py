"""Who is told how a run progresses: a terminal, a log, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..fit.trainer import Epoch


class Observer(Protocol):
    """What runs report while they work."""

    def say(self, text: str) -> None:
        """A line for the user."""

    def cached(self, total: int) -> Callable[[int], None]:
        """Spectrograms of ``total`` clips are being computed; the result takes the number that is ready."""
        return lambda ready: None

    def begin(self, name: str, epochs: int, done: int, held_out: str = "validation") -> None:
        """A training begins, or continues after ``done`` epochs.

        Args:
            held_out: the part of the split that the epochs' held-out figures are of.
        """

    def epoch(self, row: Epoch) -> None:
        """An epoch is done."""


class NoObserver(Observer):
    """Ignores all reports."""
