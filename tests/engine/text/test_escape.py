"""Text that anyone can have written, in each format that it leaves the program in."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.text.escape import (
    csv_line,
    for_csv,
    for_markdown,
    for_markdown_cell,
    for_terminal,
    path_from_text,
    storable,
    text_from_csv,
    text_from_path,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("गीत 💔.mp3", "गीत 💔.mp3"),
        ("a\x1b[31mred\a", "a\\x1b[31mred\\x07"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("right\u202eleft", "right\\u202eleft"),
        ("a\x1b[31m\x85b\x7f", "a\\x1b[31m\\x85b\\x7f"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\u2067a\u2069", "\\u2067a\\u2069"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),  # as rows hold it
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_for_a_terminal(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        "宇多田\u3000First",
        "क्\u200dष",
        "می\u200cشود",
        "Café\u00a0del Mar",
        "\u200eשם\u200f",
        "soft\u00adhyphen",
        "\ufeffTitle\u200b",
        "👩\u200d👧\ufe0f",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland
        "\uf021 as SMB writes a star",
        "\U0001d173",
        "C:\\x1b",
    ],
)
def test_other_characters_of_names_stay(name: str) -> None:
    assert for_terminal(name) == name == text_from_path(name)


HARMFUL = {"Cc", "Cs", "Zl", "Zp"}
TURNING = {"LRO", "RLO", "LRE", "RLE", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(st.characters(exclude_categories=())))
def test_a_terminal_gets_one_line_without_what_harms_and_the_rest_as_it_is(text: str) -> None:
    shown = for_terminal(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    for character in shown:
        assert unicodedata.category(character) not in HARMFUL
        assert unicodedata.bidirectional(character) not in TURNING
    ordinary = [
        c
        for c in text
        if unicodedata.category(c) not in HARMFUL and unicodedata.bidirectional(c) not in TURNING
    ]
    rest = iter(shown)
    assert all(c in rest for c in ordinary)  # in their order
    if len(ordinary) == len(text):
        assert shown == text


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(first: str) -> None:
    assert for_csv(f"{first}1+1") == f"'{first}1+1"


@pytest.mark.parametrize(
    "text",
    [
        "-0,35",
        "-1.234,5",
        "+91 98",
        "-1-2",
        "-1+cmd|' /C calc'!A0",
        "-2024-01",
        "-1_000",
        "-\uff11",
        "-",
        "--1",
        *["+", "-.", "-e5", "-1e", "-1\n", "-1 ", "-5%", "-$5", "-0x1", "-info", "-inf()", "-\u0131nf"],
        *["=1", "@1", "\t1", "\r1", "\n1", "'=1", "''-0.35", " =1", "\0=1", "\u200b+1", "\ufeff@1"],
        *["\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"],
    ],
)
def test_what_begins_like_a_number_and_is_none_keeps_the_guard(text: str) -> None:
    assert for_csv(text) == f"'{text}"


@pytest.mark.parametrize(
    "text",
    [
        "-0.35",
        "-7.2",
        "+3",
        "-1e-5",
        "-1E+5",
        "-.5",
        "-5.",
        "-2024",
        "+919812345678",
        "-0",
        "-inf",
        "-Infinity",
        "+nan",
        "-000.100",
    ],
)
def test_a_number_stays_a_number(text: str) -> None:
    assert for_csv(text) == text
    float(text)


@given(
    st.integers() | st.floats(),
    st.floats(-1e9, 1e9),
    st.sampled_from(["{:g}", "{:e}", "{:E}", "{:f}", "{:.0f}", "{:+.3f}", "{:+}"]),
)
def test_every_number_is_read_back_from_csv(number: float, other: float, form: str) -> None:
    """Whether a row holds it as a number or, from a CSV manifest, as text."""
    cells = [number, repr(number), form.format(other)]
    (row,) = csv.reader(io.StringIO(csv_line(cells), newline=""))
    assert row == [repr(number), *cells[1:]]


@given(st.sampled_from("=+-@\t\r"), st.text() | st.text("0123456789.,eE+-infINFaxX() \n", max_size=8))
def test_no_text_that_a_spreadsheet_could_run_passes(first: str, rest: str) -> None:
    cell = for_csv(first + rest)
    if cell == first + rest:
        # Nothing but what float() reads, in ASCII: no name, reference, operator or call.
        float(cell)
        assert first in "+-"
        assert set(cell.lower()[1:]) <= set("0123456789.e+-") or cell[1:].lower() in (
            "inf",
            "infinity",
            "nan",
        )


@pytest.mark.parametrize("value", ["song.mp3", "", "a=b", "'quoted", "2-1", -1, 0.5, None])
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
    assert csv_line(["a\r=1", "b\n=2", "\r=3"]) == '"a\r\'=1","b\n\'=2","\'\r\'=3"\n'


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("x;=1+1;y", "x;'=1+1;y"),
        ("x\t +1", "x\t' +1"),
        ("x;-1", "x;'-1"),
        ("\r-1", "'\r'-1"),
        ("A; B - C = D, @E", "A; B - C = D, @E"),
    ],
)
def test_what_may_begin_a_cell_for_another_reader(text: str, cell: str) -> None:
    assert for_csv(text) == cell


_HOSTILE = st.text(st.sampled_from("'=+-@\t\r\n; \0\u200b\uff1d1.,e\"x"), max_size=8)


@given(st.text() | _HOSTILE)
def test_a_cell_is_read_back(text: str) -> None:
    (row,) = csv.reader(io.StringIO(csv_line([text, ""]), newline=""))
    assert text_from_csv(row[0]) == text


@given(_HOSTILE | st.text())
def test_no_reader_begins_a_cell_with_a_formula(text: str) -> None:
    """Whatever it takes for the end of a cell, and whatever it drops in front."""
    cell = for_csv(text)
    for part in re.split("[;\t\r\n]", cell):
        shown = "".join(c for c in part if unicodedata.category(c) not in ("Cc", "Cf", "Zs", "Zl", "Zp"))
        if unicodedata.normalize("NFKC", shown[:1]) in ("=", "+", "-", "@"):
            float(cell)
    assert not cell.startswith(("\t", "\r", "\n"))


@pytest.mark.parametrize("cell", ["'quoted", "rock 'n' roll", "it's; 'ok", "'-0.35", "", "a=b", "'"])
def test_other_apostrophes_are_no_guard(cell: str) -> None:
    assert text_from_csv(cell) == cell


def test_markdown_without_markup() -> None:
    assert for_markdown("a\n| b |") == "a \\| b \\|"
    assert for_markdown("<b>*x*_y_`z`#[l](u)") == "\\<b\\>\\*x\\*\\_y\\_\\`z\\`\\#\\[l\\](u)"
    assert for_markdown("\x1b[2J\u202e&lt;") == "\\\\x1b\\[2J\\\\u202e\\&lt;"
    assert for_markdown("a\\|b") == "a\\\\\\|b"  # both are escaped: a backslash cannot free the pipe


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain *text*", "plain *text*"),
        ("a|b", "a\\|b"),
        ("a\\|b", "a\\\\\\|b"),
        ("<script>", "&lt;script>"),
        ("two\nlines\r\n", "two lines  "),
        ("\x1b[2J\u202e\x85", "\\x1b[2J\\u202e\\x85"),
    ],
)
def test_a_cell_of_a_markdown_table(text: str, cell: str) -> None:
    assert for_markdown_cell(text) == cell


def test_paths() -> None:
    assert text_from_path("गीत.mp3") == "गीत.mp3"
    assert text_from_path(os.fsdecode(b"caf\xe9.mp3")) == "caf\\xe9.mp3"
    assert text_from_path("\ud800") == "\\ud800"  # of no file, but a row must hold it
    assert storable("a\ud83d\udce9") == "a\\ud83d\\xe9"
    assert path_from_text("गीत.mp3") == "गीत.mp3"


def test_paths_in_the_locale_c() -> None:
    """There the characters of a path are its bytes; rows hold its text."""
    code = (
        "import os, sys; from merkit.engine.text.escape import path_from_text, text_from_path\n"
        "path = os.fsdecode('2\\u66f2.ogg'.encode()) if sys.getfilesystemencoding() == 'ascii' else exit(3)\n"
        "assert ascii(text_from_path(path)) == ascii('2\\u66f2.ogg'), ascii(path)\n"
        "assert path_from_text('2\\u66f2.ogg') == path\n"
        "assert text_from_path('2\\u66f2.ogg') == '2\\u66f2.ogg'\n"  # of no file
        "assert text_from_path(os.fsdecode(b'No\\xebl')) == 'No\\\\xebl'\n"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr  # 3: a system without that locale


@pytest.mark.parametrize("name", [b"\xe9t\xe9", b"\xe2\x82", b"\xed\xa0\x80", b"\xff\xc3\xa9\xf0\x9f"])
def test_bytes_of_a_path_are_spelt_as_python_spells_them(name: bytes) -> None:
    assert text_from_path(os.fsdecode(name)) == name.decode("utf-8", "backslashreplace")


def test_a_path_of_a_million_other_bytes_takes_no_minutes() -> None:
    start = time.process_time()
    assert text_from_path("\udce9" * 1_000_000) == "\\xe9" * 1_000_000
    assert time.process_time() - start < 10
