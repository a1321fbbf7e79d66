"""A song's timeline as a line of a terminal: a colour, or a letter, for each window."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from rich.text import Text

from ..text.escape import for_terminal

Cells = tuple[int | None, ...]
"""The number of the likeliest label in each part of a song; None where it is silent."""

_COLOURS = ("yellow", "red", "blue", "green", "magenta", "cyan", "white", "bright_black")
_WIDE = 2  # characters of a window, where there is room


def cells_from_windows(windows: Sequence[tuple[float, Sequence[float] | None]], most: int) -> Cells:
    """The cells of a label's windows; with more than ``most``, a cell is the mean of adjacent windows."""
    count = min(len(windows), most)
    edges = [-(-cell * len(windows) // count) for cell in range(count + 1)] if count else [0]
    parts = [[p for _, p in windows[start:end] if p is not None] for start, end in pairwise(edges)]
    return tuple(int(np.mean(part, axis=0).argmax()) if part else None for part in parts)


def line_from_cells(cells: Cells, labels: Sequence[str], width: int, is_coloured: bool) -> Text:
    """A line of at most ``width`` characters; without colours, of the labels' letters."""
    times = min(_WIDE, max(1, width // max(1, len(cells))))
    line = Text(no_wrap=True, overflow="crop")
    letters = letters_of_labels(labels)
    for cell in cells[:width]:
        if cell is None:
            line.append("·" * times, "dim")
        elif is_coloured:
            line.append("█" * times, _COLOURS[cell % len(_COLOURS)])
        else:
            line.append(letters[cell] * times)
    return line


def legend(labels: Sequence[str], is_coloured: bool) -> Text:
    """What the colours or letters of a line mean."""
    line = Text()
    for number, (label, letter) in enumerate(zip(labels, letters_of_labels(labels), strict=True)):
        line.append("█" if is_coloured else letter, _COLOURS[number % len(_COLOURS)] if is_coloured else "")
        line.append(f" {for_terminal(label)}  ")
    line.append("· silent")
    return line


def letters_of_labels(labels: Sequence[str]) -> list[str]:
    """A character for each label: its first one that no label before it has, or else a digit."""
    letters: list[str] = []
    for number, label in enumerate(labels):
        own = (letter for letter in label if letter.isascii() and letter.isalnum() and letter not in letters)
        letters.append(next(own, str(number % 10)))
    return letters
