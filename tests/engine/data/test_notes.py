"""Notes are one line a kind, and safe to print."""

from __future__ import annotations

from merkit.engine.data.notes import Notes


def test_one_line_a_kind():
    notes = Notes()
    notes.add("not read", "b.jpg")
    notes.add("left out", "c")
    notes.add("not read", "a.jpg")
    assert notes.lines() == ("not read: 2, the first b.jpg", "left out: c")


def test_notes_are_one_line_whatever_a_file_is_called():
    notes = Notes()
    notes.add("not read", "a\n\x1b[2J\u202e.jpg")
    assert notes.lines() == ("not read: a\\n\\x1b[2J\\u202e.jpg",)
