"""mer-label: a folder of songs in, emotions out."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from .errors import MerError

if TYPE_CHECKING:
    from .catalog import RowFile
    from .labeler import SongLabel

EXIT_SOME_FAILED = 4


class WindowCountType(click.ParamType):
    """A number above 0, or "all"."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "all" or isinstance(value, int):
            return value
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a number above 0 nor 'all'", param, ctx)
        return int(value)


def report_errors(command: Callable[..., int]) -> Callable[..., None]:
    """Ends a command with its return value, or a MerError as one line and its exit code."""
    from functools import wraps

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            code = command(*arguments, **options)
        except MerError as error:
            click.echo(f"Error: {error}", err=True)
            code = error.exit_code
        sys.exit(code)

    return run


@contextmanager
def stopping() -> Any:
    """Yields (event, codes): Ctrl-C and SIGTERM set the event and note 130 or 143; twice is at once."""
    stop, codes = threading.Event(), []

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()
        codes.append(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield stop, codes
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@click.option("--model", "-m", metavar="NAME|FILE", help="A bundled model, or an .onnx file.  [default: mobilenetv3]")
@click.option("--windows", "-w", type=WindowCountType(), metavar="N|all", default=3, help="Windows a song, evenly spread, or all.")
@click.option("--hop", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Step of --windows all.  [default: a window's length]")  # fmt: skip
@click.option("--runtime", type=click.Choice(["onnxruntime", "null"]), help="What runs the network.  [default: by the model's suffix]")  # fmt: skip
@click.option("--out", "-o", metavar="FILE", help="Write rows to a .parquet, .csv or .jsonl file.")
@click.option("--workers", "-j", type=click.IntRange(min=0), default=0, help="Processes that decode; 0 is one a core.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=1), default=120.0, metavar="SECONDS", help="For decoding one file.")  # fmt: skip
@click.version_option(package_name="mer")
@report_errors
def main(
    paths: tuple[str, ...],
    model: str | None,
    windows: Any,
    hop: float | None,
    runtime: str | None,
    out: str | None,
    workers: int,
    timeout: float,
) -> int:
    """Say what emotion each song carries.

    PATH is an audio or video file, taken whatever its name, or a folder, searched for files with an
    audio or video suffix. Every input gets one row: a label, or the reason why there is none.

    \b
    Exit codes: 0 all labelled, 1 nothing done, 2 wrong usage, 4 done but some files failed,
    130/143 stopped by Ctrl-C/SIGTERM (what was done is written).
    """
    if hop is not None and windows != "all":
        raise click.UsageError("--hop goes with --windows all")
    from .artifact import DEFAULT_MODEL, open_artifact
    from .catalog import RowFile, row_from_label
    from .decoders import Limits
    from .images import ImageOptions
    from .labeler import label_files
    from .runtimes import open_runtime
    from .sources import inputs_from_paths

    artifact = open_artifact(model or DEFAULT_MODEL)
    inputs = inputs_from_paths(paths)
    if not inputs.paths:
        raise MerError(f"no audio in {', '.join(paths)} ({inputs.skipped} other files skipped)")
    options = ImageOptions(artifact.spec.audio, windows, hop, Limits(seconds=timeout))
    began = time.perf_counter()
    with ExitStack() as stack:
        stop, codes = stack.enter_context(stopping())
        rows: RowFile | None = stack.enter_context(RowFile(out, artifact.spec.labels)) if out else None
        view = stack.enter_context(_view(len(inputs.paths), artifact.spec.labels))
        network = stack.enter_context(open_runtime(artifact, runtime))
        for label in label_files(inputs.paths, artifact, network, options, workers, stop):
            if rows:
                rows.write(row_from_label(label, artifact))
            view.show(label)
    view.summary(len(inputs.paths), inputs.skipped, time.perf_counter() - began, out, stopped=bool(codes))
    if codes:
        return codes[0]
    return EXIT_SOME_FAILED if view.failed else 0


def _view(total: int, labels: tuple[str, ...]) -> Any:
    return _Terminal(total, labels) if sys.stdout.isatty() else _Lines()


class _Lines:
    """For pipes: a tab-separated line a song on stdout, the summary on stderr."""

    def __init__(self) -> None:
        self.done = self.failed = 0
        self.seconds = 0.0

    def show(self, label: SongLabel) -> None:
        self.count(label)
        path = _printable(label.path)
        if label.error:
            click.echo(f"{path}\terror\t{_printable(label.error)}")
        else:
            click.echo(f"{path}\t{label.emotion}\t{label.confidence:.3f}")

    def count(self, label: SongLabel) -> None:
        self.done += 1
        self.failed += label.error is not None
        self.seconds += label.duration_s or 0.0

    def summary(self, total: int, skipped: int, wall_s: float, out: str | None, stopped: bool) -> None:
        good = self.done - self.failed
        parts = [f"{good} labelled"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if skipped:
            parts.append(f"{skipped} other files skipped")
        speed = f"{self.done / wall_s:.1f} songs/s, {self.seconds / wall_s:,.0f}x realtime"
        click.echo(f"{', '.join(parts)} in {wall_s:.1f} s: {speed}", err=True)
        if out:
            click.echo(f"{self.done} rows written to {out}", err=True)
        if stopped:
            click.echo(f"stopped: {total - self.done} of {total} inputs were not labelled", err=True)

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Terminal(_Lines):
    """For people: a progress bar with the time left while it runs, then a table."""

    def __init__(self, total: int, labels: tuple[str, ...]) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._labels, self._shown = labels, []
        self._console = Console()
        columns = (TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), TextColumn("time left"))
        self._progress = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
        self._task = self._progress.add_task("", total=total)

    def show(self, label: SongLabel) -> None:
        self.count(label)
        if len(self._shown) < 200 or label.error:
            self._shown.append(label)
        self._progress.advance(self._task)

    def summary(self, total: int, skipped: int, wall_s: float, out: str | None, stopped: bool) -> None:
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        table.add_column("song", overflow="fold")
        table.add_column("emotion")
        for name in self._labels:
            table.add_column(escape(name), justify="right")
        table.add_column("length", justify="right")
        for label in self._shown:
            path = escape(_printable(label.path))
            if label.error:
                table.add_row(path, "[red]error[/red]", *[""] * len(self._labels), "")
                table.add_row(f"  [red]{escape(_printable(label.error))}[/red]")
                continue
            best = label.confidence
            shares = (f"[bold]{p:.0%}[/bold]" if p == best else f"[dim]{p:.0%}[/dim]" for p in label.probabilities)
            minutes, seconds = divmod(round(label.duration_s or 0), 60)
            table.add_row(path, f"[bold]{escape(label.emotion or '')}[/bold]", *shares, f"{minutes}:{seconds:02}")
        self._console.print(table)
        if self.done > len(self._shown):
            self._console.print(f"[dim]... and {self.done - len(self._shown)} more[/dim]")
        super().summary(total, skipped, wall_s, out, stopped)

    def __enter__(self) -> _Terminal:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _printable(text: str) -> str:
    """One line without control characters, which a file's name may hold."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


if __name__ == "__main__":
    main()
