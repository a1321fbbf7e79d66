"""mer-bench: how fast it is, beside what else there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ..engine.cli.command import SETTINGS, report_errors, version_option
from ..engine.errors import MerError, UsageError
from ..engine.signals import INTERRUPTED, sigterm_interrupts
from .commands import compare_command, gpu_command, pipeline_command, scale_command


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Files made of results."""
    path = click.Path(path_type=Path)
    options = [
        click.option("--csv", "csv_file", type=path, metavar="FILE", help="A line a row."),
        click.option("--markdown", "markdown_file", type=path, metavar="FILE", help="As README has it."),
        click.option("--html", "html_file", type=path, metavar="FILE", help="One page, offline."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(
    invoke_without_command=True,
    context_settings=SETTINGS,
)
@click.option(
    "--models",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Artifacts of this folder too.",
)
@click.option(
    "--model", "-m", "only", multiple=True, metavar="NAME", help="Only these.  [default: all found]"
)
@click.option(
    "--runtime",
    "-r",
    "runtimes",
    multiple=True,
    type=click.Choice(["onnxruntime", "openvino", "tensorrt", "torch", "torch.compile"]),
    help="Only these.  [default: all]",
)
@click.option("--untrained", is_flag=True, help="The nine CNNs with random weights too, for speed only.")
@click.option("--data", type=click.Path(path_type=Path), help="Labelled audio to score on.")
@click.option("--layout", default="auto", help="As in mer-export.")
@click.option(
    "--songs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Songs to label for songs/s.  [default: --data, or generated ones]",
)
@click.option("--quick", is_flag=True, help="A short look: not valid as a measurement.")
@click.option("--rules", is_flag=True, help="MLPerf's own durations and counts: 10 minutes a scenario.")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice(["SingleStream", "MultiStream", "Offline", "Server", "all"]),
    help="LoadGen's.  [default: SingleStream, Offline]",
)
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Of the networks; 0 is one a core.")
@click.option(
    "--logs", type=click.Path(path_type=Path), default=Path("mer-bench-logs"), help="LoadGen's logs go here."
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="With raw samples."
)
@report_options
@version_option
@click.pass_context
def main(context: click.Context, **given: Any) -> None:
    """Every network, on every runtime, in every precision: how fast and how right, on this machine.

    Without a COMMAND: a table of the bundled networks, those of ~/.cache/mer/models and of --models.

    \b
    Exit codes: 0 done (rows that failed say why), 1 nothing measured, 2 wrong usage, 3 compare
    --fail-under failed, 130/143 stopped by Ctrl-C/SIGTERM (the rows done are kept).
    """
    if context.invoked_subcommand is None:
        _table(**given)


@report_errors
def _table(
    folders: tuple[Path, ...],
    only: tuple[str, ...],
    runtimes: tuple[str, ...],
    untrained: bool,
    songs: Path | None,
    quick: bool,
    rules: bool,
    scenarios: tuple[str, ...],
    json_file: Path | None,
    csv_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
    **given: Any,
) -> int:
    if quick and rules:
        raise click.UsageError("--quick and --rules exclude each other")
    data = given["data"]
    if data is not None and not data.exists():
        raise UsageError(f"--data {data}: no such file or folder")
    _check_files(json_file, csv_file, markdown_file, html_file)
    import tempfile

    from .measure.cases import RUNTIMES, find_cases
    from .measure.loadgen import NORMAL, QUICK, RULES, SCENARIOS
    from .measure.sample_songs import generated_songs, songs_from_folder
    from .measure.table import TableOptions, measure_table

    def say(line: str) -> None:
        click.echo(line, err=True)

    wanted = SCENARIOS if "all" in scenarios else scenarios or ("SingleStream", "Offline")
    with tempfile.TemporaryDirectory(prefix="mer-bench-songs-") as room, sigterm_interrupts() as stop:
        cases = find_cases(folders, untrained, runtimes or RUNTIMES, only, quick, say)
        if not cases:
            raise MerError("no artifact found; --models DIR names a folder of them, --untrained makes some")
        count = 12 if quick else 60
        given["songs"] = songs_from_folder(songs, count) if songs else generated_songs(Path(room), count)
        options = TableOptions(QUICK if quick else RULES if rules else NORMAL, scenarios=wanted, **given)
        results = measure_table(cases, options, say)
    _write(results, json_file, csv_file, markdown_file, html_file)
    if results["partial"]:
        return stop.code or INTERRUPTED
    return 0 if any(row["status"] == "ok" for row in results["rows"]) else 1


def _check_files(
    json_file: Path | None, csv_file: Path | None, markdown_file: Path | None, html_file: Path | None
) -> None:
    """What could only fail after the measuring fails before it."""
    for file in (json_file, csv_file, markdown_file, html_file):
        if file and not file.parent.is_dir():
            raise UsageError(f"{file}: there is no folder {file.parent}")
    if html_file and find_spec("jinja2") is None:
        raise MerError("--html needs the package jinja2: pip install 'merkit[bench]'")


def _write(
    results: dict[str, Any],
    json_file: Path | None,
    csv_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
) -> None:
    from .results.text import csv_from_results, markdown_from_results, print_results

    if json_file:
        json_file.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if csv_file:
        csv_file.write_text(csv_from_results(results), encoding="utf-8")
    if markdown_file:
        markdown_file.write_text(markdown_from_results(results), encoding="utf-8")
    print_results(results)
    if html_file:
        from .results.html import html_from_results

        html_file.write_text(html_from_results(results), encoding="utf-8")


@main.command("report")
@click.argument("file", type=click.Path(path_type=Path))
@report_options
@report_errors
def report_command(
    file: Path, csv_file: Path | None, markdown_file: Path | None, html_file: Path | None
) -> int:
    """The table that --json kept in FILE, and other files made of it; nothing is measured."""
    from .experiments.compare import results_from_file

    _check_files(None, csv_file, markdown_file, html_file)
    _write(results_from_file(file), None, csv_file, markdown_file, html_file)
    return 0


for command in (compare_command, pipeline_command, scale_command, gpu_command):
    main.add_command(command)


if __name__ == "__main__":
    main()
