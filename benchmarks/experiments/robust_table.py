"""The table of ``Robustness`` for people: terminal and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...engine.text.escape import for_markdown_cell
from ..printing import aligned
from .robust import ChangeRow, Robustness

_COLUMNS: Mapping[str, Callable[[ChangeRow], str]] = {
    "change": lambda row: row.what,
    "name": lambda row: row.name,
    "most go to": lambda row: next((f"{label} ({count})" for label, count in row.to.items()), "-"),
    "songs": lambda row: str(row.songs),
    "labels changed %": lambda row: f"{100 * row.share:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]",
    "change of probabilities": lambda row: f"{row.variation:.3f}",
    "macro-F1": lambda row: "-" if row.macro_f1 is None else f"{row.macro_f1:.3f}",
}
_LEFT = 3  # columns of text, which stand first
TABLE_BEGINS = "| change | name |"
"""As every table in Markdown does that was ever written here."""


def lines_from_robustness(measured: Robustness) -> list[str]:
    """The table for a terminal, with the facts above it."""
    rows = [tuple(_COLUMNS), *(tuple(cell(row) for cell in _COLUMNS.values()) for row in measured.rows)]
    return [_facts(measured), *aligned(rows, _LEFT, margin="")]


def markdown_from_robustness(measured: Robustness) -> str:
    """The same in Markdown."""
    lines = [for_markdown_cell(_facts(measured)), "", f"| {' | '.join(_COLUMNS)} |"]
    lines.append(f"|{'|'.join(['---'] * _LEFT + ['---:'] * (len(_COLUMNS) - _LEFT))}|")
    lines += [
        f"| {' | '.join(for_markdown_cell(cell(row)) for cell in _COLUMNS.values())} |"
        for row in measured.rows
    ]
    return "\n".join(lines) + "\n"


def _facts(measured: Robustness) -> str:
    songs = measured.rows[0].songs
    failed = f"; {measured.unlabelled} more have no label as they are" if measured.unlabelled else ""
    failed += f"; {len(measured.failed)} more give no audio" if measured.failed else ""
    return (
        f"{measured.model}, {songs} songs of {measured.data} (seed {measured.seed}; {measured.note}){failed}."
        " Intervals: 95 %."
    )
