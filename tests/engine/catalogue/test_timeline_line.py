"""Timelines as lines of colour or letters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.catalogue.timeline_line import (
    cells_from_windows,
    legend,
    letters_of_labels,
    line_from_cells,
)

LABELS = ("happy", "tense", "sad", "calm")


def test_the_likeliest_label_of_each_window() -> None:
    windows = [(0.0, (0.1, 0.7, 0.1, 0.1)), (10.0, None), (20.0, (0.1, 0.1, 0.1, 0.7))]
    assert cells_from_windows(windows, 10) == (1, None, 3)
    assert cells_from_windows([], 10) == ()


def test_adjacent_windows_are_averaged() -> None:
    windows = [(0.0, (0.6, 0.4)), (1.0, (0.0, 1.0)), (2.0, None), (3.0, None), (4.0, (0.9, 0.1)), (5.0, None)]
    assert cells_from_windows(windows, 3) == (1, None, 0)


@given(st.integers(0, 50), st.integers(1, 20))
def test_every_window_is_in_a_cell(count: int, most: int) -> None:
    """One loud window among silent ones is heard, wherever it stands."""
    for loud in range(count):
        windows = [(float(n), (0.0, 1.0) if n == loud else None) for n in range(count)]
        cells = cells_from_windows(windows, most)
        assert len(cells) == min(count, most)
        assert cells.count(1) == 1


def test_letters_where_there_are_no_colours() -> None:
    assert line_from_cells((0, 0, None, 3), LABELS, 40, is_coloured=False).plain == "hhhh··cc"
    assert line_from_cells((0, 0, None, 3), LABELS, 5, is_coloured=False).plain == "hh·c"
    assert legend(LABELS, is_coloured=False).plain == "h happy  t tense  s sad  c calm  · silent"


def test_colours() -> None:
    line = line_from_cells((1, 2), LABELS, 40, is_coloured=True)
    assert (line.plain, [span.style for span in line.spans]) == ("████", ["red", "blue"])


def test_letters_differ() -> None:
    assert letters_of_labels(("sad", "sleepy", "s", "दुख")) == ["s", "l", "2", "3"]


@given(st.lists(st.none() | st.integers(0, 3), max_size=300).map(tuple), st.integers(1, 200))
def test_no_line_is_wider_than_its_room(cells: tuple[int | None, ...], width: int) -> None:
    assert len(line_from_cells(cells, LABELS, width, is_coloured=True)) <= width
