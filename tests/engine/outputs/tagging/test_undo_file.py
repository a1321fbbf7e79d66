"""The lines of the undo file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from merkit.engine.outputs.tagging import undo_file
from merkit.engine.outputs.tagging.undo_file import Facts, Record, UndoFile


def file_of_one(folder: Path) -> UndoFile:
    file = UndoFile(folder)
    file.append(Record("/a.flac", Facts(1, 2, "b"), Facts(3, 4, "a"), ["AAAA"]))
    return file


def test_a_found_record_is_of_another_format(tmp_path: Path) -> None:
    """A merkit that knows no such field says that another version wrote it, not that it is damaged."""
    file = file_of_one(tmp_path)
    assert json.loads(file.path.read_bytes())["format"] == 1
    ((_, record),) = file.records()
    file.keep({0}, {0})
    assert json.loads(file.path.read_bytes())["format"] == 2
    ((_, found),) = file.records()
    assert (record.found, found.found) == (False, True)
    file.keep({0}, {0})
    assert [each.found for _, each in file.records()] == [True]


def test_a_line_that_would_be_too_long_is_not_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of_one(tmp_path)
    line = file.path.read_bytes()
    monkeypatch.setattr(undo_file, "LONGEST", len(line) + 5)
    file.keep({0}, {0})
    assert file.path.read_bytes() == line
