"""The options that mer-train's commands share, and their values as the library takes them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ..engine.cli.command import WORKERS, FiniteRange, decorator_of
from ..engine.errors import UsageError
from ..engine.spec import AudioSpec
from .recipe import PROTOCOLS

_LAYOUTS = ("auto", "emotion4q", "mer500", "jumusemodb", "folder", "csv")
FOLDER = click.Path(path_type=Path)

OPTION_OF_FIELD = {
    "layers": "layers",
    "loss": "loss",
    "epochs": "epochs",
    "batch_size": "batch",
    "seed": "seed",
}
"""The recipe's fields that have an option of their own."""


def _usual(value: object) -> str:
    return f"[default: the protocol's, of best {value}]"


data_options = decorator_of(
    click.option(
        "--data",
        "-d",
        type=FOLDER,
        help="A folder of labelled audio, or a CSV: path,label[,artist][,group][,tags][,split].",
    ),
    click.option(
        "--layout", type=click.Choice(_LAYOUTS), default="auto", help="How the folder is to be read."
    ),
    click.option(
        "--labels",
        metavar="A,B,...",
        help="The labels, in the order of the outputs; others are refused. One with a comma in quotes.",
    ),
    click.option(
        "--group-by",
        metavar="COLUMN",
        help="What must not stand on both sides of a split: a column of the data's CSV.  "
        "[default: artist, else group, else singer or the like]",
    ),
    click.option("--download", is_flag=True, help="Fetch MER500 from Kaggle; needs merkit[download]."),
    click.option(
        "--cache", type=FOLDER, help="Folder of spectrograms.  [default: ~/.cache/mer/spectrograms]"
    ),
    click.option("--workers", "-j", type=WORKERS, default=0, help="Processes that decode; 0: one a core."),
)
"""Options for the data, and for the spectrograms computed from it."""


recipe_options = decorator_of(
    click.option(
        "--protocol",
        "-p",
        type=click.Choice([*PROTOCOLS]),
        default="best",
        help="Our best, or one of the two papers'.",
    ),
    click.option(
        "--weights",
        metavar="imagenet|none|NAME|FILE|RUN",
        help="Weights to begin with: musicnn-msd, musicnn-mtt, a known model (audiocnn), a run's folder, "
        "a checkpoint, an .onnx of ours, a file of weights.  [default: the protocol's]",
    ),
    click.option(
        "--plan",
        type=click.Choice(["auto", "frozen", "head", "all"]),
        help="What of trained weights is trained: a new head alone, the head and then all layers, or all "
        "at once; auto tries them.  [default: auto, or all where --preset, --set audio.NAME, --layers, "
        "--teacher or a paper's --protocol is given]",
    ),
    click.option("--layers", type=click.Choice(["all", "head"]), help=f"What is trained.  {_usual('all')}"),
    click.option(
        "--loss",
        type=click.Choice(["ce", "bce"]),
        help=f"Cross-entropy, or binary on one-hot.  {_usual('ce')}",
    ),
    click.option(
        "--preset",
        metavar="NAME",
        help="The AudioSpec: emotion4q, mer500, mer500-notebook, musicnn, audioset, audioset-16k, "
        "audioset-relative, audioset-short, jumusemodb.  "
        "[default: what the network heard before; else the protocol's, of best emotion4q]",
    ),
    click.option("--epochs", type=click.IntRange(min=1), help=f"At most.  {_usual(40)}"),
    click.option("--batch", type=click.IntRange(min=2), help=f"Windows a step.  {_usual(16)}"),
    click.option("--seed", type=click.IntRange(min=0), help=f"Of the training.  {_usual(0)}"),
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any other field of the recipe (docs/BACKBONES.md), or audio.NAME.",
    ),
    click.option(
        "--validation",
        type=FiniteRange(0, 0.5),
        help=f"Share of what is not held out that chooses the epoch.  {_usual(0.2)}",
    ),
    click.option(
        "--test", type=FiniteRange(0.05, 0.5), help=f"Share that is held out, without --folds.  {_usual(0.2)}"
    ),
    click.option("--split-seed", type=click.IntRange(min=0), help=f"Of the split.  {_usual(0)}"),
)
"""Options for the recipe and the split; the protocol gives those that are left out."""


