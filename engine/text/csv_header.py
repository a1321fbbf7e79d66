"""What stands above a CSV file's header."""

from __future__ import annotations

import re

DELIMITERS = ",;\t"
"""Spreadsheets write what their language or their menu says."""

_SEPARATOR = re.compile('"?sep=.?"?', re.IGNORECASE)


def is_above_header(line: str) -> bool:
    """Whether a line is no header: it is blank, or Excel's own ``sep=;``."""
    text = line.strip("\ufeff \r\n")
    return not text.strip(DELIMITERS + " ") or _SEPARATOR.fullmatch(text) is not None
