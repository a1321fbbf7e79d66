"""What mer-export prints for people, escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..engine.cli.command import EXIT_SOME_FAILED
from ..engine.errors import MerError
from ..engine.text.escape import for_terminal

if TYPE_CHECKING:
    from .exporter import Exported

_COLUMNS = ("model", "precision", "MB", "max error", "agreement", "macro-F1", "drop", "seconds")

Failed = tuple[str, MerError]
"""What failed, and why."""


class Terminal:
    """Prints lines; those of a clip that is skipped once, however many models skip it."""

    def __init__(self) -> None:
        self._skipped: set[str] = set()

    @property
    def exit_code(self) -> int:
        """That of a run in which nothing else went wrong."""
        return EXIT_SOME_FAILED if self._skipped else 0

    def say(self, text: str) -> None:
        """Prints a text of one line or more; warnings go to stderr."""
        if text.startswith("skipped "):
            if text in self._skipped:
                return
            self._skipped.add(text)
        for line in text.split("\n"):
            click.echo(for_terminal(line), err=line.lstrip().startswith("warning"))

    def failed(self, what: str, error: MerError, hint: str = "") -> Failed:
        """Prints an error as one line; one that begins with what failed does not name it twice."""
        text = str(error) if str(error).startswith((f"{what}:", f"{what} ")) else f"{what}: {error}"
        self.error(text + hint)
        return what, error

    def error(self, text: str) -> None:
        """Prints what ends the run otherwise than as asked."""
        click.echo(f"Error: {for_terminal(text)}", err=True)

    def table(self, done: Sequence[Exported], errors: Sequence[Failed]) -> None:
        """Prints a line for each export, and for each that failed."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name in ("model", "precision") else "right")
        for exported in done:
            parity, accuracy = exported.checks.parity, exported.checks.accuracy
            claimed = accuracy if accuracy and accuracy.claimed else None
            table.add_row(
                escape(for_terminal(exported.name)),
                exported.precision,
                f"{exported.bytes / 1e6:.1f}",
                f"{parity.max_error:.2g}" if parity else "",
                f"{parity.agreement:.1%}" if parity else "",
                f"{100 * claimed.macro_f1:.1f}" if claimed else "",
                f"{100 * accuracy.drop:.1f}" if accuracy else "",
                f"{exported.seconds:.1f}",
            )
        for what, _ in errors:
            name = f"[red]{escape(for_terminal(what))}[/red]"
            table.add_row(name, "failed")
        Console().print(table)
