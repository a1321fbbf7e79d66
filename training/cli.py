"""mer-train: labelled songs in, a network and how right it is out."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.cli.command import EXIT_SOME_FAILED, SETTINGS, report_errors, version_option
from ..engine.errors import MerError
from ..engine.signals import INTERRUPTED, sigterm_interrupts
from .options import FOLDER, data_options, folder_options, recipe_options

if TYPE_CHECKING:
    from .recipe import Protocol


def training_command(command: Callable[..., int]) -> Callable[..., None]:
    """Errors as one line; Ctrl-C and SIGTERM as 130 and 143, with what was finished kept."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> int:
        with sigterm_interrupts() as stop:
            try:
                return command(*arguments, **options)
            except KeyboardInterrupt:
                click.echo("stopped; --resume goes on after the last whole epoch", err=True)
                return stop.code or INTERRUPTED
            except ModuleNotFoundError as error:
                if (error.name or "").startswith("merkit"):
                    raise
                package = f"training needs the package {error.name}"
                raise MerError(f"{package}: pip install 'merkit[train]'") from None

    return report_errors(run)


@click.group(
    invoke_without_command=True,
    context_settings=SETTINGS,
)
@data_options
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    default=("mobilenetv3",),
    help="A backbone, or all; may be repeated.",
)
@recipe_options
@click.option(
    "--split",
    type=click.Choice(["grouped", "random", "both"]),
    help="By artist, song or recording, or at random.",
)
@click.option(
    "--folds", type=click.IntRange(min=2), default=None, help="Cross-validation instead of one held-out part."
)
@click.option(
    "--final", is_flag=True, help="After --folds, one network on every clip, with their temperature."
)
@click.option("--out", "-o", type=FOLDER, help="Folder of the results.  [default: runs/PROTOCOL-MODEL]")
@folder_options
@click.option("--export/--no-export", default=True, help="Write .onnx and score it through the engine.")
@click.option("--licence", metavar="TEXT", help="What the model card says of the network's licence.")
@version_option
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Train a CNN to say what emotion a song carries.

    Splits labelled songs by artist, song or recording (where the data says), trains, fits the
    temperature on validation songs, looks at the test songs once, and writes checkpoint.safetensors,
    an .onnx file, metrics.json, a model card, curves and confusion matrix to a folder. With a paper's
    protocol it does what the paper did, and the honest split beside it.

    \b
    Exit codes: 0 done, 1 failure, 2 wrong usage, 4 done but some clips could not be read,
    130/143 stopped by Ctrl-C/SIGTERM (--resume goes on).
    """
    if context.invoked_subcommand is None:
        _train(**options)


@main.command()
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
@version_option
def table(**options: Any) -> None:
    """Fill the table of all networks, one resumable step a network.

    Every network is trained with the best protocol on one grouped split, exported, scored through the
    engine, and gets a row. What is done is not done again, so a stopped table goes on when called again.
    Networks go to ~/.cache/mer/models with their metrics, never into the repository.
    """
    _table(**options)


@training_command
def _table(**options: Any) -> int:
    root = _root(options)
    from ..engine.artifact import models_home
    from .progress import View
    from .recipe import PROTOCOLS, with_overrides
    from .runs.results_table import TablePlan, fill_table
    from .runs.session import Session, models_from_names, read_data, splits_from_choice

    data = read_data(root, options["layout"], options["labels"])
    protocol = with_overrides(PROTOCOLS["best"], options["sets"])
    session = Session(
        data,
        root.resolve().name,
        models_from_names(options["models"]),
        protocol,
        options["runs"] or models_home().parent / "runs" / "table",
        splits_from_choice(None, protocol, data),
        cache=options["cache"],
        workers=options["workers"],
        licence=options["licence"],
        given=_given(options),
    )
    precisions = tuple(name for name in options["precisions"] if name != "none")
    command = f"mer-train table --data {session.name} --epochs {options['epochs']}"
    command += f" --heavy-epochs {options['heavy_epochs']}" + "".join(f" --set {s}" for s in options["sets"])
    plan = TablePlan(
        session,
        root,
        options["layout"],
        options["epochs"],
        options["heavy_epochs"],
        precisions,
        options["results"],
        command,
    )
    with View() as view:
        skipped = fill_table(plan, view)
    click.echo(f"rows are in {options['results']}")
    return EXIT_SOME_FAILED if skipped else 0


@main.command()
@click.argument("members", nargs=-1, required=True, type=FOLDER, metavar="FOLDER|CHECKPOINT...")
@data_options
@click.option("--out", "-o", type=FOLDER, metavar="FILE", help="Write the metrics as JSON.")
def ensemble(**options: Any) -> None:
    """Score several networks as one, beside each of them, and each against the first.

    A member is a folder of mer-train (a training or a cross-validation), whose predictions are kept, or a
    checkpoint, which needs --data. Only songs that no member was trained on are scored.
    """
    _ensemble(**options)


@training_command
def _ensemble(**options: Any) -> int:
    root = _root(options) if options["data"] or options["download"] else None
    from .data.spectrogram_cache import cache_home
    from .evaluate.metrics_report import write_json
    from .runs.ensemble import ensemble_metrics, member_from_path
    from .runs.session import read_data

    def data(labels: Any) -> Any:
        assert root is not None
        return read_data(root, options["layout"], options["labels"] or ",".join(labels))

    cache, workers = options["cache"] or cache_home(), options["workers"]
    found = ensemble_metrics(
        [member_from_path(path, data if root else None, cache, workers) for path in options["members"]]
    )
    for name, m in found.items():
        low, high = m["macro_f1_interval"]
        line = (
            f"{name}\tmacro-F1 {m['macro_f1']:.3f} ({low:.3f} to {high:.3f})\taccuracy {m['accuracy']:.3f}\t"
            f"calibration error {m['calibration_error']:.3f}\t{m['songs']} songs"
        )
        if "against_first" in m:
            low, high = (100 * end for end in m["against_first"]["interval"])
            line += f"\t{100 * m['against_first']['gain']:+.1f} points ({low:+.1f} to {high:+.1f})"
        click.echo(line)
    if options["out"]:
        write_json(found, options["out"])
    return 0


@training_command
def _train(**options: Any) -> int:
    if options["final"] and not options["folds"]:
        raise click.UsageError("--final goes with --folds")
    mode = _mode(options)
    root = _root(options)
    from .progress import View
    from .runs.session import Session, models_from_names, read_data, run_session, splits_from_choice

    models = models_from_names(options["models"])
    protocol = _protocol(options)
    data = read_data(root, options["layout"], options["labels"])
    out = options["out"] or Path("runs", f"{protocol.name}-{'+'.join(models) if len(models) < 4 else 'all'}")
    session = Session(
        data,
        root.resolve().name,
        models,
        protocol,
        out,
        splits_from_choice(options["split"], protocol, data),
        options["folds"] or 0,
        options["final"],
        mode,
        options["cache"],
        options["workers"],
        options["export"],
        options["licence"],
        _given(options),
    )
    with View() as view:
        _, skipped = run_session(session, view)
    if skipped:
        click.echo(f"{skipped} clips could not be read and were left out", err=True)
    return EXIT_SOME_FAILED if skipped else 0


def _given(options: dict[str, Any]) -> frozenset[str]:
    named = {text.partition("=")[0] for text in options["sets"]}
    return frozenset(named | {"epochs"} if options["epochs"] else named)


def _mode(options: dict[str, Any]) -> Any:
    if options["resume"] and options["overwrite"]:
        raise click.UsageError("--resume and --overwrite contradict each other")
    return "resume" if options["resume"] else "overwrite" if options["overwrite"] else "fresh"


def _root(options: dict[str, Any]) -> Path:
    if bool(options["data"]) == options["download"]:
        raise click.UsageError("give --data FOLDER, or --download")
    if options["data"]:
        return options["data"]
    from .data.mer500_download import mer500_from_kaggle

    return mer500_from_kaggle()


def _protocol(options: dict[str, Any]) -> Protocol:
    from ..engine.errors import UsageError
    from ..engine.spec import PRESETS
    from .recipe import PROTOCOLS, with_overrides

    protocol = PROTOCOLS[options["protocol"]]
    if options["preset"] and options["preset"] not in PRESETS:
        raise UsageError(f"unknown preset {options['preset']!r}; known: {', '.join(PRESETS)}")
    given = {
        "weights": options["weights"],
        "audio": PRESETS.get(options["preset"] or ""),
        "validation_share": options["validation"],
        "test_share": options["test"],
        "split_seed": options["split_seed"],
    }
    recipe = {
        "layers": options["layers"],
        "loss": options["loss"],
        "epochs": options["epochs"],
        "batch_size": options["batch"],
        "seed": options["seed"],
    }
    recipe = {name: value for name, value in recipe.items() if value is not None}
    given = {name: value for name, value in given.items() if value is not None}
    given["recipe"] = dataclasses.replace(protocol.recipe, **recipe)
    return with_overrides(dataclasses.replace(protocol, **given), options["sets"])


if __name__ == "__main__":
    sys.exit(main())
