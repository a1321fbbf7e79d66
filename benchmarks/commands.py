"""mer-bench's commands beside the table: two against each other, whole pipelines, robustness, a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from ..engine.artifact import DEFAULT_MODEL
from ..engine.cli.command import (
    EXIT_GATE,
    EXIT_SOME_FAILED,
    WORKERS,
    FiniteRange,
    WindowCountType,
    options_given,
    report_errors,
)
from ..engine.outputs.marks import has_keys, has_table, refuse_foreign
from ..engine.text.streams import print_err
from .printing import echo
from .result_paths import check_result_paths

_FILE = click.Path(path_type=Path)


@click.command("compare")
@click.argument("first")
@click.argument("second")
@click.option("--batch", "-b", type=click.IntRange(min=1), default=1, help="Images a call.")
@click.option("--pairs", type=click.IntRange(min=5), default=40, help="Turns of each.")
@click.option("--threads", type=WORKERS, default=0, help="Of the networks; 0 is one a core.")
@click.option(
    "--fail-under",
    type=FiniteRange(min=0),
    metavar="RATIO",
    help="Exit 3 if SECOND's speed is below this times FIRST's by more than chance.",
)
@report_errors
def compare_command(
    first: str, second: str, batch: int, pairs: int, threads: int, fail_under: float | None
) -> int:
    """How many times as fast SECOND is as FIRST, with its 95 % interval.

    Each is a model, with @RUNTIME behind it if wished (mobilenetv3@openvino, net_int8.onnx@openvino,
    resnet18@torch): they run in turns. Or both are results of mer-bench --json, compared row by row: then
    the interval is of one run each, and what moves from run to run is not in it.
    """
    from .experiments.compare import compare_models, compare_results

    of_results = first.endswith(".json")
    if of_results != second.endswith(".json"):
        raise click.UsageError("give two models, or two results files")
    if of_results:
        if given := options_given(["batch", "pairs", "threads"]):
            raise click.UsageError(f"{given[0]} goes with two models: results are compared as they are")
        ratios, warnings = compare_results(Path(first), Path(second))
        for warning in warnings:
            print_err(f"warning: {warning}")
        if fail_under is not None:
            print_err(
                "warning: the intervals are of one run each, and equal code moves from run to run by more: "
                "compare the two models themselves, which run in turns"
            )
    else:
        ratio, times = compare_models(first, second, batch, pairs, threads)
        ratios = [ratio]
        for name, column in zip((first, second), zip(*times, strict=True), strict=True):
            echo(f"{1e3 * sorted(column)[len(column) // 2]:10.3f} ms a call of {batch}  {name}")
    for ratio in ratios:
        echo(f"{ratio.ratio:10.3f}x [{ratio.low:.3f}, {ratio.high:.3f}]  {ratio.what}")
    slow = [ratio for ratio in ratios if fail_under is not None and ratio.under(fail_under)]
    for ratio in slow:
        print_err(f"Error: {ratio.what} is {ratio.ratio:.3f}x, under {fail_under}")
    return EXIT_GATE if slow else 0


@click.command("pipeline")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "-m", default=DEFAULT_MODEL, metavar="NAME|FILE", help="What labels.")
@click.option(
    "--songs", type=click.IntRange(min=0), default=100, help="Songs a turn: the folder's first files, linked."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, help="Turns of each contender.")
@click.option("--windows", "-w", type=WindowCountType(), metavar="N|all", default=3, help="As in mer-label.")
@click.option(
    "--paper/--no-paper", default=True, help="The Hindi paper's pipeline beside it (needs merkit[bench])."
)
@click.option(
    "--peer", "peers", multiple=True, metavar="COMMAND", help="Any command line; {dir} is the folder."
)
@click.option("--json", "report", type=_FILE, metavar="FILE", help="Every turn's seconds too.")
@report_errors
def pipeline_command(
    folder: Path,
    model: str,
    songs: int,
    rounds: int,
    windows: int | Literal["all"],
    paper: bool,
    peers: tuple[str, ...],
    report: Path | None,
) -> int:
    """Songs a second from files to labels, whole commands, in turns.

    Beside mer-label stand the decode floor (only decoding the same windows, in as many processes),
    the Hindi paper's pipeline written plainly, and every --peer.
    """
    from ..engine.files import write_whole
    from .experiments.pipeline import compare_pipelines

    if report:
        check_result_paths([report], [folder])
        refuse_foreign(report, has_keys("seconds_a_song", "stages_cpu_s"))
    comparison = compare_pipelines(folder, model, songs, rounds, windows, paper, peers, print_err)
    try:
        if report:
            write_whole(report, json.dumps(comparison.to_mapping(), indent=2) + "\n")
    finally:  # as in ``robust_command``
        for line in comparison.lines():
            echo(line)
    return EXIT_SOME_FAILED if comparison.failed else 0


@click.command("gpu")
@click.argument("engines", nargs=-1, type=click.Path(exists=True, dir_okay=False), metavar="ENGINE...")
@click.option("--paper", is_flag=True, help="Print the tables of docs/GPU.md and stop; needs no GPU.")
@click.option("--feed", is_flag=True, help="What feeding a GPU takes of its process; needs no GPU.")
@click.option(
    "--int16",
    type=click.Path(exists=True, path_type=Path),
    metavar="FOLDER",
    help="What the feed's int16 samples change in the labels of these songs; needs no GPU.",
)
@click.option(
    "--decode-ms",
    type=FiniteRange(min=0.001),
    default=8.3,
    help="With --paper: CPU milliseconds to decode a window.",
)
@click.option(
    "--seconds", type=FiniteRange(min=0), help="For each measurement.  [default: 3, and 10 with --feed]"
)
@click.option("--json", "report", type=_FILE, default="gpu.json", help="What was found.")
@report_errors
def gpu_command(
    engines: tuple[str, ...],
    paper: bool,
    feed: bool,
    int16: Path | None,
    decode_ms: float,
    seconds: float | None,
    report: Path,
) -> int:
    """What a GPU gives: engine against ONNX, DALI against the reference, throughput, copies, overlap.

    Takes engines of mer-export, with their .json and .onnx beside them, and a machine with the GPU that
    they are for.
    """
    modes = {"--paper": paper, "--feed": feed, "--int16": int16, "ENGINE": engines}
    if len(named := [mode for mode, is_named in modes.items() if is_named]) > 1:
        raise click.UsageError(f"{named[0]} stands alone: leave {named[1]} out")
    if not engines and options_given(["report"]):
        raise click.UsageError("--json goes with ENGINE: nothing else writes it")
    if not paper and options_given(["decode_ms"]):
        raise click.UsageError("--decode-ms goes with --paper")
    if (paper or int16) and seconds is not None:
        raise click.UsageError("--seconds goes with ENGINE or --feed")
    if paper:
        from .experiments.gpu_estimate import costs, tables_of_paper

        for line in "\n\n".join(tables_of_paper(costs(print_err), decode_ms)).split("\n"):
            echo(line)
        return 0
    if int16:
        from .experiments.gpu_int16 import compare_int16

        found = compare_int16(int16, print_err)
        echo(
            f"{found.songs:,} songs from int16: {found.emotions} with another emotion, "
            f"{found.verdicts} with another verdict; probabilities differ by {found.probability:.6f} at most"
        )
        return EXIT_SOME_FAILED if found.failed else 0
    if feed:
        from .experiments.gpu_feed import WINDOWS, measure_feed

        fed = measure_feed(10.0 if seconds is None else seconds)
        rate = fed.songs / fed.seconds
        echo(f"{fed.cpu_ms_a_song:.2f} ms of the parent's CPU a song (three windows)")
        echo(f"{WINDOWS * rate:,.0f} windows/s into one process, from {fed.workers} that make songs up")
        echo(
            f"{fed.batches:,} batches of {fed.batch} windows in {fed.seconds:.1f} s: every checksum is right"
        )
        return 0
    if not engines:
        raise click.UsageError("name the engines to measure, or --paper, --feed or --int16")
    from ..engine.artifact import open_artifact
    from .experiments.gpu import measure, write_report

    check_result_paths([report], map(Path, engines))
    refuse_foreign(report, has_keys("format", "engines"))
    time_s = 3.0 if seconds is None else seconds
    write_report([measure(open_artifact(engine), time_s, say=echo) for engine in engines], report)
    echo(f"written to {report}")
    return 0


@click.command("first-hour")
@click.option("--minutes", type=FiniteRange(min=1), default=10.0, help="For everything.")
@click.option("--only", multiple=True, metavar="NAME", help="Only these checks.  [default: all]")
@click.option(
    "--model", "-m", "models", multiple=True, metavar="NAME|FILE",
    help="An .onnx file.  [default: the bundled ones, and the nine CNNs with random weights]",
)  # fmt: skip
@click.option("--songs", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Real music.")
@click.option(
    "--json", "report", type=click.Path(path_type=Path), default="first-hour.json",
    help="Every figure; a page (.md) lies beside it.",
)  # fmt: skip
@report_errors
def first_hour_command(
    minutes: float, only: tuple[str, ...], models: tuple[str, ...], songs: Path | None, report: Path
) -> int:
    """What a machine with a new GPU is asked first: is it right, and how fast?

    Needs a driver and PyTorch; what needs TensorRT and DALI runs where they are installed. Every check
    has a process and a time limit of its own.

    \b
    Exit codes: 0 done, 1 no driver or GPU, 2 wrong usage, 3 a check failed, 129/130/143 stopped.
    """
    from .experiments.first_hour import Options, run_first_hour

    options = Options(minutes, only, models, songs, report)
    fine = run_first_hour(options, echo)
    echo(f"written to {options.report} and {options.page}")
    return 0 if fine else EXIT_GATE


@click.command("robust")
@click.argument("model", metavar="NAME|FILE")
@click.argument("data", type=_FILE)
@click.option("--limit", type=click.IntRange(min=0), default=120, help="Songs, evenly over labels; 0 is all.")
@click.option("--changes", metavar="NAME,...", help="Only these (level-10, opus16).  [default: all]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the choice of songs, and of noise.")
@click.option("--layout", default="auto", help="As in mer-export; none: songs without labels.")
@click.option(
    "--fail-over",
    type=FiniteRange(0, 100),
    metavar="PERCENT",
    help="Exit 3 if a change alters more labels than this, and not by chance.",
)
@click.option("--json", "report", type=_FILE, metavar="FILE", help="Every figure.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="As docs/RESULTS.md has it.")
@report_errors
def robust_command(
    model: str,
    data: Path,
    limit: int,
    changes: str | None,
    seed: int,
    layout: str,
    fail_over: float | None,
    report: Path | None,
    markdown: Path | None,
) -> int:
    """How many labels change where the sound is changed in ways that are no emotion.

    DATA is labelled audio, or a folder or list of songs. Its songs are labelled as they are, then louder,
    quieter, dull, coded, noisy, begun later, faster, and so on: what mer-label would say of them.
    """
    from ..engine.files import write_whole
    from .experiments.robust import measure_robustness
    from .experiments.robust_table import TABLE_BEGINS, lines_from_robustness, markdown_from_robustness

    check_result_paths([file for file in (report, markdown) if file], [data])
    refuse_foreign(report, has_keys("model", "seed", "rows"))
    refuse_foreign(markdown, has_table(TABLE_BEGINS))
    names = [name.strip() for name in changes.split(",")] if changes is not None else []
    measured = measure_robustness(model, data, limit, names, seed, layout, print_err)
    try:
        if report:
            write_whole(report, json.dumps(measured.to_mapping(), indent=2) + "\n")
        if markdown:
            write_whole(markdown, markdown_from_robustness(measured))
    finally:  # printed last: the reader may go; and in any case, if a file cannot be written
        for line in lines_from_robustness(measured):
            echo(line)
    over = [row for row in measured.rows if fail_over is not None and 100 * row.low > fail_over]
    for row in over:
        print_err(f"Error: {row.what}: {100 * row.share:.1f} % of labels change, over {fail_over:g} %")
    return EXIT_GATE if over else EXIT_SOME_FAILED if measured.failed else 0
