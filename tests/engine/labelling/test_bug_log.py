"""Tracebacks of bugs go to a log of bounded size; rows have one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.errors import MerError
from merkit.engine.labelling import bug_log
from merkit.engine.labelling.bug_log import failure_from_bug, line_about_bugs, log_bug


def reason_from_bug(error: Exception, item: str) -> str:
    reason, text = failure_from_bug(error, item)
    log_bug(text)
    return reason


def bug(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_a_line_for_the_row_and_a_traceback_for_the_log() -> None:
    assert reason_from_bug(bug("one\ntwo"), "a song") == "internal error: ValueError: one"
    assert len(reason_from_bug(bug("x" * 10_000), "a song")) == 300
    assert reason_from_bug(bug(""), "a song") == "internal error: ValueError: "
    text = bug_log.bug_log().read_text()
    assert text.count("Traceback") == 3
    assert "'a song'" in text
    assert "raise ValueError(text)" in text
    assert str(bug_log.bug_log()) in line_about_bugs(2)
    assert "2 files" in line_about_bugs(2)
    assert "1 file " in line_about_bugs(1)


def test_names_that_are_no_text_can_be_logged() -> None:
    reason_from_bug(bug("\udcff"), "\udcff.mp3")
    assert b"udcff.mp3" in bug_log.bug_log().read_bytes()


def test_the_log_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bug_log, "_LARGEST", 2_000)
    for _ in range(30):
        reason_from_bug(bug("again"), "a song")
    sizes = {path.name: path.stat().st_size for path in bug_log.bug_log().parent.iterdir()}
    assert sizes.keys() == {"bugs.log", "bugs.old.log"}
    assert max(sizes.values()) < 3_000


def test_a_home_that_cannot_be_written_costs_the_log_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MER_HOME", str(tmp_path / "file"))
    assert reason_from_bug(bug("one"), "a song") == "internal error: ValueError: one"


def test_without_a_home_there_is_no_log_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise MerError("this user has no home folder")

    monkeypatch.setattr(bug_log, "models_home", no_home)
    log_bug("a traceback")
    assert "2 files" in line_about_bugs(2)
    assert "no log" in line_about_bugs(2)
