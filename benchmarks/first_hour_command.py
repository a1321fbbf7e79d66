"""mer-bench first-hour: see ``experiments/first_hour.py``, which is a plain script too."""

from __future__ import annotations

from pathlib import Path

import click

from ..engine.cli.command import EXIT_GATE, FiniteRange, report_errors
from .printing import echo


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
