"""What mer-label shows, for pipes and for people."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from merkit.engine.catalogue import terminal
from merkit.engine.catalogue.output import output_from_text
from merkit.engine.catalogue.run import CatalogueRun
from merkit.engine.catalogue.terminal import Lines, Terminal, View, view_of
from merkit.engine.errors import MerError
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.text.streams import ReaderGoneError

LABELS = ("happy", "tense", "sad", "calm")
GOOD = SongLabel("a.mp3", None, "sad", (0.1, 0.2, 0.6, 0.1), 72.4)
BAD = SongLabel("b\x1b[31m.mp3", "not an\naudio file")


@dataclass
class Run:
    """The figures of a ``CatalogueRun``."""

    total: int = 2
    resumed: int = 0
    replaced: int = 0
    updated: int = 0
    dropped: int = 0
    pruned: int = 0
    absent: int = 0
    errors: int = 0
    strays: int = 0
    stray: str | None = None
    repeats: int = 0
    other_columns: int = 0
    skipped: int = 0
    skipped_suffixes: Counter[str] = field(default_factory=Counter)
    unwritten: int = 0
    albums: int = 0
    unlisted: list[str] = field(default_factory=list)
    stages: StageSeconds = field(default_factory=lambda: StageSeconds(1, 2, 3, 4, 5, 6, 7, 8))


def a_run(**figures: Any) -> CatalogueRun:
    return cast(CatalogueRun, Run(**figures))


def test_a_line_a_song_and_the_summary_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    with view_of(2, LABELS, output_from_text(None), verbose=True) as view:
        assert type(view) is Lines  # stdout is no terminal here
        view.show(GOOD)
        view.show(BAD)
    view.summary(a_run(), 2.0, None, stopped=False)
    printed = capsys.readouterr()
    assert printed.out == "a.mp3\tsad\t0.600\nb\\x1b[31m.mp3\terror\tnot an\\naudio file\n"
    assert printed.err == (
        "1 labelled, 1 failed in 2.0 s: 1.0 songs/s, 36x realtime\n"
        "emotions: 1 sad\n"
        "1 failed: not an\\naudio file\n"
        "CPU seconds: start 1.0, decode 2.0, resample 3.0, mel 4.0, network 5.0, write 6.0; "
        "the network waited 7.0 s for images, the workers 8.0 s for work\n"
    )


def test_what_is_unsure_and_what_has_no_emotion(capsys: pytest.CaptureFixture[str]) -> None:
    with view_of(3, LABELS, output_from_text(None)) as view:
        view.show(replace(GOOD, verdict="unsure"))
        view.show(replace(GOOD, emotion=None, verdict="not_music"))
        view.show(SongLabel("b.mp3", verdict="silence"))
    view.summary(a_run(), 2.0, None, stopped=False)
    printed = capsys.readouterr()
    assert printed.out == "a.mp3\tsad\t0.600\tunsure\na.mp3\tnot_music\nb.mp3\tsilence\n"
    assert printed.err.startswith("1 labelled, 1 unsure, 1 no music, 1 silence in 2.0 s: ")


def test_what_others_wrote_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    view = Lines()
    view.show(SongLabel("a\tb\u202e.mp3", None, "\x1b[2Jsad\t1", (0.1, 0.9)))
    view.summary(a_run(), 1.0, "out\x1b[2J/", stopped=False)
    printed = capsys.readouterr()
    assert printed.out == "a\\tb\\u202e.mp3\t\\x1b[2Jsad\\t1\t0.900\n"
    assert "1 row written to out\\x1b[2J/\n" in printed.err


def test_bugs_are_named_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    view = View()
    for error in ("internal error: KeyError: 'x'", "no such file", "internal error: y"):
        view.show(SongLabel("a.mp3", error))
    view.summary(a_run(), 1.0, None, stopped=False)
    assert "an error inside merkit cost 2 files the label" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("failure", [ReaderGoneError(), MerError("full")])
def test_lines_that_cannot_be_printed(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """They end a run that writes nothing else; where rows are written, only the lines end."""
    printed: list[str] = []

    def print_out(line: str) -> None:
        printed.append(line)
        if len(printed) == 2:
            raise failure

    monkeypatch.setattr(terminal, "print_out", print_out)
    view = view_of(3, LABELS, output_from_text("labels/"))
    for _ in range(4):
        view.show(GOOD)
    assert (view.done, len(printed), view.lost) == (4, 2, failure)
    printed.clear()
    view = view_of(3, LABELS, output_from_text(None))
    view.show(GOOD)
    with pytest.raises(type(failure)):
        view.show(GOOD)


def test_a_picture_comes_though_its_line_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def print_out(line: str) -> None:
        raise ReaderGoneError

    monkeypatch.setattr(terminal, "print_out", print_out)
    view = view_of(1, LABELS, output_from_text(None), draws=True)
    view.show(GOOD)
    assert isinstance(view.lost, ReaderGoneError)


def test_a_terminal_that_was_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What else a run does comes after its summary."""
    view = Terminal(1, LABELS)
    view.show(GOOD)
    assert view.lost is None
    monkeypatch.setattr(terminal, "stdout_was_closed", lambda: True)
    view.summary(a_run(), 1.0, None, stopped=False)
    assert isinstance(view.lost, ReaderGoneError)
    assert "1 labelled" in capsys.readouterr().err


