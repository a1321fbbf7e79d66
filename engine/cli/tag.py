"""mer-label tag: moods into the tags of files, and back."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..text.escape import for_terminal, text_from_path
from ..text.streams import ReaderGoneError, print_err, print_out
from .command import EXIT_SOME_FAILED, SETTINGS, FiniteRange, QuietCommand, report_errors
from .words import NAMED_PATH

if TYPE_CHECKING:
    from ..outputs.tagging.tag_run import Tagged

_MOST_SHOWN = 200  # songs on a terminal, and as many that need somebody's hand


@click.command(cls=QuietCommand, context_settings=SETTINGS)
@click.argument("labels", type=NAMED_PATH, metavar="LABELS")
@click.option("--write", is_flag=True, help="Change the files. Without it nothing is changed.")
@click.option("--undo", is_flag=True, help="Give tagged files the bytes that they had before.")
@click.option(
    "--model", "-m", metavar="NAME", help="Of several that labelled, the one to follow.  [default: the first]"
)
@click.option("--unsure", is_flag=True, help="Tag songs too whose verdict is unsure.")
@click.option(
    "--min-confidence",
    type=FiniteRange(min=0, max=1),
    default=0.0,
    metavar="SHARE",
    help="Leave less certain songs alone.",
)
@click.option("--replace", is_flag=True, help="Replace moods too that mer-label did not write.")
@click.option(
    "--touch",
    is_flag=True,
    help="Give tagged files the time of now: some players read only what has a new time.",
)
@report_errors
def main(
    labels: str,
    write: bool,
    undo: bool,
    model: str | None,
    unsure: bool,
    min_confidence: float,
    replace: bool,
    touch: bool,
) -> int:
    """Write each song's mood into its tags.

    LABELS is a folder that 'mer-label --out FOLDER/' wrote. What would be done is shown; --write does it.
    MOOD gets the emotion (TMOO in ID3v2.4, WM/Mood in WMA), MER_<LABEL> each label's probability.

    A file is replaced in one step by a copy with the same sound, time, owner and rights, and stays as it is
    if that cannot be. LABELS keeps what --undo needs. Songs that have changed since they were labelled, that
    are unsure, or that have a mood from elsewhere, are left alone and counted. A mood that mer-label wrote
    is taken away where newer labels call the song unsure or no music.

    \b
    Exit codes: 0 done, 1 failure, 2 wrong usage, 4 done but some
    files failed, have changed or are not there, 129/130/143 stopped.
    """
    if undo and (model or unsure or min_confidence or replace or touch):
        raise click.UsageError("--undo goes with --write alone: it is about all that was tagged")
    from ..outputs.tagging.tag_run import TagOptions, tag_songs
    from ..outputs.tagging.undo_run import undo_tags
    from ..signals import stop_event

    folder = Path(labels)
    with stop_event() as stop:
        if undo:
            songs = undo_tags(folder, write, stop.event.is_set)
        else:
            options = TagOptions(write, unsure, min_confidence, replace, touch, model)
            songs = tag_songs(folder, options, stop.event.is_set)
        counts: Counter = Counter()
        try:
            with closing(songs):
                _show(songs, counts)
        except ReaderGoneError:
            if write:
                print_err("the reader of stdout has gone: the rest was left alone")
            raise
    takes = ["--unsure takes those with that verdict"] if not unsure else []
    takes += ["a lower --min-confidence takes those below it"] if min_confidence else []
    for line in _summary(counts, write, undo, touch, ", ".join(takes)):
        print_err(line)
    if stop.code is not None:
        print_err("stopped: run the same command again to go on")
        return stop.code
    bad = {"FAILED", "CHANGED", "EARLIER", "MISSING"}
    return EXIT_SOME_FAILED if any(counts[outcome] for outcome in counts if outcome.name in bad) else 0


def _show(songs: Iterator[Tagged], counts: Counter) -> None:
    """Prints what becomes of each song: lines for a pipe, a progress and then a table for a terminal."""
    from ..outputs.tagging.tag_run import Outcome

    silent = (Outcome.SAME, Outcome.NO_LABEL, Outcome.UNSURE, Outcome.REMOTE)
    if sys.stdout is None or not sys.stdout.isatty():
        for song in songs:
            counts[song.outcome] += 1
            if song.outcome not in silent:
                print_out("\t".join(for_terminal(text) for text in _cells(song)))
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table
    from rich.text import Text

    from ..catalogue.song_table import console_of_stdout

    console = console_of_stdout()
    table = Table(box=None, pad_edge=False)
    for heading in ("song", "mood", "becomes"):
        table.add_column(heading, overflow="fold")
    shown: Counter = Counter()
    columns = (TextColumn("{task.completed:.0f} songs"), TimeElapsedColumn())
    is_shown = sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stderr=is_shown) as progress:
        task = progress.add_task("", total=None)
        for song in songs:
            counts[song.outcome] += 1
            progress.advance(task)
            if song.outcome not in silent and shown[song.outcome] < _MOST_SHOWN:
                shown[song.outcome] += 1
                style = "" if song.outcome is Outcome.WRITTEN else "dim"
                table.add_row(*(Text(for_terminal(text), style) for text in _cells(song)))
    if table.row_count:
        console.print(table)
    more = sum(counts[outcome] - shown[outcome] for outcome in shown)
    if more:
        console.print(f"[dim]... and {more} more[/dim]")


def _cells(song: Tagged) -> tuple[str, str, str]:
    """A song, its mood, and what that becomes or why not."""
    from ..outputs.tagging.tag_run import Outcome

    path = text_from_path(song.path)
    if song.outcome is Outcome.WRITTEN:
        return path, song.before or "", song.after or "as before"
    return path, song.before or "", f"({song.reason or _ONE[song.outcome.name]})"


_ONE = {
    "SAME": "as it was",
    "REMOVED": "goes: these labels do not say it",
    "OTHERS": "stays: --replace replaces it",
    "NO_PLACE": "no place for a mood",
    "MISSING": "not there now",
    "CHANGED": "has changed",
    "EARLIER": "as before its last mood only",
}


def _summary(counts: Counter, write: bool, undo: bool, touch: bool, takes_unsure: str) -> Iterator[str]:
    """A line for each kind of outcome, with what helps."""
    from ..outputs.tagging.tag_run import Outcome

    if not counts:
        yield "nothing was tagged from these labels" if undo else "the labels hold no song"
    help_of = {
        Outcome.REMOVED: "it was taken away" if write else "--write takes it away",
        Outcome.OTHERS: "--replace replaces it",
        Outcome.SAME: "their times stay, unless --undo --write takes the tags away first" if touch else "",
        Outcome.UNSURE: takes_unsure,
        Outcome.CHANGED: "mer-label labels again what has changed",
    }
    for outcome in Outcome:
        count = counts[outcome]
        if outcome is Outcome.WRITTEN:
            done = "restored" if undo else outcome.value
            if not write:
                done = f"to {'restore' if undo else 'tag'}" + (": --write does it" if count else "")
            if count or not undo:
                yield f"{count} {done}"
        elif count and undo:
            yield f"{count} {_UNDO[outcome.name]}"
        elif count:
            helps = help_of.get(outcome)
            yield f"{count} {outcome.value}" + (f": {helps}" if helps else "")


_UNDO = {
    "SAME": "as before already",
    "MISSING": "not found: restored once they are back, or labelled where they are now, unless changed",
    "CHANGED": "changed after tagging, and left so",
    "EARLIER": "as before their last mood only: others changed them before it. Undo that, then these again",
    "FAILED": "failed",
}
