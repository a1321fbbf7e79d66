"""Times in rows, in nanoseconds, that another program has rounded: their files tell them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .reconcile import paths_from_text
from .source import is_same_time, roundings, source_from_path

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
            if now.size_bytes == row.get("size_bytes") and _is_time(now.mtime_ns, row.get("mtime_ns")):
                for name in names:
                    own = getattr(now, name)
                    row[name] = own if _is_time(own, row[name]) else row[name]
                return True
    return "mtime_ns" not in names


def _is_rounded(value: Any) -> bool:
    return isinstance(value, float) and abs(value) > _EXACT


def _is_time(own: int | None, value: Any) -> bool:
    """Whether a file's time is that of a row, in the digits that this one has.

    An archive may have rounded either besides, as for ``is_same_time``.
    """
    if own is None or value is None or not _is_rounded(value):
        return is_same_time(own, value)
    number = Decimal(repr(value))
    digits = max(len(number.normalize().as_tuple().digits), _DIGITS)
    if any(float(f"{time:.{digits - 1}e}") == value for time in roundings(own)):
        return True
    last = 10 ** max(number.adjusted() - digits + 1, 0)  # what the last digit counts
    return any(own in roundings(int(value) + by) for by in (-last, 0, last))
