"""Rows that are to take the places of others in shards, until it is time to write these shards again."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from .rows import size_of_row
from .source import Place

MOST_BYTES = 32 << 20
"""Of rows in memory: a timeline of a day, a cell of a table, can be long."""

_LABELS_A_SHARD = 10  # at least: to write a shard again takes as long as to label one song
_LONGEST_S = 600.0  # that a label waits: a run may be killed before there are so many, and so may the next

Row = Mapping[str, Any]


class Replacements:
    """Rows by their shards. A later row of the same place is taken instead.

    They are due when ``least`` of them are labels, and ten for each shard that has one; or after ten minutes
    or 32 MB. Tags and other columns alone wait with the labels, and make none of them wait longer; where
    there is no label, they are due at 32 MB.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._rows: dict[int, dict[int, Row]] = defaultdict(dict)
        self._labelled: set[int] = set()  # shards
        self._bytes = self._labels = 0
        self._first_at = 0.0  # when the first of the labels came

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, row: Row, place: Place) -> None:
        """Adds a row, which may lack columns that do not change. One with a status is a label."""
        self._rows[place.shard][place.row] = row
        self._bytes += size_of_row(row)
        if "status" in row:
            self._first_at = self._first_at if self._labels else time.monotonic()
            self._labels += 1
            self._labelled.add(place.shard)

    def are_due(self) -> bool:
        """Whether it is time to write."""
        least = max(self._least, _LABELS_A_SHARD * len(self._labelled))
        waited = time.monotonic() - self._first_at if self._labels else 0
        return self._labels >= least or waited >= _LONGEST_S or self._bytes >= MOST_BYTES

    def pop(self) -> tuple[int, dict[int, Row]]:
        """Takes the rows of one shard out: its number, and the rows by their places in it."""
        number = next(iter(self._rows))
        rows = self._rows.pop(number)
        if not self._rows:
            self._labelled.clear()
            self._bytes = self._labels = 0
        return number, rows
