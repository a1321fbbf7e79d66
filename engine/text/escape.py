"""Escapes text that anyone can have written (names of files, tags, labels), with one function a format."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a formula begins; tabs and CRs may stand before one


def for_terminal(text: str) -> str:
    """One line: characters that do not print, such as control characters, become escapes (``\\x1b``)."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def for_csv(value: Any) -> Any:
    """A CSV cell that no spreadsheet runs as a formula: such text gets a leading ``'``."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def csv_line(cells: Iterable[Any]) -> str:
    """A line of CSV that ends in ``\\n``, with every cell as ``for_csv`` makes it."""
    text = io.StringIO(newline="")
    # The writer quotes only the characters of its line terminator: a bare CR would end the line for others.
    csv.writer(text, lineterminator="\r\n").writerow(map(for_csv, cells))
    return text.getvalue().removesuffix("\r\n") + "\n"


def for_markdown(text: str) -> str:
    """One line of Markdown without any markup."""
    return "".join(f"\\{c}" if c in "\\|<>[]*_`#" else c for c in " ".join(str(text).split()))


def for_markdown_cell(text: str) -> str:
    """A cell of a Markdown table: one line, without HTML tags; emphasis and links stay as they are."""
    # Backslashes first: one before a pipe would end the cell.
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return text.replace("\n", " ").replace("\r", " ")


def text_from_path(path: str) -> str:
    """A path as rows hold it: bytes that are not UTF-8, which no format can hold, become ``\\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
