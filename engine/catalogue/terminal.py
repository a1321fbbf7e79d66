"""The output of mer-label: lines for a pipe, a progress bar and a table for a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from ..data.cleaning import quoted_label
from ..errors import MerError
from ..labelling.bug_log import BUG, line_about_bugs
from ..signals import at_first_signal
from ..text.escape import for_terminal, text_from_path
from ..text.streams import ReaderGoneError, print_err, print_out, stdout_was_closed
from .cue_sheets import line_about_albums
from .expand import words_of_skipped
from .output import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Progress

    from ..labelling.contract import StageSeconds
    from ..labelling.song_label import SongLabel
    from .output import Output
    from .run import CatalogueRun
    from .timeline_line import Cells

_MAX_SHOWN = 200  # labels, and as many errors, in the table
_WORDS = {"unsure": "unsure", "not_music": "no music", "silence": "silence"}  # in the summary, by verdict
_MAX_CELLS = 240  # of a timeline: no terminal is wider
_MAX_REASONS = 100  # that are told apart; those of the rest are counted together
_REASONS_SHOWN = 5
_SHORTEST_BAR = 8


def view_of(
    total: int,
    labels: tuple[str, ...],
    output: Output,
    quiet: bool = False,
    verbose: bool = False,
    timelines: bool = False,
    draws: bool = False,
) -> View:
    """What a run shows on stdout, beside what it writes to ``output``.

    Args:
        quiet: no progress, no summary; labels only if they are written nowhere else.
        verbose: the CPU seconds of each stage are in the summary.
        timelines: on a terminal, a line of colour for each song.
        draws: a picture comes of the run too: lines that cannot be printed do not end it.

    Raises:
        MerError: stdout is closed, and nothing of the run would go anywhere else.
    """
    has_rows = output.kind is not Kind.NOTHING
    if output.kind is Kind.STDOUT or (quiet and has_rows):
        return View(quiet, verbose)
    if not quiet and sys.stdout is not None and sys.stdout.isatty():
        return Terminal(total, labels, verbose, timelines)
    if sys.stdout is None and not (has_rows or draws):
        raise MerError("standard output is closed, and no other place for rows is named")
    return Lines(not (has_rows or draws), quiet, verbose)


class View:
    """Shows the summary alone, on stderr, and not even that if ``quiet``; a context manager.

    ``done`` counts songs, ``failed`` those with an error, ``unseen`` those of them that were not there or
    could not be read, ``bugs`` those that merkit itself is to blame for; ``seconds`` is the length of all.
    ``lost`` is the error with which stdout took no more: of a terminal only that it was closed.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self.done = self.failed = self.unseen = self.bugs = 0
        self.seconds = 0.0
        self.lost: ReaderGoneError | MerError | None = None
        self._verdicts: Counter[str | None] = Counter()
        self._quiet, self._verbose = quiet, verbose
        self._stack = ExitStack()
        self._emotions: Counter[str] = Counter()
        self._further: dict[str, Counter[str]] = {}
        self._reasons: Counter[str] = Counter()

    def show(self, label: SongLabel) -> None:
        """Shows a song's label or error, and counts it for the summary."""
        self.done += 1
        self.failed += label.error is not None
        self.unseen += label.unreadable
        self.bugs += (label.error or "").startswith(BUG)
        self.seconds += label.duration_s or 0.0
        self._verdicts[label.verdict] += 1
        if label.error and (label.error in self._reasons or len(self._reasons) < _MAX_REASONS):
            self._reasons[label.error] += 1
        if label.emotion:
            self._emotions[label.emotion] += 1
        for name, own in label.further.items():
            if own.emotion:
                self._further.setdefault(name, Counter())[own.emotion] += 1

    def summary(self, run: CatalogueRun, wall_s: float, out: str | None, stopped: bool) -> None:
        """Shows what a run of ``wall_s`` seconds did, and whether a signal ended it."""
        if self._quiet:
            return
        parts = [f"{sum(self._emotions.values())} labelled"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts += (f"{self._verdicts[key]} {words}" for key, words in _WORDS.items() if self._verdicts[key])
        if run.resumed:
            parts.append(f"{run.resumed} already done")
        if run.repeats:
            parts.append(f"{run.repeats} repeat an earlier one")
        if run.skipped:
            parts.append(words_of_skipped(run.skipped, run.skipped_suffixes))
        speed = f"{self.done / wall_s:.1f} songs/s, {self.seconds / wall_s:,.0f}x realtime"
        print_err(f"{', '.join(parts)} in {wall_s:.1f} s: {speed}")
        for name, emotions in (("emotions", self._emotions), *self._further.items()):
            counts = (f"{count} {quoted_label(emotion)}" for emotion, count in emotions.most_common())
            if emotions:
                print_err(f"{for_terminal(name)}: {', '.join(counts)}")
        commonest = self._reasons.most_common(_REASONS_SHOWN)
        for reason, count in commonest:
            print_err(f"{count} failed: {reason}")
        if rest := self.failed - sum(count for _, count in commonest):
            print_err(f"{rest} failed: other reasons, each in its row (column error)")
        if self.done and self._verbose:
            print_err(_stages(run.stages))
        if out:
            print_err(f"{_rows(self.done - run.unwritten)} written to {'stdout' if out == '-' else out}")
        if run.albums:
            print_err(line_about_albums(run.albums))
        for line in _about_earlier_runs(run):
            print_err(line)
        left = run.total - run.resumed - self.done
        if stopped and left > 0:
            print_err(f"stopped: {left} of {run.total} inputs were not labelled")
        if self.bugs:
            print_err(line_about_bugs(self.bugs))

    def __enter__(self) -> Self:
        if not self._quiet:
            self._stack.enter_context(at_first_signal(_say_that_it_ends))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Lines(View):
    """For pipes: one tab-separated line a song on stdout.

    Args:
        only_here: the lines are all that comes of the run: it ends with them. Otherwise more comes of it,
            whatever becomes of the lines.
    """

    def __init__(self, only_here: bool = True, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet, verbose)
        self._only_here = only_here

    def show(self, label: SongLabel) -> None:
        """Prints a song's label or error.

        Raises:
            ReaderGoneError, MerError: as ``print_out``, where nothing comes of the run but these lines.
        """
        super().show(label)
        if self.lost:
            return
        path = for_terminal(text_from_path(label.path))
        if label.error:
            line = f"{path}\terror\t{for_terminal(label.error)}"
        elif label.emotion is None:
            line = f"{path}\t{label.verdict}"
        else:
            line = f"{path}\t{_said(label)}"
        for name, own in label.further.items():
            said = _said(own) if own.emotion else own.verdict
            line += f"\t{for_terminal(name)}\t{said}"
        try:
            print_out(line)
        except (ReaderGoneError, MerError) as error:
            if self._only_here:
                raise
            self.lost = error


class Terminal(View):
    """For people: a progress bar with the time left, then a table."""

    def __init__(
        self, total: int, labels: tuple[str, ...], verbose: bool = False, timelines: bool = False
    ) -> None:
        super().__init__(verbose=verbose)
        from .song_table import console_of_stdout

        self._has_timelines = timelines
        self._total, self._labels = total, labels
        self._shown: list[SongLabel] = []
        self._timelines: list[Cells] = []
        self._console = console_of_stdout()
        self._progress = _progress(self._console, total)
        self._task = self._progress.add_task("", total=total, music=_music(0))

    def show(self, label: SongLabel) -> None:
        super().show(label)
        # Only so many: memory must not grow with the catalogue.
        if self.done <= _MAX_SHOWN or (label.error and self.failed <= _MAX_SHOWN):
            self._shown.append(replace(label, windows=()))  # a day's timeline is 100 MB
            if self._has_timelines:
                from .timeline_line import cells_from_windows

                self._timelines.append(cells_from_windows(label.windows, _MAX_CELLS))
        total = max(self._total, self.done)  # a row that was to get new tags may turn out another song's
        self._progress.update(self._task, advance=1, total=total, music=_music(self.seconds))

    def summary(self, run: CatalogueRun, wall_s: float, out: str | None, stopped: bool) -> None:
        from .song_table import print_songs

        print_songs(self._console, self._shown, self._labels, self._timelines)
        if self.done > len(self._shown):
            self._console.print(f"[dim]... and {self.done - len(self._shown)} more[/dim]")
        super().summary(run, wall_s, out, stopped)
        if stdout_was_closed():
            self.lost = ReaderGoneError()

    def __enter__(self) -> Self:
        self._stack.callback(self._progress.stop)
        self._progress.start()
        return super().__enter__()


def _say_that_it_ends() -> None:
    with suppress(RuntimeError):  # the signal came while a line was printed there
        print_err("finishing the files under way; the same signal again stops at once")


def _said(label: SongLabel) -> str:
    """An emotion, its confidence, and whether it is unsure."""
    unsure = "\tunsure" if label.verdict == "unsure" else ""
    return f"{for_terminal(label.emotion or '')}\t{label.confidence:.3f}{unsure}"


def _progress(console: Console, total: int) -> Progress:
    """A bar, the songs, the music heard and the time left; less of it where the terminal is narrow."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    room = console.width - len(f"labelling  {total}/{total}  time left 0:00:00")
    music = len(" songs 0000 min of music")
    columns = [MofNCompleteColumn()]
    if room >= _SHORTEST_BAR:
        has_music = room >= _SHORTEST_BAR + music
        bar = BarColumn(min(40, room - music * has_music))
        more = [TextColumn("songs"), TextColumn("{task.fields[music]}")] if has_music else []
        columns = [TextColumn("labelling"), bar, *columns, *more, TextColumn("time left")]
    is_shown = sys.stderr.isatty()  # what 2>log takes is not for the terminal
    return Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, redirect_stderr=is_shown
    )


def _music(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.0f} min of music"
    hours = seconds / 3600
    return f"{hours:.1f} h of music" if hours < 100 else f"{hours:.0f} h of music"


def _about_earlier_runs(run: CatalogueRun) -> Iterator[str]:
    """What became of rows of earlier runs, and what stands in the way of exit code 0."""
    if run.other_columns:
        names = "1 input names" if run.other_columns == 1 else f"{run.other_columns} inputs name"
        yield f"{names} a file again with other columns: its row has the columns that came first"
    if run.replaced:
        yield f"{_rows(run.replaced)} of earlier runs replaced"
    if run.updated:
        yield f"{_rows(run.updated)} of earlier runs got the tags or columns of today"
    if run.dropped:
        yield f"{_rows(run.dropped)} went: second rows of one file, or errors of what is no file"
    if run.pruned:
        yield f"{_rows(run.pruned)} went: the files are gone"
    yield from (f"not there, or cannot be listed now: {path}" for path in run.unlisted[:_REASONS_SHOWN])
    if run.absent == 1:
        yield "1 file is not there now; its row stays"
    elif run.absent:
        yield f"{run.absent} files are not there now; their rows stay"
    if (own := run.errors - run.strays) == 1:
        yield "1 row with an error is of an earlier run: --retry-errors tries it again"
    elif own:
        yield f"{own} rows with errors are of earlier runs: --retry-errors tries them again"
    if run.strays:
        path = for_terminal(run.stray or "") or "''"
        yield f"{_rows(run.strays)} with an error of no input, as {path}: --forget it, or name it again"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _stages(stages: StageSeconds) -> str:
    """The CPU seconds of each stage, and how long network and workers waited for each other."""
    names = ("start", "decode", "resample", "mel", "network", "write")
    parts = ", ".join(f"{name} {getattr(stages, name):.1f}" for name in names)
    waits = f"the network waited {stages.waited:.1f} s for images, the workers {stages.idle:.1f} s for work"
    return f"CPU seconds: {parts}; {waits}"
