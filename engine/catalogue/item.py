"""An input of a run, and the place of its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .source import Source


class Place(NamedTuple):
    """Where a row is: the number of its shard, and its number there, from 0 on."""

    shard: int
    row: int


@dataclass(frozen=True)
class Item:
    """An input, with its real path in ``source``.

    ``place`` is that of its row of an earlier run; ``row_ok`` says whether that is a good one, and ``done``
    whether it stays. ``same_as`` is the position of the first input of the same content, None if that is this
    one; ``repeated`` says whether later inputs have this one's.
    """

    position: int
    source: Source
    place: Place | None
    row_ok: bool
    same_as: int | None
    repeated: bool
    done: bool
