"""mer-train table: all networks in one table, each exported, or each on several splits."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.cli.command import EXIT_SOME_FAILED, version_option
from ..engine.data.label_folders import TABLE
from ..engine.files import check_can_be_written
from ..engine.spec import MER500_LABELS
from ..engine.text.escape import for_terminal
from .command import limit_threads, training_command
from .names import name_of
from .options import (
    FOLDER,
    check_not_read,
    check_outside,
    chosen_fields,
    data_options,
    root_from_options,
    session_fields,
    teacher_options,
)
from .recipe import PROTOCOLS

if TYPE_CHECKING:
    from ..engine.data.labelled_audio import LabelledAudio
    from .runs.observer import Observer

_Filling = Callable[["Observer"], int]
"""Fills a table, and says how much of it is missing."""

_PRECISIONS = ("fp16", "int8")
_EPOCHS, _HEAVY_EPOCHS = 25, 10
_OF_EXPORTS = {"teachers": "--teacher", "unlabelled": "--unlabelled", "second": "--second-head",
               "precisions": "--precision", "licence": "--licence"}  # fmt: skip
_GROUPS = ("artist", "source")  # columns that the papers' experiment splits by, where the data fills them


@click.command()
@data_options
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    help="Networks, with --split those of every protocol; may be repeated.  "
    "[default: the papers' nine; with --split each protocol's own]",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="random|COLUMN",
    help="Compare splits: at random, or by a column of the data's CSV (artist, source); may be repeated.",
)
@click.option(
    "--protocol",
    "-p",
    "protocols",
    multiple=True,
    type=click.Choice([*PROTOCOLS]),
    help="With --split.  [default: both papers' and best]",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="none|imagenet|SOURCE",
    help="With --split: what the protocols' networks begin with, and trained networks (musicnn-msd, a file, "
    "a run) for rows of their own, frozen and fine-tuned; may be repeated.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help=f"Of the light networks.  [default: {_EPOCHS}; with --split the protocol's]",
)
@click.option(
    "--heavy-epochs",
    type=click.IntRange(min=1),
    help="Of DenseNet-121, ResNet-50, EfficientNet-B0 and VGG16, and with --split of fine-tuning.  "
    f"[default: {_HEAVY_EPOCHS}; with --split as the others]",
)
@click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="A field of the recipe, or audio.NAME."
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp16", "int8", "none"]),
    help=f"Columns beside FP32.  [default: {', '.join(_PRECISIONS)}]",
)
@click.option(
    "--results", type=FOLDER, default=Path("docs/RESULTS.md"), help="The Markdown file that gets the rows."
)
@click.option("--runs", type=FOLDER, help="Folder of the trainings.  [default: in ~/.cache/mer/runs]")
@click.option("--licence", metavar="TEXT", help="What the model cards say of the networks' licence.")
@teacher_options
@version_option
@training_command("the same command goes on where it was")
def table(**options: Any) -> int:
    """Fill the table of all networks, one resumable step a network.

    Every network is trained with the best protocol on one grouped split, exported, scored through the
    engine, and gets a row. What is done is not done again, so a stopped table goes on when called again.
    Networks go to ~/.cache/mer/models with their metrics, never into the repository; where another
    table's lies there, a line says that it is replaced, and that table called again brings it back.

    With --split it is the papers' experiment instead: each protocol's networks on each split, trained and
    tested, not exported, beside trained networks and beside what the recordings alone tell (level, band,
    bitrate). That is the default for data with MER500's five labels.
    """
    root = root_from_options(options)
    from ..engine.artifact import models_home
    from .progress import TerminalProgress
    from .runs.run_folder import results_folder
    from .runs.session import read_data

    if any(text.partition("=")[0] == "epochs" for text in options["sets"]):
        raise click.UsageError("--set epochs: the table takes --epochs and --heavy-epochs")
    if options["results"].is_dir():
        raise click.UsageError(f"--results {options['results']}: give a file, this is a folder")
    if options["results"].suffix.lower() != ".md":  # rows would be put after what the file holds
        raise click.UsageError(
            f"--results {options['results']}: give a Markdown file, whose name ends in .md"
        )
    read = (root, *options["unlabelled"], *options["second"])
    check_not_read(options["results"], [path for path in read if path.is_file()])
    limit_threads()
    data = read_data(root, options["layout"], options["labels"], options["group_by"])
    splits = _splits(root, data, options)
    kind = f"splits-{root.resolve().stem}" if splits else "table"
    runs = options["runs"] or models_home().parent / "runs" / kind
    for folder in read:
        check_outside(folder, runs, options["cache"])
    options["results"].parent.mkdir(parents=True, exist_ok=True)
    check_can_be_written(options["results"])
    with TerminalProgress() as progress:
        filling = (
            _by_split(root, data, splits, runs, options) if splits else _exported(root, data, runs, options)
        )
        with results_folder(runs, "resume"):
            incomplete = filling(progress)
    click.echo(f"rows are in {options['results']}")
    return EXIT_SOME_FAILED if incomplete else 0


def _splits(root: Path, data: LabelledAudio, options: dict[str, Any]) -> tuple[str, ...]:
    """The splits to compare; none for the table of exported networks."""
    from ..engine.data.clip_table import read_clip_table

    of_exports = [option for name, option in _OF_EXPORTS.items() if options[name]]
    if options["splits"]:
        if of_exports:
            raise click.UsageError(f"{of_exports[0]} and --split exclude each other: these are two tables")
        return tuple(dict.fromkeys(options["splits"]))
    if {*data.labels} != {*MER500_LABELS} or of_exports or options["group_by"]:
        if options["protocols"] or options["weights"]:
            raise click.UsageError("--protocol and --weights go with --split")
        return ()
    file = root / TABLE if root.is_dir() else root
    if not file.exists():
        return ("random",)
    table = read_clip_table(file, [("clip", "path")])
    by_column = {name: replace(table, grouped_by=(name,)) for name in _GROUPS if name in table.columns}
    return ("random", *(name for name, table in by_column.items() if any(map(table.group, table.rows))))


def _exported(root: Path, data: LabelledAudio, runs: Path, options: dict[str, Any]) -> _Filling:
    from .recipe import with_overrides
    from .runs.results_table import TablePlan, fill_table
    from .runs.session import Session, models_from_names
    from .runs.split_kinds import splits_from_choice

    protocol = with_overrides(PROTOCOLS["best"], options["sets"])
    precisions = options["precisions"] or _PRECISIONS
    epochs = options["epochs"] or _EPOCHS, options["heavy_epochs"] or _HEAVY_EPOCHS
    session = Session(
        data,
        name_of(root.resolve()),
        models_from_names(options["models"] or ("all",)),
        protocol,
        runs,
        splits_from_choice(None, protocol, data),
        mode="resume",
        chosen=chosen_fields({**options, "epochs": epochs[0]}),
        **session_fields(options),
    )
    plan = TablePlan(
        session,
        root,
        options["layout"],
        *epochs,
        tuple(name for name in precisions if name != "none"),
        options["results"],
        _command_line(session.name, {**options, "epochs": epochs[0], "heavy_epochs": epochs[1]}),
    )
    return partial(fill_table, plan)


def _by_split(
    root: Path, data: LabelledAudio, splits: tuple[str, ...], runs: Path, options: dict[str, Any]
) -> _Filling:
    from .networks.trained import names_trained_network
    from .runs.session import models_from_names, read_data
    from .runs.split_plan import RANDOM, SplitPlan
    from .runs.split_table import fill_split_table

    begins = [weights for weights in options["weights"] if weights in ("none", "imagenet")]
    ears = [weights for weights in options["weights"] if weights not in begins]
    for weights in ears:
        if not names_trained_network(weights):
            raise click.UsageError(f"--weights {weights}: no trained network of that name, and no such file")
    if len(begins) > 1:
        raise click.UsageError("--weights: the protocols' networks begin with none or with imagenet")
    by_split = {
        split: data if split == RANDOM else read_data(root, options["layout"], options["labels"], split)
        for split in splits
    }
    plan = SplitPlan(
        by_split,
        name_of(root.resolve().stem),
        tuple(dict.fromkeys(options["protocols"] or ("hindi-2022", "icm-2020", "best"))),
        models_from_names(options["models"]),
        begins[0] if begins else None,
        tuple(dict.fromkeys(ears)),
        options["sets"],
        options["epochs"],
        options["heavy_epochs"],
        runs,
        options["cache"],
        options["workers"],
    )
    command = _command_line(name_of(root.resolve()), {**options, "splits": splits})
    return partial(fill_split_table, plan, options["results"], command)


def _command_line(data: str, options: dict[str, Any]) -> str:
    """The command that makes the same table; what was left to its default is left out, but for the epochs."""
    words = ["mer-train", "table", "--data", data]
    for name in ("epochs", "heavy_epochs"):
        if options[name]:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    lists = {
        "--split": "splits",
        "-p": "protocols",
        "--weights": "weights",
        "-m": "models",
        "--set": "sets",
        "--precision": "precisions",
        "--teacher": "teachers",
        "--unlabelled": "unlabelled",
        "--second-head": "second",
    }
    for option, name in lists.items():
        words += [word for value in options[name] for word in (option, _written(value))]
    for name, default in (("layout", "auto"), ("labels", None), ("group_by", None)):
        if options[name] != default:
            words += [f"--{name.replace('_', '-')}", options[name]]
    return for_terminal(shlex.join(words))


def _written(value: str | Path) -> str:
    """A teacher or a folder by its name alone: where they lie is nobody's business."""
    return name_of(value) if isinstance(value, Path) or Path(value).exists() else value
