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
