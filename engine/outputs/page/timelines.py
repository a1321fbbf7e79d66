"""The column ``windows`` of rows as small numbers: where each window begins, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

LEVELS = 50
"""A probability of 1 as a number of the timeline: a strip shows no finer steps than 2 %."""

SILENT = 255
"""In place of the numbers of a window that is silent."""

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Timelines:
    """The timelines of some songs, one after another.

    ``counts`` is int64 ``[songs]``, how many cells each has; ``starts_ds`` int64 ``[cells]``, where each
    begins, in tenths of a second; ``levels`` uint8 ``[labels, cells]``, probabilities times ``LEVELS``, or
    ``SILENT``. ``merged`` is bool ``[songs]``: whether cells are of several windows.
    """

    counts: _Ints
    merged: npt.NDArray[np.bool_]
    starts_ds: _Ints
    levels: npt.NDArray[np.uint8]


def timelines_from_column(column: pa.ChunkedArray, labels: int, most: int) -> Timelines:
    """The timelines of the rows of a column ``windows``.

    Args:
        labels: how many the model has.
        most: cells a song. One with more windows gets cells that are means of adjacent windows, without those
            that are silent.
    """
    songs = column.combine_chunks()
    lengths = np.asarray(songs.value_lengths().fill_null(0), np.int64)
    windows = songs.flatten()
    starts = np.asarray(windows.field("start_s"), np.float64)
    p = windows.field("p")
    sounds = ~np.asarray(p.is_null(), bool)
    probabilities = np.zeros((len(sounds), labels))
    probabilities[sounds] = np.asarray(p.drop_null().flatten(), np.float64).reshape(-1, labels)
    firsts, counts = _cells(lengths, most)
    return Timelines(
        counts,
        lengths > counts,
        np.round(10 * starts[firsts]).astype(np.int64),
        _levels(probabilities, sounds, firsts),
    )


def _cells(counts: _Ints, most: int) -> tuple[_Ints, _Ints]:
    """The window with which each cell begins, and how many cells each song has."""
    cells = np.minimum(counts, most)
    ends = np.cumsum(cells)
    number = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - cells, cells)  # of a cell in its song
    spread = -(-number * np.repeat(counts, cells) // np.repeat(cells, cells))
    return np.repeat(np.cumsum(counts) - counts, cells) + spread, cells


def _levels(
    probabilities: npt.NDArray[np.float64], sounds: npt.NDArray[np.bool_], firsts: _Ints
) -> npt.NDArray[np.uint8]:
    if not len(firsts):
        return np.zeros((probabilities.shape[1], 0), np.uint8)
    heard = np.add.reduceat(sounds.astype(np.int64), firsts)
    means = np.add.reduceat(probabilities, firsts, axis=0) / np.maximum(heard, 1)[:, None]
    levels = np.round(LEVELS * means).astype(np.uint8)
    levels[heard == 0] = SILENT
    return np.ascontiguousarray(levels.T)
