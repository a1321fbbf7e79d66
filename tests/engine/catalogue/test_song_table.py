"""The table of songs at every width."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.catalogue.song_table import console_of_stdout, print_songs
from merkit.engine.catalogue.timeline_line import Cells
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.text.escape import for_terminal, text_from_path
from rich.cells import cell_len
from rich.console import Console

LABELS = ("happy", "tense", "sad", "calm")
P = (0.1, 0.2, 0.6, 0.1)
REASON = "not an audio file that libsndfile or FFmpeg can open"
SONGS = [
    SongLabel("music/A.R. Rahman/Rockstar/01 Phir Se Ud Chala.mp3", None, "sad", P, 241.5),
    SongLabel("m/bad.mp3", REASON),
    SongLabel("last.mp3", None, "calm", (0.1, 0.1, 0.05, 0.75), 3601.0),
]


def printed(
    songs: list[SongLabel], width: int, labels: tuple[str, ...] = LABELS, timelines: Sequence[Cells] = ()
) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_songs(console, songs, labels, timelines)
    lines = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(cell_len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def test_a_wide_terminal_has_every_label() -> None:
    assert printed(SONGS, 100) == [
        "song                                                emotion  happy  tense  sad  calm  length",
        "music/A.R. Rahman/Rockstar/01 Phir Se Ud Chala.mp3  sad        10%    20%  60%   10%    4:02",
        "m/bad.mp3                                           error",
        f"  {REASON}",
        "last.mp3                                            calm       10%    10%   5%   75%   60:01",
    ]


def test_a_narrower_one_the_share_of_the_best_and_the_length() -> None:
    assert printed(SONGS, 60) == [
        "song                                  emotion  share  length",
        "music/A.R. Rahman/Rockstar/01 Phir    sad        60%    4:02",
        "Se Ud Chala.mp3",
        "m/bad.mp3                             error",
        f"  {REASON}",
        "last.mp3                              calm       75%   60:01",
    ]


def test_what_is_unsure_and_what_has_no_emotion() -> None:
    songs = [
        SongLabel("a.mp3", None, "sad", P, 61, verdict="sure"),
        SongLabel("b.mp3", None, "sad", P, 61, verdict="unsure"),
        SongLabel("c.mp3", None, None, P, 61, verdict="not_music"),
        SongLabel("d.mp3", verdict="silence"),
    ]
    lines = [line.split() for line in printed(songs, 80)]
    assert [line[:2] for line in lines[1:]] == [
        ["a.mp3", "sad"],
        ["b.mp3", "sad?"],
        ["c.mp3", "not_music"],
        ["d.mp3", "silence"],
    ]
    assert [line[-1] for line in lines[1:]] == ["1:01", "1:01", "1:01", "silence"]


def test_40_columns() -> None:
    assert printed(SONGS, 40) == [
        "song                      emotion  share",
        "music/A.R.                sad        60%",
        "Rahman/Rockstar/01 Phir",
        "Se Ud Chala.mp3",
        "m/bad.mp3                 error",
        "  not an audio file that libsndfile or",
        "  FFmpeg can open",
        "last.mp3                  calm       75%",
    ]


def test_20_columns() -> None:
    assert printed(SONGS, 20) == [
        "music/A.R.",
        "Rahman/Rockstar/01",
        "Phir Se Ud Chala.mp3",
        "  sad  60%",
        "m/bad.mp3",
        "  error  not an",
        "  audio file that",
        "  libsndfile or",
        "  FFmpeg can open",
        "last.mp3",
        "  calm  75%",
    ]


def test_a_timeline_stands_below_its_song() -> None:
    timelines = [(2, 2, None, 3), (), (3, 3)]
    for width, named in ((100, "calm       10%    10%   5%   75%   60:01"), (20, "  calm  75%")):
        lines = printed(SONGS, width, timelines=timelines)
        assert "  ssss··cc" in lines
        assert lines[lines.index("  cccc") - 1].endswith(named)
    assert printed(SONGS, 100, timelines=timelines)[-1] == "  h happy  t tense  s sad  c calm  · silent"


def test_artist_and_title_where_tags_have_them() -> None:
    songs = [
        SongLabel("m/1.mp3", None, "sad", P, 61, tags={"artist": "लता", "title": "दिल\x1b", "album": "x"}),
        SongLabel("m/2.mp3", None, "sad", P, 61, tags={"title": "Alone"}),
        SongLabel("m/3.mp3", None, "sad", P, 61, tags={"artist": "No title"}),
    ]
    names = [line.split("  ")[0] for line in printed(songs, 100)[1:]]
    assert names == ["लता - दिल\\x1b", "Alone", "m/3.mp3"]


def test_short_names_leave_room() -> None:
    songs = [SongLabel("a.mp3", None, "sad", P, 61)]
    assert printed(songs, 50)[0].split() == ["song", "emotion", *LABELS, "length"]
    assert printed([], 40) == []


@given(
    st.lists(
        st.tuples(st.text(max_size=60), st.none() | st.text(min_size=1, max_size=60)), min_size=1, max_size=4
    ),
    st.integers(8, 130),
)
def test_nothing_is_lost_at_any_width(names: list[tuple[str, str | None]], width: int) -> None:
    songs = [
        SongLabel(name, error) if error else SongLabel(name, None, "sad", P, 60) for name, error in names
    ]
    shown = "".join("".join(line.split()) for line in printed(songs, width))
    letters = iter(shown)  # in their order: other columns stand between the lines of a long name
    for name, error in names:
        assert all(letter in letters for letter in "".join(for_terminal(text_from_path(name)).split()))
        expected = "".join(for_terminal(error).split()) if error else "sad"
        assert expected in shown


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_names_of_others_are_no_markup_and_no_controls(width: int) -> None:
    songs = [
        SongLabel("[red]c[/red]\x1b[2J.mp3", None, "[b]x", (0.9, 0.1), 61),
        SongLabel("d\n.mp3", "no [such]\nfile"),
    ]
    text = "\n".join(printed(songs, width, ("[b]x", "y\a")))
    for part in ("[red]c[/red]", "\\x1b[2J", "[b]x", "90%", "d\\n.mp3", "[such]\\nfile"):
        assert part in text


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("37", 37)])
def test_the_width_of_the_console(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """``COLUMNS=0``, as some shells export it, says nothing of the terminal."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((80, 24)))
    assert console_of_stdout().width == width


def test_a_dumb_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of Emacs, and of logs that pretend to be one: its lines wrapped at 80."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((40, 20)))
    assert console_of_stdout().width == 40
