"""mer-bench: how fast it is, beside what else there is."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ..engine.artifact import DEFAULT_MODEL
from ..engine.cli import WindowCountType, report_errors
from ..engine.errors import MerError, UsageError


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
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
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
@click.version_option(package_name="mer")
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

    from .contenders import RUNTIMES, find_contenders
    from .latency import NORMAL, QUICK, RULES, SCENARIOS
    from .songs import generated_songs, songs_from_folder
    from .table import TableOptions, measure_table

    def say(line: str) -> None:
        click.echo(line, err=True)

    wanted = SCENARIOS if "all" in scenarios else scenarios or ("SingleStream", "Offline")
    with tempfile.TemporaryDirectory(prefix="mer-bench-songs-") as room, _sigterm() as codes:
        contenders = find_contenders(folders, untrained, runtimes or RUNTIMES, only, quick, say)
        if not contenders:
            raise MerError("no artifact found; --models DIR names a folder of them, --untrained makes some")
        count = 12 if quick else 60
        given["songs"] = songs_from_folder(songs, count) if songs else generated_songs(Path(room), count)
        options = TableOptions(QUICK if quick else RULES if rules else NORMAL, scenarios=wanted, **given)
        results = measure_table(contenders, options, say)
    _write(results, json_file, csv_file, markdown_file, html_file)
    if results["partial"]:
        return codes[0] if codes else 130
    return 0 if any(row["status"] == "ok" for row in results["rows"]) else 1


def _check_files(
    json_file: Path | None, csv_file: Path | None, markdown_file: Path | None, html_file: Path | None
) -> None:
    """What could only fail after the measuring fails before it."""
    for file in (json_file, csv_file, markdown_file, html_file):
        if file and not file.parent.is_dir():
            raise UsageError(f"{file}: there is no folder {file.parent}")
    if html_file and find_spec("jinja2") is None:
        raise MerError("--html needs the package jinja2: pip install 'mer[bench]'")


def _write(
    results: dict[str, Any],
    json_file: Path | None,
    csv_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
) -> None:
    from .report import csv_from_results, markdown_from_results, print_results

    if json_file:
        json_file.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if csv_file:
        csv_file.write_text(csv_from_results(results), encoding="utf-8")
    if markdown_file:
        markdown_file.write_text(markdown_from_results(results), encoding="utf-8")
    print_results(results)
    if html_file:
        from .html import html_from_results

        html_file.write_text(html_from_results(results), encoding="utf-8")


@contextmanager
def _sigterm() -> Any:
    """SIGTERM ends as Ctrl-C does, with its own code."""
    codes: list[int] = []

    def handle(number: int, frame: Any) -> None:
        codes.append(128 + number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield codes
    finally:
        signal.signal(signal.SIGTERM, before)


@main.command("report")
@click.argument("file", type=click.Path(path_type=Path))
@report_options
@report_errors
def report_command(
    file: Path, csv_file: Path | None, markdown_file: Path | None, html_file: Path | None
) -> int:
    """The table that --json kept in FILE, and other files made of it; nothing is measured."""
    from .compare import results_from_file

    _check_files(None, csv_file, markdown_file, html_file)
    _write(results_from_file(file), None, csv_file, markdown_file, html_file)
    return 0


@main.command("compare")
@click.argument("first")
@click.argument("second")
@click.option("--batch", "-b", type=click.IntRange(min=1), default=1, help="Images a call.")
@click.option("--pairs", type=click.IntRange(min=5), default=40, help="Turns of each.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Of the networks; 0 is one a core.")
@click.option(
    "--fail-under",
    type=click.FloatRange(min=0),
    metavar="RATIO",
    help="Exit 3 if SECOND is slower than this times FIRST, and not by chance.",
)
@report_errors
def compare_command(
    first: str, second: str, batch: int, pairs: int, threads: int, fail_under: float | None
) -> int:
    """How many times as fast SECOND is as FIRST, with its 95 % interval.

    Each is a model, with @RUNTIME behind it if wished (mobilenetv3@openvino, net_int8.onnx@openvino,
    resnet18@torch): they run in turns. Or both are results of mer-bench --json, compared row by row.
    """
    from .compare import compare_models, compare_results, is_results

    if is_results(first) != is_results(second):
        raise click.UsageError("give two models, or two results files")
    if is_results(first):
        ratios, warnings = compare_results(Path(first), Path(second))
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
    else:
        ratio, times = compare_models(first, second, batch, pairs, threads)
        ratios = [ratio]
        for name, column in zip((first, second), zip(*times, strict=True), strict=True):
            click.echo(f"{1e3 * sorted(column)[len(column) // 2]:10.3f} ms a call of {batch}  {name}")
    for each in ratios:
        click.echo(f"{each.ratio:10.3f}x [{each.low:.3f}, {each.high:.3f}]  {each.what}")
    slow = [each for each in ratios if fail_under is not None and each.under(fail_under)]
    for each in slow:
        click.echo(f"Error: {each.what} is {each.ratio:.3f}x, under {fail_under}", err=True)
    return 3 if slow else 0


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "-m", default=DEFAULT_MODEL, metavar="NAME|FILE", help="What labels.")
@click.option(
    "--songs", type=click.IntRange(min=0), default=100, help="Songs a turn: the folder's files, linked."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, help="Turns of each contender.")
@click.option("--windows", "-w", type=WindowCountType(), metavar="N|all", default=3, help="As in mer-label.")
@click.option(
    "--paper/--no-paper", default=True, help="The Hindi paper's pipeline beside it (needs mer[bench])."
)
@click.option(
    "--peer", "peers", multiple=True, metavar="COMMAND", help="Any command line; {dir} is the folder."
)
@click.option(
    "--json", "report", type=click.Path(path_type=Path), metavar="FILE", help="Every turn's seconds too."
)
@report_errors
def pipeline(
    folder: Path,
    model: str,
    songs: int,
    rounds: int,
    windows: int | str,
    paper: bool,
    peers: tuple[str, ...],
    report: Path | None,
) -> int:
    """Songs a second from files to labels, whole commands, in turns.

    Beside mer-label stand the decode floor (only decoding the same windows, in as many processes),
    the Hindi paper's pipeline written plainly, and every --peer.
    """
    from .pipeline import compare

    found = compare(
        folder, model, songs, rounds, windows, paper, peers, lambda line: click.echo(line, err=True)
    )
    click.echo(f"{found.files} songs a turn, {rounds} turns, {found.cores} cores")
    for turns in found.turns:
        spread = f"{min(turns.seconds) * 1e3:.1f} to {max(turns.seconds) * 1e3:.1f}"
        click.echo(
            f"{turns.median * 1e3:10.1f} ms a song ({spread})  {1 / turns.median:8.1f} songs/s  "
            f"{found.ratio(turns.name):6.2f}x  {turns.name}  [CPU: {turns.cpu_median * 1e3:.1f} ms, "
            f"{turns.cpu_median / found.turns[0].cpu_median:.2f}x]"
        )
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in vars(found.stages).items())
    click.echo(f"stages, CPU seconds (waited and idle: wall): {stages}")
    click.echo(f"wall x cores / CPU: {found.bubbles:.2f}")
    if report:
        report.write_text(json.dumps(found.to_mapping(), indent=2) + "\n", encoding="utf-8")
    return 0


@main.command()
@click.option("--few", type=click.IntRange(min=1), default=5_000, help="Tiny files of the first run.")
@click.option("--many", type=click.IntRange(min=2), default=100_000, help="Of the second.")
@report_errors
def scale(few: int, many: int) -> int:
    """What a catalogue's length costs: memory and pace over few files and over many.

    mer-label with the null runtime, in a folder of links to one tiny file.
    """
    if many <= few:
        raise click.UsageError("--many must be more than --few")
    from .scale import bytes_a_file, compare_lengths

    runs = compare_lengths(few, many)
    for run in runs:
        click.echo(
            f"{run.files:10,} files  {run.seconds:9.1f} s  {run.rows_a_second:8.1f} rows/s  "
            f"{run.cpu_seconds / run.files * 1e3:6.2f} ms CPU a row  {run.peak_bytes / 1e6:7.1f} MB at most"
        )
    click.echo(f"{bytes_a_file(*runs):.0f} bytes of peak memory for each further file")
    click.echo(f"rows/s over many, against over few: {runs[1].rows_a_second / runs[0].rows_a_second:.2f}")
    return 0


@main.command()
@click.argument("engines", nargs=-1, type=click.Path(exists=True, dir_okay=False), metavar="ENGINE...")
@click.option("--paper", is_flag=True, help="Print the tables of docs/GPU.md and stop; needs no GPU.")
@click.option(
    "--decode-ms", type=float, default=8.3, help="With --paper: CPU milliseconds to decode a window."
)
@click.option("--seconds", type=click.FloatRange(min=0), default=3.0, help="For each measurement.")
@click.option("--json", "report", type=click.Path(path_type=Path), default="gpu.json", help="What was found.")
@report_errors
def gpu(engines: tuple[str, ...], paper: bool, decode_ms: float, seconds: float, report: Path) -> int:
    """What a GPU gives: engine against ONNX, DALI against the reference, throughput, copies, overlap.

    Takes engines of mer-export, with their .json and .onnx beside them, and a machine with the GPU that
    they are for.
    """
    from .gpu import cost_table, costs, measure, paper_table, write_report

    if paper:
        found = costs(lambda line: click.echo(line, err=True))
        click.echo(f"{cost_table(found)}\n\n{paper_table(found, decode_ms)}")
        return 0
    if not engines:
        raise click.UsageError("name the engines to measure, or --paper")
    from ..engine.artifact import open_artifact

    say = click.echo
    write_report([measure(open_artifact(each), seconds, say=say) for each in engines], report)
    click.echo(f"written to {report}")
    return 0


if __name__ == "__main__":
    main()
