"""Text that anyone can have written, in each format that it leaves the program in."""

from __future__ import annotations

import csv
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.text.escape import (
    csv_line,
    for_csv,
    for_markdown,
    for_markdown_cell,
    for_terminal,
    text_from_path,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("गीत 💔.mp3", "गीत 💔.mp3"),
        ("a\x1b[31mred\a", "a\\x1b[31mred\\x07"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("right\u202eleft", "right\\u202eleft"),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
    ],
)
def test_for_a_terminal(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


@given(st.text(st.characters()))
def test_nothing_that_does_not_print_reaches_a_terminal(text: str) -> None:
    shown = for_terminal(text)
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(first: str) -> None:
    assert for_csv(f"{first}1+1") == f"'{first}1+1"


@pytest.mark.parametrize("value", ["song.mp3", "", "a=b", "'quoted", -1, 0.5, None])
def test_other_cells_stay_what_they_are(value: object) -> None:
    assert for_csv(value) == value


@given(st.lists(st.text() | st.none() | st.integers() | st.floats(allow_nan=False), min_size=2, max_size=5))
def test_a_line_of_csv_is_read_back_as_one_row(cells: list[object]) -> None:
    line = csv_line(cells)
    assert line.endswith("\n")
    (row,) = csv.reader(io.StringIO(line, newline=""))
    assert row == ["" if cell is None else str(for_csv(cell)) for cell in cells]


def test_lines_of_csv() -> None:
    assert csv_line(["a", 0.5, None, "b,c", 'say "x"']) == 'a,0.5,,"b,c","say ""x"""\n'
    assert csv_line(["a\r=1", "b\n=2", "\r=3"]) == '"a\r=1","b\n=2","\'\r=3"\n'


def test_markdown_without_markup() -> None:
    assert for_markdown("a\n| b |") == "a \\| b \\|"
    assert for_markdown("<b>*x*_y_`z`#[l](u)") == "\\<b\\>\\*x\\*\\_y\\_\\`z\\`\\#\\[l\\](u)"
    assert for_markdown("a\\|b") == "a\\\\\\|b"  # both are escaped: a backslash cannot free the pipe


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain *text*", "plain *text*"),
        ("a|b", "a\\|b"),
        ("a\\|b", "a\\\\\\|b"),
        ("<script>", "&lt;script>"),
        ("two\nlines\r\n", "two lines  "),
    ],
)
def test_a_cell_of_a_markdown_table(text: str, cell: str) -> None:
    assert for_markdown_cell(text) == cell


def test_paths() -> None:
    assert text_from_path("गीत.mp3") == "गीत.mp3"
    assert text_from_path(os.fsdecode(b"caf\xe9.mp3")) == "caf\\xe9.mp3"
