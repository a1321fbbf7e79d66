"""Escapes text that anyone can have written (names of files, tags, labels), with one function a format."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a formula begins; tabs and CRs may stand before one
# As programs write one. "-0,35" and "+91 98" are text: what they are depends on a spreadsheet's settings.
_NUMBER = re.compile(
    r"[+-](?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
# Bytes of a name that are not UTF-8 stand in it as U+DC80 to U+DCFF; no format can hold a lone surrogate.
_UNDECODABLE = re.compile("[\ud800-\udfff]")
# Controls, what ends a line, and what turns the order of the text around it. All else belongs to names, also
# what does not show: Indic and Arabic words, emoji and flags hold joiners, marks and tags.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def for_terminal(text: str) -> str:
    """One line that a terminal shows as it stands, and that is still the name of its file.

    Control characters, separators of lines, bidirectional overrides and isolates, and bytes that are not
    UTF-8 become escapes (``\\x1b``).
    """
    return _UNSAFE.sub(_escaped, text)


def for_csv(value: Any) -> Any:
    """A CSV cell that no spreadsheet runs as a formula: such text, unless a number, gets a leading ``'``."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


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
    return _UNDECODABLE.sub(_escaped, path)


def _escaped(character: re.Match[str]) -> str:
    code = ord(character.group())
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.group().encode("unicode_escape").decode()
