"""One function for each place that text goes to. Names of files, tags and labels are anyone's text."""

from __future__ import annotations

import os
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet runs, or skips to find it


def for_terminal(text: str) -> str:
    """One line without control characters, which a file's name may hold; they become escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def for_csv(value: Any) -> Any:
    """A cell that no spreadsheet runs: text that begins like a formula gets a leading ``'``."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def for_markdown(text: str) -> str:
    """One line in which nothing is markup."""
    return "".join(f"\\{c}" if c in "|<>[]*_`#" else c for c in " ".join(str(text).split()))


def for_markdown_cell(text: str) -> str:
    """One line that ends no cell of a table and opens no tag; emphasis and links stay as they are."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def text_from_path(path: str) -> str:
    """A path as rows hold it: bytes that are no UTF-8 as ``\\xNN``, since no format could hold them raw."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
