"""Timelines as small numbers: cut and averaged as by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.outputs.page.timelines import LEVELS, SILENT, timelines_from_column

_TYPE = pa.list_(pa.struct([("start_s", pa.float64()), ("p", pa.list_(pa.float32()))]))

Window = tuple[float, list[float] | None]


def column(*songs: list[Window] | None) -> pa.ChunkedArray:
    rows = [song and [{"start_s": start, "p": p} for start, p in song] for song in songs]
    return pa.chunked_array([pa.array(rows, _TYPE)])


def test_short_timelines_stay_as_they_are() -> None:
    songs = column([(0.0, [0.1, 0.9]), (12.34, None)], None, [], [(5.0, [1.0, 0.0])])
    timelines = timelines_from_column(songs, 2, 10)
    assert timelines.counts.tolist() == [2, 0, 0, 1]
    assert timelines.starts_ds.tolist() == [0, 123, 50]
    assert timelines.levels.tolist() == [[5, SILENT, 50], [45, SILENT, 0]]


def test_long_timelines_get_means_of_what_sounds() -> None:
    song: list[Window] = [(0.0, [1.0, 0.0]), (1.0, [0.0, 1.0]), (2.0, None), (3.0, [0.2, 0.8]), (4.0, None)]
    timelines = timelines_from_column(column([(9.0, None)], song), 2, 2)
    # Cells of three and two windows: 0 to 2 s, of which the last is silent, and 3 to 4 s.
    assert timelines.counts.tolist() == [1, 2]
    assert timelines.merged.tolist() == [False, True]
    assert timelines.starts_ds.tolist() == [90, 0, 30]
    assert timelines.levels.tolist() == [[SILENT, 25, 10], [SILENT, 25, 40]]


def test_no_songs_and_no_windows() -> None:
    for songs in (column(), column(None, [])):
        timelines = timelines_from_column(songs, 3, 5)
        assert (timelines.counts.sum(), timelines.starts_ds.size) == (0, 0)
        assert timelines.levels.shape == (3, 0)


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 12))
def test_cells_cover_a_song_in_order(counts: list[int], most: int) -> None:
    songs: list[list[Window]] = [[(float(start), [0.5, 0.5]) for start in range(n)] for n in counts]
    timelines = timelines_from_column(column(*songs), 2, most)
    assert timelines.counts.tolist() == [min(count, most) for count in counts]
    place = 0
    for count, cells in zip(counts, timelines.counts, strict=True):
        starts = timelines.starts_ds[place : place + cells] / 10
        place += cells
        if count:
            assert starts[0] == 0
            widths = np.diff([*starts, count])
            assert widths.min() >= 1
            assert widths.max() - widths.min() <= 1  # as even as whole windows can be
    assert (timelines.levels == LEVELS // 2).all()
