"""What the commands of mer-bench print as they are done."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.text.escape import for_terminal
from ..engine.text.streams import print_out


def echo(line: str) -> None:
    """Prints one line on stdout, escaped.

    Raises:
        ReaderGoneError, MerError: see ``print_out``.
    """
    print_out(for_terminal(line))


def aligned(rows: Sequence[Sequence[str]], left: int, margin: str = "  ") -> list[str]:
    """Columns two spaces apart, by the cells that a terminal gives each text; the first ``left`` are text."""
    from rich.cells import cell_len

    shown = [[for_terminal(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    lines = []
    for row in shown:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - cell_len(cell))
            cells.append(cell + blanks if place < left else blanks + cell)
        lines.append((margin + "  ".join(cells)).rstrip())
    return lines
