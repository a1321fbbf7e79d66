"""mer-bench's commands beside the table: two against each other, whole pipelines, lengths, a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..engine.artifact import DEFAULT_MODEL
from ..engine.cli.command import WindowCountType, report_errors


@click.command("compare")
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
    from .experiments.compare import compare_models, compare_results, is_results

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


@click.command("pipeline")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "-m", default=DEFAULT_MODEL, metavar="NAME|FILE", help="What labels.")
@click.option(
    "--songs", type=click.IntRange(min=0), default=100, help="Songs a turn: the folder's files, linked."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, help="Turns of each contender.")
@click.option("--windows", "-w", type=WindowCountType(), metavar="N|all", default=3, help="As in mer-label.")
@click.option(
    "--paper/--no-paper", default=True, help="The Hindi paper's pipeline beside it (needs merkit[bench])."
)
@click.option(
    "--peer", "peers", multiple=True, metavar="COMMAND", help="Any command line; {dir} is the folder."
)
@click.option(
    "--json", "report", type=click.Path(path_type=Path), metavar="FILE", help="Every turn's seconds too."
)
@report_errors
def pipeline_command(
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
    from .experiments.pipeline import compare

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


@click.command("scale")
@click.option("--few", type=click.IntRange(min=1), default=5_000, help="Tiny files of the first run.")
@click.option("--many", type=click.IntRange(min=2), default=100_000, help="Of the second.")
@report_errors
def scale_command(few: int, many: int) -> int:
    """What a catalogue's length costs: memory and pace over few files and over many.

    mer-label with the null runtime, in a folder of links to one tiny file.
    """
    if many <= few:
        raise click.UsageError("--many must be more than --few")
    from .experiments.scale import bytes_a_file, compare_lengths

    runs = compare_lengths(few, many)
    for run in runs:
        click.echo(
            f"{run.files:10,} files  {run.seconds:9.1f} s  {run.rows_a_second:8.1f} rows/s  "
            f"{run.cpu_seconds / run.files * 1e3:6.2f} ms CPU a row  {run.peak_bytes / 1e6:7.1f} MB at most"
        )
    click.echo(f"{bytes_a_file(*runs):.0f} bytes of peak memory for each further file")
    click.echo(f"rows/s over many, against over few: {runs[1].rows_a_second / runs[0].rows_a_second:.2f}")
    return 0


@click.command("gpu")
@click.argument("engines", nargs=-1, type=click.Path(exists=True, dir_okay=False), metavar="ENGINE...")
@click.option("--paper", is_flag=True, help="Print the tables of docs/GPU.md and stop; needs no GPU.")
@click.option(
    "--decode-ms", type=float, default=8.3, help="With --paper: CPU milliseconds to decode a window."
)
@click.option("--seconds", type=click.FloatRange(min=0), default=3.0, help="For each measurement.")
@click.option("--json", "report", type=click.Path(path_type=Path), default="gpu.json", help="What was found.")
@report_errors
def gpu_command(engines: tuple[str, ...], paper: bool, decode_ms: float, seconds: float, report: Path) -> int:
    """What a GPU gives: engine against ONNX, DALI against the reference, throughput, copies, overlap.

    Takes engines of mer-export, with their .json and .onnx beside them, and a machine with the GPU that
    they are for.
    """
    from .experiments.gpu import cost_table, costs, measure, paper_table, write_report

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
