"""mer-bench formats: what each audio format costs."""

from __future__ import annotations

from pathlib import Path

import click

from ..engine.cli.command import EXIT_SOME_FAILED, FiniteRange, options_given, report_errors
from ..engine.outputs.marks import has_table, refuse_foreign
from ..engine.text.streams import print_err
from .printing import echo
from .result_paths import check_result_paths


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
