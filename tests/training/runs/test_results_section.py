"""A section between marks is replaced, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.errors import MerError
from merkit.training.runs.results_section import write_section


def test_a_section_is_added_once_and_then_replaced(tmp_path: Path):
    file = tmp_path / "docs" / "RESULTS.md"
    write_section(file, "one", ["a", "b"])
    write_section(file, "two", ["c"])
    file.write_text(file.read_text() + "\nBelow.\n")
    write_section(file, "one", [r"d \1"])
    text = file.read_text()
    assert text.split("\n\n") == [
        "# Results",
        "<!-- mer-train one: begin -->",
        r"d \1",
        "<!-- mer-train one: end -->",
        "<!-- mer-train two: begin -->",
        "c",
        "<!-- mer-train two: end -->",
        "Below.\n",
    ]


def test_a_file_that_is_no_text_stays_as_it_is(tmp_path: Path):
    file = tmp_path / "R.md"
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(MerError, match="not a text in UTF-8"):
        write_section(file, "one", ["a"])
    assert file.read_bytes() == b"\xff\xfe\xff"


@pytest.mark.parametrize("lost", ["begin", "end"])
def test_a_mark_that_was_lost_costs_nothing_that_stands_below(lost: str, tmp_path: Path):
    file = tmp_path / "R.md"
    write_section(file, "one", ["a"])
    text = file.read_text().replace(f"<!-- mer-train one: {lost} -->", "My notes.")
    file.write_text(text)
    with pytest.raises(MerError, match=r"has not both .* put the lost mark back"):
        write_section(file, "one", ["b"])
    assert file.read_text() == text


def test_a_second_beginning_is_not_taken_for_what_is_between(tmp_path: Path):
    file = tmp_path / "R.md"
    write_section(file, "one", ["a"])
    file.write_text("<!-- mer-train one: begin -->\n\nMy notes.\n\n" + file.read_text())
    write_section(file, "one", ["b"])
    assert "My notes." in file.read_text()


def test_lines_end_as_they_did(tmp_path: Path):
    file = tmp_path / "R.md"
    file.write_bytes(b"# T\r\n\r\ntext\r\n")
    for content in ("a", "b"):
        write_section(file, "one", [content])
    written = file.read_bytes()
    assert written.startswith(b"# T\r\n\r\ntext\r\n\r\n<!-- ")
    assert written.count(b"\n") == written.count(b"\r\n")
    assert b"\r\nb\r\n" in written
