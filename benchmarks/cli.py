"""mer-bench: every network on every runtime, how fast and how right."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.cli.command import (
    EXIT_FAILURE,
    EXIT_SOME_FAILED,
    SETTINGS,
    WORKERS,
    QuietGroup,
    decorator_of,
    options_given,
    report_errors,
    version_option,
)
from ..engine.errors import MerError, UsageError
from ..engine.signals import INTERRUPTED, sigterm_interrupts
from ..engine.text.streams import print_err
from .commands import compare_command, first_hour_command, gpu_command, pipeline_command, robust_command
from .cpu_commands import formats_command, scale_command, tune_command
from .evaluation.cli import main as eval_command
from .result_paths import check_result_paths, make_folder
from .row import BENCH_RUNTIMES, SCENARIOS, Results

if TYPE_CHECKING:
    from .measure.loadgen import Length


@dataclass(frozen=True)
class ResultFiles:
    """Where results go, beside the terminal; None is nowhere."""

    json: Path | None
    csv: Path | None
    markdown: Path | None
    html: Path | None

    def check(self, *inputs: Path | None) -> None:
        """Refuses before the measurement what could not be written after it: see ``check_result_paths``.

        Raises:
            UsageError: a file that cannot be written, or must not be.
            MerError: a package is missing.
        """
        from ..engine.outputs.marks import has_columns, has_keys, has_mark, has_table, refuse_foreign
        from .results.text import TABLE_BEGINS

        files = [file for file in (self.json, self.csv, self.markdown, self.html) if file]
        check_result_paths(files, inputs)
        for file, is_ours in (
            (self.json, has_keys("machine", "rows")),
            (self.csv, has_columns("model", "runtime", "throughput")),
            (self.markdown, has_table(TABLE_BEGINS)),
            (self.html, has_mark(b"<title>mer-bench: ")),
        ):
            refuse_foreign(file, is_ours)
        if self.html and find_spec("jinja2") is None:
            raise MerError("--html needs the package jinja2: pip install 'merkit[bench]'")

    def write(self, results: Results) -> None:
        """Writes the files, then prints the table: whether its reader stays changes no file.

        If a file cannot be written, the table is printed too.
        """
        from ..engine.files import write_whole
        from .results.text import csv_from_results, markdown_from_results, print_results
        from .results_file import json_from_results

        try:
            if self.json:
                write_whole(self.json, json_from_results(results))
            if self.csv:
                write_whole(self.csv, csv_from_results(results))
            if self.markdown:
                write_whole(self.markdown, markdown_from_results(results))
            if self.html:  # the last, since only it needs another package
                from .results.html import html_from_results

                write_whole(self.html, html_from_results(results))
        finally:
            print_results(results)


_PATH = click.Path(path_type=Path)
report_options = decorator_of(
    click.option("--csv", "csv_file", type=_PATH, metavar="FILE", help="A line a row."),
    click.option("--markdown", "markdown_file", type=_PATH, metavar="FILE", help="As README has it."),
    click.option("--html", "html_file", type=_PATH, metavar="FILE", help="One page, offline."),
)
"""Files made of results."""


@click.group(cls=QuietGroup, invoke_without_command=True, context_settings=SETTINGS)
@click.option(
    "--models",
    "folders",
    multiple=True,
    type=_PATH,
    metavar="DIR",
    help="Artifacts of this folder, and of those below it, too.",
)
@click.option(
    "--model",
    "-m",
    "only",
    multiple=True,
    metavar="NAME",
    help="Only these; bundled/NAME is the bundled one.  [default: all found]",
)
@click.option(
    "--runtime",
    "-r",
    "runtimes",
    multiple=True,
    type=click.Choice(BENCH_RUNTIMES),
    help="Only these.  [default: all]",
)
@click.option("--untrained", is_flag=True, help="The nine CNNs with random weights too, for speed only.")
@click.option("--data", type=_PATH, help="Labelled audio to score on.")
@click.option("--layout", default="auto", help="As in mer-export.")
@click.option(
    "--songs",
    type=_PATH,
    metavar="DIR",
    help="Songs to label for songs/s.  [default: generated ones, which are the same everywhere]",
)
@click.option("--quick", is_flag=True, help="A short look: not valid as a measurement.")
@click.option("--rules", is_flag=True, help="MLPerf's own durations and counts: 10 minutes a scenario.")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice([*SCENARIOS, "all"]),
    help="LoadGen's.  [default: SingleStream, Offline]",
)
@click.option("--threads", type=WORKERS, default=0, help="Of the networks; 0 is one a core.")
@click.option("--logs", type=_PATH, default=Path("mer-bench-logs"), help="LoadGen's logs go here.")
@click.option("--json", "json_file", type=_PATH, metavar="FILE", help="With raw samples.")
@report_options
@version_option
@click.pass_context
def main(context: click.Context, **options: Any) -> None:
    """Every network, on every runtime, in every precision: how fast and how right, on this machine.

    Without a COMMAND: a table of the bundled networks, those of ~/.cache/mer/models and of --models.

    \b
    Exit codes: 0 done (rows that failed say why), 1 nothing measured, 2 wrong usage, 3 compare
    or eval --fail-under, or robust --fail-over failed, 4 done, but clips or songs gave no audio,
    129/130/143 stopped by SIGHUP/Ctrl-C/SIGTERM (the rows done are kept).
    """
    if context.invoked_subcommand is None:
        _table(**options)
    elif given := options_given(options):
        raise click.UsageError(
            f"{given[0]} stands before {context.invoked_subcommand}, where it does nothing: write it behind, "
            "if that command has it, or leave it out"
        )


@report_errors
def _table(
    json_file: Path | None,
    csv_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
    quick: bool,
    rules: bool,
    data: Path | None,
    songs: Path | None,
    logs: Path,
    **options: Any,
) -> int:
    if quick and rules:
        raise click.UsageError("--quick and --rules exclude each other")
    if data is None and options_given(["layout"]):
        raise click.UsageError("--layout goes with --data")
    if data is not None and not data.exists():
        raise UsageError(f"--data {data}: no such file or folder")
    if songs is not None and not songs.exists():
        raise UsageError(f"--songs {songs}: no such file or folder")
    files = ResultFiles(json_file, csv_file, markdown_file, html_file)
    files.check(data, songs)
    from .measure.loadgen import NORMAL, QUICK, RULES

    with sigterm_interrupts() as stop:
        results = _measured(
            QUICK if quick else RULES if rules else NORMAL, data=data, songs=songs, logs=logs, **options
        )
    files.write(results)
    if results.partial:
        return stop.code or INTERRUPTED
    if not any(row.status == "ok" for row in results.rows):
        return EXIT_FAILURE
    skipped = results.data is not None and bool(results.data.skipped)
    return EXIT_SOME_FAILED if skipped or any(row.songs_failed for row in results.rows) else 0


def _measured(
    length: Length,
    songs: Path | None,
    logs: Path,
    scenarios: tuple[str, ...],
    folders: tuple[Path, ...],
    untrained: bool,
    runtimes: tuple[str, ...],
    only: tuple[str, ...],
    **options: Any,
) -> Results:
    import tempfile

    from .measure.cases import find_cases
    from .measure.sample_songs import GENERATED, generated_songs, song_count, songs_from_folder
    from .measure.table import TableOptions, measure_table

    quick = not length.valid
    cases = find_cases(folders, untrained, runtimes or BENCH_RUNTIMES, only, quick, print_err)
    if not cases:
        raise MerError("no artifact found; --models DIR names a folder of them, --untrained makes some")
    chosen = SCENARIOS if "all" in scenarios else scenarios or ("SingleStream", "Offline")
    count = song_count(quick)
    with tempfile.TemporaryDirectory(prefix="mer-bench-songs-") as folder:
        paths = songs_from_folder(songs, count) if songs else generated_songs(Path(folder), count)
        make_folder("--logs", logs)
        table = TableOptions(length, logs, scenarios=chosen, songs=paths, **options)
        results = measure_table(cases, table, print_err)
    if not songs:
        results.songs = f"{count} {GENERATED}"
    elif (there := len(set(paths))) < count:
        results.songs = f"{count} files, of {there} in {songs}, by turns"
    else:
        results.songs = f"{count} files in {songs}"
    return results


@main.command("report")
@click.argument("file", type=_PATH)
@report_options
@report_errors
def report_command(
    file: Path, csv_file: Path | None, markdown_file: Path | None, html_file: Path | None
) -> int:
    """The table that --json kept in FILE, and other files made of it; nothing is measured."""
    from .results_file import results_from_file

    files = ResultFiles(None, csv_file, markdown_file, html_file)
    files.check(file)
    files.write(results_from_file(file))
    return 0


_COMMANDS = (
    compare_command, eval_command, pipeline_command, robust_command, scale_command, tune_command, gpu_command,
    first_hour_command, formats_command,
)  # fmt: skip
for command in _COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