def test_a_closed_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(MerError, match="standard output is closed"):
        view_of(1, LABELS, output_from_text(None))
    view_of(1, LABELS, output_from_text("labels/")).show(GOOD)
    view_of(1, LABELS, output_from_text(None), draws=True).show(GOOD)


def test_rows_on_stdout_have_it_for_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    view = view_of(1, LABELS, output_from_text("-"))
    view.show(BAD)
    view.summary(a_run(), 1.0, "-", stopped=False)
    printed = capsys.readouterr()
    assert (printed.out, "1 row written to stdout" in printed.err) == ("", True)


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Labels come if they are written nowhere else; the summary does not."""
    for out, printed in ((None, "a.mp3\tsad\t0.600\n"), ("labels/", ""), ("-", "")):
        with view_of(1, LABELS, output_from_text(out), quiet=True) as view:
            view.show(GOOD)
        view.summary(a_run(), 1.0, out, stopped=False)
        assert tuple(capsys.readouterr()) == (printed, "")


def test_the_summary_counts_what_was_said_and_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    view, five = View(), View()
    for emotion in ("sad", "calm", "sad"):
        view.show(SongLabel("a.mp3", None, emotion, (0.6, 0.4), 9.0))
    for reason in ("no such file", "bad", "no such file", *(f"only once, {n}" for n in range(200))):
        view.show(SongLabel("a.mp3", reason))
    view.summary(a_run(), 1.0, None, stopped=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "emotions: 2 sad, 1 calm"
    assert lines[2:5] == ["2 failed: no such file", "1 failed: bad", "1 failed: only once, 0"]
    assert len(lines) == 2 + 5 + 1  # the commonest, and that there are more
    assert lines[-1] == "197 failed: other reasons, each in its row (column error)"
    for reason in ("a", "b", "c", "d", "e"):
        five.show(SongLabel("a.mp3", reason))
    five.summary(a_run(), 1.0, None, stopped=False)
    assert capsys.readouterr().err.splitlines()[-1] == "1 failed: e"


def test_a_table_keeps_no_timelines() -> None:
    """200 of a day with a window every 0.1 s would be 20 GB."""
    view = Terminal(1, LABELS)
    view.show(SongLabel("a.mp3", None, "sad", (0.1, 0.2, 0.6, 0.1), 72.4, ((0.0, (0.1,) * 4),)))
    assert [label.windows for label in view._shown] == [()]
    view = Terminal(1, LABELS, timelines=True)
    view.show(SongLabel("a.mp3", None, "sad", (0.1, 0.2, 0.6, 0.1), 72.4, ((0.0, (0.1,) * 4),) * 9_000))
    assert [len(cells) for cells in view._timelines] == [240]


def test_the_summary_of_a_run_that_was_resumed_and_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    view = Lines()
    view.show(GOOD)
    unlisted = ["http://nas/list/\x1b[2J"]
    run = a_run(total=10, resumed=3, replaced=2, absent=5, errors=3, repeats=1, skipped=4, unlisted=unlisted)
    run.skipped_suffixes.update({".jpg": 1, ".\x1b[2j": 2})
    view.summary(run, 1.0, "out/", stopped=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "1 labelled, 3 already done, 1 repeat an earlier one, 4 other files skipped (.\\x1b[2j, .jpg) "
        "in 1.0 s: 1.0 songs/s, 72x realtime"
    )
    assert lines[1:] == [
        "emotions: 1 sad",
        "1 row written to out/",
        "2 rows of earlier runs replaced",
        "not there, or cannot be listed now: http://nas/list/\\x1b[2J",
        "5 files are not there now; their rows stay",
        "3 rows with errors are of earlier runs: --retry-errors tries them again",
        "stopped: 6 of 10 inputs were not labelled",
    ]


def test_albums_in_one_file_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for albums in (0, 1, 2):
        Lines().summary(a_run(albums=albums), 1.0, None, stopped=False)
    assert [line for line in capsys.readouterr().err.splitlines() if ".cue" in line] == [
        "1 file is an album that a .cue divides into tracks: it has one row, as one song (docs/INPUTS.md)",
        "2 files are albums that a .cue divides into tracks: each has one row, as one song (docs/INPUTS.md)",
    ]


@pytest.mark.parametrize("own", [0, 1])
def test_errors_of_what_was_not_named_have_advice_of_their_own(
    capsys: pytest.CaptureFixture[str], own: int
) -> None:
    view = Lines()
    view.summary(a_run(errors=2 + own, strays=2, stray="Musc\x1b[2J"), 1.0, None, stopped=False)
    lines = capsys.readouterr().err.splitlines()[1:]
    assert lines == [
        *["1 row with an error is of an earlier run: --retry-errors tries it again"] * own,
        "2 rows with an error of no input, as Musc\\x1b[2J: --forget it, or name it again",
    ]


def test_errors_of_lines_without_a_path_are_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    """They stand in the way of exit code 0."""
    Lines().summary(a_run(errors=2, strays=2, stray=""), 1.0, None, stopped=False)
    (line,) = capsys.readouterr().err.splitlines()[1:]
    assert line == "2 rows with an error of no input, as '': --forget it, or name it again"


def test_a_stop_after_the_last_file_left_none(capsys: pytest.CaptureFixture[str]) -> None:
    view = Lines()
    view.show(GOOD)
    view.summary(a_run(total=4, resumed=3), 1.0, "out/", stopped=True)
    assert "stopped" not in capsys.readouterr().err


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    Lines().summary(a_run(resumed=2), 0.5, None, stopped=False)
    assert capsys.readouterr().err == "0 labelled, 2 already done in 0.5 s: 0.0 songs/s, 0x realtime\n"


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.usefixtures("wide")
def test_a_table_without_markup_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    named = SongLabel("[red]c[/red].mp3", None, "[b]x", (0.9, 0.1), 61)
    with Terminal(3, ("[b]x", "y")) as view:
        view.show(named)
        view.show(SongLabel("d.mp3", "no [such] file"))
    view.summary(a_run(), 1.0, None, stopped=False)
    printed = capsys.readouterr().out
    for text in (
        "song",
        "emotion",
        "[red]c[/red].mp3",
        "[b]x",
        "90%",
        "10%",
        "1:01",
        "error",
        "no [such] file",
    ):
        assert text in printed, printed


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (120, "songs 0 min of music"),
        (80, "songs 0 min of music"),
        (60, "labelling"),
        (40, "0/12345"),
        (20, "0/12345"),
    ],
)
def test_the_progress_fits(columns: int, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    view = Terminal(12_345, LABELS)
    with view._console.capture() as capture:
        view._console.print(view._progress.get_renderable())
    (line,) = capture.get().splitlines()
    assert len(line) <= columns
    assert shown in line
    assert "-:--:--" in line  # no time left yet
    assert "…" not in line


@pytest.mark.usefixtures("wide")
def test_a_long_catalogue_is_cut_short_but_not_its_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_MAX_SHOWN", 3)
    with Terminal(9, LABELS) as view:
        for i in range(8):
            view.show(SongLabel(f"{i}.mp3", None, "sad", (0.1, 0.2, 0.6, 0.1), 72.4))
        view.show(SongLabel("last.mp3", "no such file"))
    view.summary(a_run(), 1.0, None, stopped=False)
    printed = capsys.readouterr().out
    assert "2.mp3" in printed
    assert "3.mp3" not in printed
    assert "last.mp3" in printed
    assert "... and 5 more" in printed


def test_rows_are_counted_that_were_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that went away in the run keeps the row that it had."""
    view = View()
    view.show(GOOD)
    view.show(SongLabel("b.mp3", "no such file", unreadable=True))
    view.summary(a_run(unwritten=1), 1.0, "out/", stopped=False)
    assert "1 row written to out/" in capsys.readouterr().err.splitlines()


def test_more_songs_than_the_progress_began_with() -> None:
    view = Terminal(1, LABELS)
    for _ in range(2):
        view.show(GOOD)
    (task,) = view._progress.tasks
    assert (task.completed, task.total) == (2, 2)
