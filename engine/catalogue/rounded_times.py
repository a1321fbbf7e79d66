"""Times in rows, in nanoseconds, that another program has rounded: their files tell them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .reconcile import paths_from_text
from .source import source_from_path

_EXACT = 1 << 53  # beyond it not every whole number is a float
_DIGITS = 6  # of a number in a spreadsheet that shows the fewest


def has_whole_time(row: dict[str, Any]) -> bool:
    """Whether a row's ``mtime_ns`` was not rounded, or its file, of that size and such a time, has told it.

    pandas makes floats of a column in which one is missing, and spreadsheets show few digits.
    """
    names = [name for name in ("mtime_ns", "ctime_ns") if _is_rounded(row.get(name))]
    for text in dict.fromkeys((row.get("real_path") or row["path"], row["path"])) if names else ():
        for path in paths_from_text(text):
            now = source_from_path(path)
            if now.size_bytes == row.get("size_bytes") and _rounds_to(now.mtime_ns, row.get("mtime_ns")):
                for name in names:
                    own = getattr(now, name)
                    row[name] = own if _rounds_to(own, row[name]) else row[name]
                return True
    return "mtime_ns" not in names


def _is_rounded(value: Any) -> bool:
    return isinstance(value, float) and abs(value) > _EXACT


def _rounds_to(number: int | None, value: Any) -> bool:
    """Whether a number is this one, in the digits that this one has."""
    if number is None or not _is_rounded(value):
        return number == value
    digits = len(Decimal(repr(value)).normalize().as_tuple().digits)
    return float(f"{number:.{max(digits, _DIGITS) - 1}e}") == value
