"""mer-bench's commands about this CPU: what formats and a catalogue's length cost, what to run."""

from __future__ import annotations

from pathlib import Path

import click

from ..engine.artifact import DEFAULT_MODEL
from ..engine.cli.command import EXIT_SOME_FAILED, FiniteRange, options_given, report_errors
from ..engine.cpu import MOST_WORKERS, usable_cores
from ..engine.outputs.marks import has_table, refuse_foreign
from ..engine.text.streams import print_err
from .printing import echo
from .result_paths import check_result_paths, make_folder


@click.command("scale")
@click.option("--few", type=click.IntRange(min=1), default=5_000, help="Tiny files of the first run.")
@click.option("--many", type=click.IntRange(min=2), default=100_000, help="Of the second.")
@click.option("--cores", is_flag=True, help="Instead: what more cores would give, and where one parent ends.")
@click.option(
    "--workers", type=click.IntRange(1, MOST_WORKERS), default=64, help="With --cores: as many are tried too."
)
@click.option(
    "--song-ms",
    type=FiniteRange(min=0.001),
    default=55.0,
    help="With --cores: CPU milliseconds of a song, as mer-bench pipeline measures them.",
)
@report_errors
def scale_command(few: int, many: int, cores: bool, workers: int, song_ms: float) -> int:
    """What a catalogue's length costs: memory and pace over few files and over many.

    mer-label with the null runtime, in a folder of links to one tiny file. With --cores: what a parent pays
    to take a song of three windows from workers that decode nothing, from as many as there are cores and
    from --workers, and songs/s on paper.
    """
    if given := options_given(["few", "many"] if cores else ["workers", "song_ms"]):
        raise click.UsageError(f"{given[0]} goes {'without' if cores else 'with'} --cores")
    if cores:
        return _scale_cores(workers, song_ms)
    if many <= few:
        raise click.UsageError("--many must be more than --few")
    from .experiments.scale import compare_lengths, memory_line

    runs = compare_lengths(few, many)
    for run in runs:
        echo(
            f"{run.files:10,} files  {run.seconds:9.1f} s  {run.rows_a_second:8.1f} rows/s  "
            f"{run.cpu_seconds / run.files * 1e3:6.2f} ms CPU a row  {run.peak_bytes / 1e6:7.1f} MB at most"
        )
    echo(memory_line(*runs))
    echo(f"rows/s over many, against over few: {runs[1].rows_a_second / runs[0].rows_a_second:.2f}")
    return 0


def _scale_cores(workers: int, song_ms: float) -> int:
    from .experiments.feed import measure_feed, songs_a_second

    few, many = (measure_feed(DEFAULT_MODEL, count, 2_000) for count in (usable_cores(), workers))
    for feed in (few, many):
        held = "?" if feed.worker_bytes is None else f"{feed.worker_bytes / 1e6:.0f}"
        echo(
            f"{feed.workers:4} workers: {feed.parent_s * 1e3:6.3f} ms of the parent's CPU a song, which ends "
            f"at {feed.saturates_at:,.0f} songs/s; {feed.wall_s * 1e3:.3f} ms a song; {held} MB a worker "
            "(PSS)"
        )
    echo(f"wall time a song with {workers} workers, against {few.workers}: {many.wall_s / few.wall_s:.2f}")
    counts = [2**power for power in range(9)]
    for count, rate, binds in songs_a_second(counts, song_ms / 1e3, few.parent_s):
        echo(f"{count:4} cores: {rate:8,.0f} songs/s on paper ({binds})")
    return 0


@click.command("tune")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--model", "-m", default=DEFAULT_MODEL, metavar="NAME|FILE", help="Whose row is measured.")
@click.option("--songs", type=click.IntRange(min=1), default=200, help="Songs that a command labels.")
@click.option("--rounds", type=click.IntRange(min=5), default=7, help="Turns of each runtime.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The table.  [default: choices.json in $MER_HOME, which mer-label reads]",
)
@report_errors
def tune_command(data: Path, model: str, songs: int, rounds: int, out: Path | None) -> int:
    """Which runtime mer-label --runtime auto takes on this machine for a model.

    DATA is music, 100 songs or more. Each runtime labels them; one is taken in place of ONNX Runtime in FP32
    if whole commands need 5 % less CPU with it, not by chance, and at most one label in a hundred changes.
    """
    from ..engine.runtimes.choice import own_table, rows_of
    from .experiments.tune import tune, write_row

    table = out or own_table()
    if out is None:
        make_folder("MER_HOME", table.parent)
    check_result_paths([table], [data])
    rows_of(table)  # which refuses before the measurement what is no table
    row, tried = tune(model, data, songs, rounds, print_err)
    try:
        write_row(row, table)
    finally:  # printed last: the reader may go; and in any case, if the table cannot be written
        for one in tried:
            echo(one.line())
    echo(f"{(row['faster'] or ['onnxruntime'])[0]} for {row['network']} on this CPU: written to {table}")
    return 0


@click.command("formats")
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]..."
)
@click.option("--rounds", type=click.IntRange(min=1), default=7, help="Of each file, in turns.")
@click.option(
    "--songs",
    type=click.IntRange(min=0),
    default=20,
    help="In each run of mer-label for the wall time; 0 leaves it out.",
)
@click.option(
    "--seconds", type=FiniteRange(min=1, max=3_600), default=240.0, help="Length of the songs that are made."
)
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="As docs/SPEED.md has it.")
@report_errors
def formats_command(
    files: tuple[Path, ...], rounds: int, songs: int, seconds: float, markdown: Path | None
) -> int:
    """CPU time of a song's windows by format, beside the cheapest decoder that reads as many seconds on end.

    FILEs are measured, or else a song that is made in MP3, Ogg Vorbis, FLAC, WAV, M4A, Opus and WMA.

    Exit codes: 0 all were measured, 4 some could not be decoded and are left out, 1 failure.
    """
    from ..engine.files import write_whole
    from .experiments.formats import TABLE_BEGINS, format_costs, markdown_from_costs

    if files and options_given(["seconds"]):
        raise click.UsageError("--seconds goes without FILE: it is the length of the songs that are made")
    check_result_paths([markdown] if markdown else [], files)
    refuse_foreign(markdown, has_table(TABLE_BEGINS))
    costs = format_costs(files, rounds, songs, seconds, print_err)
    table = markdown_from_costs(costs)
    try:
        if markdown:
            write_whole(markdown, table)
    finally:  # printed last: the reader may go; and in any case, if the file cannot be written
        for line in table.splitlines():
            echo(line)
    return EXIT_SOME_FAILED if len(costs) < len(set(files)) else 0
