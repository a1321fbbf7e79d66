"""What a training shows while it runs: progress bars with the time left, or a line for each epoch."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..engine.text.escape import for_terminal
from .fit.trainer import Epoch


class TerminalProgress:
    """An ``Observer`` of runs that writes to stderr, with bars if that is a terminal; a context manager."""

    def __init__(self) -> None:
        self._bars = sys.stderr.isatty()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        columns += (TextColumn("left"), TimeRemainingColumn())
        # Rich's own console is stdout.
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not self._bars)
        self._task = None
        self._epochs = 0
        self._held_out = ""

    def cached(self, total: int) -> Callable[[int], None]:
        """A bar for ``total`` clips that are heard; the result takes the number that is ready."""
        task = self._progress.add_task("clips", total=total)
        return lambda ready: self._progress.update(task, completed=ready)

    def begin(self, name: str, epochs: int, done: int, held_out: str = "validation") -> None:
        """A bar for a training, which begins or continues after ``done`` epochs.

        Args:
            held_out: the part of the split that the epochs' held-out figures are of.
        """
        name = for_terminal(name)
        self._epochs, self._held_out = epochs, held_out
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=epochs, completed=done)
        if done:
            self.say(f"{name}: goes on after epoch {done} of {epochs}")

    def epoch(self, row: Epoch) -> None:
        """A line with an epoch's figures; the bar advances."""
        held_out = ""
        if not math.isnan(row.val_loss):
            held_out = f"  {self._held_out}: loss {row.val_loss:.3f} accuracy {row.val_accuracy:.3f}"
            held_out += f" macro-F1 {row.val_macro_f1:.3f}"
        self.say(
            f"epoch {row.epoch:>3}/{self._epochs}  loss {row.loss:.3f} accuracy {row.accuracy:.3f}{held_out}"
            f"  {row.seconds:.1f} s"
        )
        if self._task is not None:
            self._progress.update(self._task, completed=row.epoch)

    def say(self, text: str) -> None:
        """A line above the bars, or several; control characters in it (of names) are escaped."""
        shown = "\n".join(map(for_terminal, text.split("\n")))
        if self._bars:
            self._progress.console.print(shown, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(shown, err=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
