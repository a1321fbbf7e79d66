"""mer-train's commands beside the training: the table of all networks, and ensembles."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.cli.command import EXIT_SOME_FAILED, version_option
from ..engine.text.escape import for_terminal
from .command import limit_threads, training_command
from .options import FOLDER, check_outside, chosen_fields, data_options, root_from_options, teacher_options

if TYPE_CHECKING:
    from ..engine.data.labelled_audio import LabelledAudio


@click.command()
@data_options
@click.option(
    "--model", "-m", "models", multiple=True, default=("all",), help="Rows; all is the papers' nine."
)
@click.option("--epochs", type=click.IntRange(min=1), default=25, help="Of the light networks.")
@click.option(
    "--heavy-epochs",
    type=click.IntRange(min=1),
    default=10,
    help="Of DenseNet-121, ResNet-50, EfficientNet-B0 and VGG16.",
)
@click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="A field of the recipe, or audio.NAME."
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp16", "int8", "none"]),
    default=("fp16", "int8"),
    help="Columns beside FP32.",
)
@click.option(
    "--results", type=FOLDER, default=Path("docs/RESULTS.md"), help="The Markdown file that gets the rows."
)
@click.option("--runs", type=FOLDER, help="Folder of the trainings.  [default: ~/.cache/mer/runs/table]")
@click.option("--licence", metavar="TEXT", help="What the model cards say of the networks' licence.")
@teacher_options
@version_option
def table(**options: Any) -> None:
    """Fill the table of all networks, one resumable step a network.

    Every network is trained with the best protocol on one grouped split, exported, scored through the
    engine, and gets a row. What is done is not done again, so a stopped table goes on when called again.
    Networks go to ~/.cache/mer/models with their metrics, never into the repository.
    """
    _fill(**options)


@training_command("the same command goes on where it was")
def _fill(**options: Any) -> int:
    root = root_from_options(options)
    from ..engine.artifact import models_home
    from .progress import TerminalProgress
    from .recipe import PROTOCOLS, with_overrides
    from .runs.results_table import TablePlan, fill_table
    from .runs.run_folder import results_folder
    from .runs.session import Session, models_from_names, read_data, splits_from_choice

    if any(text.partition("=")[0] == "epochs" for text in options["sets"]):
        raise click.UsageError("--set epochs: the table takes --epochs and --heavy-epochs")
    if options["results"].is_dir():
        raise click.UsageError(f"--results {options['results']}: give a file, this is a folder")
    limit_threads()
    runs = options["runs"] or models_home().parent / "runs" / "table"
    for folder in (root, *options["unlabelled"]):
        check_outside(folder, runs, options["cache"])
    protocol = with_overrides(PROTOCOLS["best"], options["sets"])
    models = models_from_names(options["models"])
    data = read_data(root, options["layout"], options["labels"], options["group_by"])
    session = Session(
        data,
        root.resolve().name,
        models,
        protocol,
        runs,
        splits_from_choice(None, protocol, data),
        cache=options["cache"],
        workers=options["workers"],
        licence=options["licence"],
        chosen=chosen_fields(options),
        mode="resume",
        teachers=options["teachers"],
        unlabelled=options["unlabelled"],
    )
    plan = TablePlan(
        session,
        root,
        options["layout"],
        options["epochs"],
        options["heavy_epochs"],
        tuple(name for name in options["precisions"] if name != "none"),
        options["results"],
        _command_line(session.name, options),
    )
    with results_folder(session.out, session.mode), TerminalProgress() as progress:
        skipped = fill_table(plan, progress)
    click.echo(f"rows are in {options['results']}")
    return EXIT_SOME_FAILED if skipped else 0


def _command_line(data: str, options: dict[str, Any]) -> str:
    """The command that makes the same table; what was left to its default is left out, but for the epochs."""
    words = ["mer-train", "table", "--data", data]
    words += ["--epochs", str(options["epochs"]), "--heavy-epochs", str(options["heavy_epochs"])]
    lists = {
        "-m": ("models", ("all",)),
        "--set": ("sets", ()),
        "--precision": ("precisions", ("fp16", "int8")),
        "--teacher": ("teachers", ()),
        "--unlabelled": ("unlabelled", ()),
    }
    for option, (name, default) in lists.items():
        if options[name] != default:
            words += [word for value in options[name] for word in (option, _written(value))]
    for name, default in (("layout", "auto"), ("labels", None), ("group_by", None)):
        if options[name] != default:
            words += [f"--{name.replace('_', '-')}", options[name]]
    return for_terminal(shlex.join(words))


def _written(value: str | Path) -> str:
    """A teacher or a folder by its name alone: where they lie is nobody's business."""
    return Path(value).name if isinstance(value, Path) or Path(value).exists() else value


@click.command()
@click.argument("members", nargs=-1, required=True, type=FOLDER, metavar="FOLDER|CHECKPOINT...")
@data_options
@click.option("--out", "-o", type=FOLDER, metavar="FILE", help="Write the metrics as JSON.")
def ensemble(**options: Any) -> None:
    """Score several networks as one, beside each of them, and each against the first.

    A member is a folder of mer-train (a training or a cross-validation), whose predictions are kept, or a
    checkpoint, which needs --data. Only songs that no member was trained on are scored.
    """
    _score(**options)


@training_command("")
def _score(**options: Any) -> int:
    root = root_from_options(options) if options["data"] or options["download"] else None
    from ..engine.data.labelled_audio import labelled_audio
    from .data.spectrogram_cache import cache_home
    from .evaluate.metrics_report import write_json
    from .runs.ensemble import ensemble_metrics, member_from_path
    from .runs.session import read_data

    @cache  # members mostly have the same labels, and clips remember their ids
    def data(labels: tuple[str, ...]) -> LabelledAudio:
        assert root is not None
        if options["labels"]:
            audio = read_data(root, options["layout"], options["labels"], options["group_by"])
        else:
            audio = labelled_audio(root, options["layout"], labels, options["group_by"])
        for note in audio.notes:
            click.echo(for_terminal(note), err=True)
        return audio

    limit_threads()
    if options["out"] and (options["out"].is_dir() or not options["out"].absolute().parent.is_dir()):
        raise click.UsageError(f"--out {options['out']}: give a file in a folder that exists")
    spectrograms, workers = options["cache"] or cache_home(), options["workers"]
    members = [
        member_from_path(path, data if root else None, spectrograms, workers) for path in options["members"]
    ]
    metrics = ensemble_metrics(members)
    skipped = dict(pair for member in members for pair in member.skipped)
    for path, reason in skipped.items():
        click.echo(for_terminal(f"skipped {path}: {reason}"), err=True)
    for name, figures in metrics.items():
        click.echo(_line(for_terminal(name), figures))
    if options["out"]:
        write_json(metrics, options["out"])
    return EXIT_SOME_FAILED if skipped else 0


def _line(name: str, figures: Mapping[str, Any]) -> str:
    interval = figures["macro_f1_interval"]
    within = "({:.3f} to {:.3f})".format(*interval) if interval else "(too few songs for an interval)"
    line = (
        f"{name}\tmacro-F1 {figures['macro_f1']:.3f} {within}"
        f"\taccuracy {figures['accuracy']:.3f}\tcalibration error {figures['calibration_error']:.3f}"
        f"\t{figures['songs']} songs"
    )
    if "against_first" in figures:
        line += f"\t{100 * figures['against_first']['gain']:+.1f} points"
        if figures["against_first"]["interval"]:
            line += " ({:+.1f} to {:+.1f})".format(*(100 * x for x in figures["against_first"]["interval"]))
    return line