teacher_options = decorator_of(
    click.option(
        "--teacher",
        "teachers",
        multiple=True,
        metavar="SOURCE",
        callback=lambda context, option, sources: _each_once(sources),
        help="Learn from a trained network too: musicnn-msd, musicnn-mtt, a weights file, a run; "
        "may be repeated.",
    ),
    click.option(
        "--unlabelled",
        multiple=True,
        type=FOLDER,
        metavar="DIR|CSV",
        help="Music without labels, of which the teachers say what it is; may be repeated.",
    ),
    click.option(
        "--second-head",
        "second",
        multiple=True,
        type=FOLDER,
        metavar="DATA",
        help="Labelled audio with other labels, which the teachers tell too; may be repeated.",
    ),
)
"""Options for what is learnt beside the labels."""


def _each_once(sources: Iterable[str]) -> tuple[str, ...]:
    """A source that is named twice, in whatever spelling, would be heard twice as loud."""
    by_place: dict[str, str] = {}
    for source in sources:
        by_place.setdefault(os.path.realpath(source), source)
    return tuple(by_place.values())


folder_options = decorator_of(
    click.option("--resume", is_flag=True, help="Go on with the folder's training, with the same result."),
    click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a training."),
)
"""Options for a folder that already holds a training."""


def root_from_options(options: dict[str, Any]) -> Path:
    """The data folder or CSV file, downloaded first where the options say so.

    Raises:
        click.UsageError: neither or both of --data and --download.
        MerError: the download fails.
    """
    if bool(options["data"]) == options["download"]:
        raise click.UsageError("give --data FOLDER, or --download")
    if options["data"]:
        return options["data"]
    from .data.mer500_download import mer500_from_kaggle

    return mer500_from_kaggle()


def check_outside(root: Path, *folders: Path | None) -> None:
    """Whether files can be written to these folders: in a data folder each would be a label the next time.

    Raises:
        click.UsageError: one of them lies in the data folder.
    """
    for folder in filter(None, folders):
        if root.is_dir() and folder.resolve().is_relative_to(root.resolve()):
            raise click.UsageError(
                f"{folder} is to be written to and lies in the folder of the data, where it would be read as "
                "a label: name a folder elsewhere"
            )


def check_not_read(file: Path, inputs: Iterable[Path]) -> None:
    """Refuses, before any work, to replace what is read; an input that is not there is none.

    Raises:
        UsageError: the file is one of the inputs, or lies in one.
    """
    for source in filter(Path.exists, inputs):
        if file.resolve() == source.resolve() or (file.exists() and os.path.samefile(file, source)):
            raise UsageError(f"{file} is what the run reads; name another file")
        if file.resolve().is_relative_to(source.resolve()):
            raise UsageError(f"{file} lies in {source}, which the run reads; name another file")


def check_sets(options: dict[str, Any]) -> None:
    """Whether no field is given by --set and by its own option, of which one would be ignored.

    Raises:
        click.UsageError: one is.
    """
    for text in options["sets"]:
        option = OPTION_OF_FIELD.get(text.partition("=")[0], "")
        if options.get(option) is not None:
            raise click.UsageError(f"--{option} and --set {text} are the same field: give one of them")


def chosen_fields(options: dict[str, Any]) -> frozenset[str]:
    """The fields that were set on the command line, ``audio.NAME`` of the AudioSpec among them."""
    named = {**OPTION_OF_FIELD, "validation_share": "validation"}
    names = {text.partition("=")[0] for text in options["sets"]}
    preset = fields(AudioSpec) if options.get("preset") else ()
    names |= {f"audio.{field.name}" for field in preset}
    return frozenset(names | {field for field, option in named.items() if options.get(option) is not None})


def session_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a ``Session`` that are options as they stand."""
    names = ("cache", "workers", "licence", "teachers", "unlabelled", "second", "group_by")
    return {name: options[name] for name in names}
