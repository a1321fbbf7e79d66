"""mer-eval: labelled audio in, how right each model is out. It is mer-bench eval too."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ...engine.artifact import ENGINE_SUFFIXES
from ...engine.cli.command import (
    EXIT_GATE,
    EXIT_SOME_FAILED,
    SETTINGS,
    WORKERS,
    FiniteRange,
    QuietCommand,
    WindowCountType,
    report_errors,
    version_option,
)
from ...engine.errors import MerError, UsageError
from ...engine.runtimes import RUNTIMES
from ...engine.text.streams import print_err, print_out
from ..result_paths import check_result_paths

_FILE = click.Path(path_type=Path)


@click.command("eval", cls=QuietCommand, context_settings=SETTINGS)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--map",
    "renamed",
    multiple=True,
    metavar="LABEL=OTHER",
    help="LABEL counts as OTHER, in DATA and in what models say; without OTHER its clips are left out.",
)
@click.option("--unheard", is_flag=True, help="Only clips that are new to every MODEL, by its provenance.")
@click.option("--layout", default="auto", help="How DATA is laid out, as in mer-export.")
@click.option(
    "--group-by",
    metavar="COLUMN",
    help="The CSV's column that says whose clips belong together.  "
    "[default: artist, else group, else singer or the like]",
)
@click.option("--windows", "-w", type=WindowCountType(), metavar="N|all", default=3, help="As in mer-label.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", *RUNTIMES]),
    default="auto",
    help="As in mer-label; or MODEL@RUNTIME for one.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="As in mer-label.")
@click.option("--workers", "-j", type=WORKERS, default=0, help="As in mer-label.")
@click.option(
    "--wrong",
    "worst",
    type=click.IntRange(min=0),
    default=10,
    metavar="N",
    help="Name so many of the surest mistakes.",
)
@click.option(
    "--fail-under",
    type=FiniteRange(0, 1),
    metavar="SHARE",
    help="Exit 3 if the macro-F1 of a MODEL is under this, from 0 to 1.",
)
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Every figure.")
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="One page, offline.")
@click.option(
    "--png",
    "png_file",
    type=_FILE,
    metavar="FILE",
    help="The confusion matrix; of several models FILE-1 and so on.",
)
@version_option
@report_errors
def main(
    models: tuple[str, ...],
    data: Path,
    renamed: tuple[str, ...],
    fail_under: float | None,
    json_file: Path | None,
    html_file: Path | None,
    png_file: Path | None,
    **options: Any,
) -> int:
    """How right models are on DATA: what mer-label would say of its clips, against their labels.

    MODEL is what mer-label takes, with @RUNTIME behind it if wished. DATA is a folder with a folder for each
    label, or a CSV file path,label[,artist]. A clip without a label or an emotion counts as wrong. Of several
    models the first is what the others are compared with, on the same clips.

    \b
    Exit codes: 0 done, 1 failure, 2 wrong usage, 3 --fail-under failed,
    4 done, but clips cannot be heard, 129/130/143 stopped by
    SIGHUP/Ctrl-C/SIGTERM, 141 the reader of stdout has gone.
    """
    from ...engine.files import write_whole
    from ...engine.outputs.marks import has_keys, has_mark, is_picture, refuse_foreign
    from .common_labels import LabelsDifferError, pairs_from_texts
    from .evaluate import Options, evaluate
    from .page import html_from_evaluation, png_files, write_pngs
    from .text import lines_from_evaluation

    if data.suffix.lower() in (".onnx", *ENGINE_SUFFIXES) and data.is_file():
        raise UsageError(f"{data} is a model: the labelled audio comes last")
    if not data.exists():
        raise UsageError(f"{data} does not exist: name the labelled audio last")
    if png_file and png_file.suffix.lower() != ".png":
        raise UsageError(f"--png writes a PNG, and {png_file} has another suffix: end it in .png")
    pngs = [] if png_file is None else png_files(len(models), png_file)
    outputs = [file for file in (json_file, html_file, *pngs) if file]
    check_result_paths(outputs, [data, *(Path(model) for model in models if Path(model).is_file())])
    for file, is_ours in (
        (json_file, has_keys("macro_f1", "clips_by_label")),
        (html_file, has_mark(b"<title>mer-eval: ")),
        *((file, is_picture) for file in pngs),
    ):
        refuse_foreign(file, is_ours)
    for text in renamed:
        pairs_from_texts([text])  # what is none is refused before anything is read
    if png_file and find_spec("matplotlib") is None:
        raise MerError("--png needs the package matplotlib: pip install matplotlib")
    try:
        evaluation = evaluate(models, data, Options(renamed=renamed, **options), print_err)
    except LabelsDifferError as error:
        advice = "--map LABEL=OTHER makes one count as another, --map LABEL= leaves its clips out"
        raise LabelsDifferError(f"{error}; {advice}") from None
    try:
        if json_file:
            write_whole(json_file, json.dumps(evaluation.to_mapping(), indent=2, ensure_ascii=False) + "\n")
        if html_file:
            write_whole(html_file, html_from_evaluation(evaluation))
        if pngs:
            write_pngs(evaluation, pngs)
    finally:  # printed last: the reader may go; and in any case, if a file cannot be written
        for line in lines_from_evaluation(evaluation):
            print_out(line)
    under = [m for m in evaluation.models if fail_under is not None and m.scores.macro_f1 < fail_under]
    for model in under:
        print_err(f"Error: {model.name}: macro-F1 {model.scores.macro_f1:.4f} is under {fail_under:g}")
    if under:
        return EXIT_GATE
    return EXIT_SOME_FAILED if any(model.scores.errors for model in evaluation.models) else 0


if __name__ == "__main__":
    main()
