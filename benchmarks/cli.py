"""mer-bench: how fast it is, beside what else there is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..engine.cli import WindowCountType, report_errors


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="mer")
def main() -> None:
    """Measure, on this machine, with your files."""


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "-m", default="mobilenetv3", metavar="NAME|FILE", help="What labels.")
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
            f"{found.ratio(turns.name):6.2f}x  {turns.name}"
        )
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in vars(found.stages).items())
    click.echo(f"stages, CPU seconds (waited and idle: wall): {stages}")
    click.echo(f"wall x cores / CPU: {found.bubbles:.2f}")
    if report:
        report.write_text(json.dumps(found.to_mapping(), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    main()
