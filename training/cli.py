"""mer-train: labelled songs in, a network and its metrics out."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.cli.command import EXIT_SOME_FAILED, SETTINGS, QuietGroup, version_option
from ..engine.text.escape import for_terminal
from .command import limit_threads, training_command
from .curves.cli import curve
from .ensemble_command import ensemble
from .listening.cli import listen, queue
from .names import name_of
from .options import (
    FOLDER,
    OPTION_OF_FIELD,
    check_outside,
    check_sets,
    chosen_fields,
    data_options,
    folder_options,
    recipe_options,
    root_from_options,
    session_fields,
    teacher_options,
)
from .table_command import table

if TYPE_CHECKING:
    from .recipe import Protocol
    from .runs.run_folder import Mode


@click.group(cls=QuietGroup, invoke_without_command=True, context_settings=SETTINGS)
@data_options
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    help="A backbone, or all; may be repeated.  [default: that of --weights, else mobilenetv3]",
)
@recipe_options
@teacher_options
@click.option(
    "--split",
    type=click.Choice(["given", "grouped", "random", "both"]),
    help="By the data's own parts; by artist, song or recording; "
    "at random; or the last two.  [default: given, where the data has parts; else the protocol's, of best "
    "grouped]",
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
@click.option(
    "--non-music",
    multiple=True,
    type=FOLDER,
    metavar="DIR",
    help="Recordings that are no music (speech, machines, effects), to tell songs from; may be repeated.",
)
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
    Exit codes: 0 done, 1 failure, 2 wrong usage, 4 done, some clips left out,
    129/130/143 stopped by SIGHUP/Ctrl-C/SIGTERM (--resume goes on).
    """
    if context.invoked_subcommand is None:
        _train(**options)


main.add_command(table)
main.add_command(ensemble)
main.add_command(curve)
main.add_command(queue)
main.add_command(listen)


@training_command("--resume goes on after the last whole epoch")
def _train(**options: Any) -> int:
    if options["final"] and not options["folds"]:
        raise click.UsageError("--final goes with --folds")
    mode = _mode(options)
    root = root_from_options(options)
    from ..engine.artifact import known_models
    from ..engine.spec import note_of_stopped
    from .networks.backbones import check_weights
    from .networks.trained import names_trained_network, trained_network
    from .progress import TerminalProgress
    from .runs.evidence_of_run import check_recordings
    from .runs.plan_choice import note_on_random_weights, with_plan
    from .runs.run_folder import check_apart, check_files, results_folder
    from .runs.session import Session, models_from_names, read_data, run_session
    from .runs.split_kinds import splits_from_choice

    limit_threads()
    check_sets(options)
    protocol = _protocol(options)
    begun = trained_network(protocol.weights) if names_trained_network(protocol.weights) else None
    if begun and (note := note_of_stopped(protocol.weights, begun.provenance)):
        click.echo(for_terminal(note), err=True)
    models = models_from_names(options["models"] or (begun.backbone if begun else "mobilenetv3",))
    settled = _settled(options)
    plan = options["plan"] or ("auto" if begun and not settled else "all")
    out = options["out"] or Path("runs", f"{protocol.name}-{'+'.join(models) if len(models) < 4 else 'all'}")
    if str(out) in known_models():  # --model takes the name before the folder
        raise click.UsageError(
            f"--model {out} would mean the model of that name: name another folder, runs/{out}"
        )
    for folder in (root, *options["unlabelled"], *options["second"]):
        check_outside(folder, out, options["cache"])
    check_apart(out, (protocol.weights, *options["teachers"]))
    if begun is None:
        check_weights(models, protocol.weights)
    check_recordings(options["non_music"])
    data = read_data(root, options["layout"], options["labels"], options["group_by"])
    session = Session(
        data,
        name_of(root.resolve()),
        models,
        protocol,
        out,
        splits_from_choice(options["split"], protocol, data),
        folds=options["folds"] or 0,
        final=options["final"],
        mode=mode,
        export=options["export"],
        chosen=chosen_fields(options),
        plan="frozen" if plan == "auto" else plan,
        non_music=options["non_music"],
        **session_fields(options),
    )
    for folder, model in session.folders.items():
        check_files(folder, model)
    if begun and settled and not options["plan"]:
        click.echo(for_terminal(f"plan all: {settled} is given"), err=True)
    note = "" if settled else note_on_random_weights(session)
    with results_folder(session.out, mode), TerminalProgress() as progress:
        if note:
            progress.say(f"{note} in place of --model" if options["models"] else note)
        if plan == "auto":
            session = with_plan(session, progress)
        _, skipped = run_session(session, progress)
    if skipped:
        clips = "1 clip was" if skipped == 1 else f"{skipped} clips were"
        click.echo(f"{clips} left out, for the reasons above", err=True)
    return EXIT_SOME_FAILED if skipped else 0


def _settled(options: dict[str, Any]) -> str:
    """The first option that asks for what no frozen network has: then nothing is left to choose; or ""."""
    asked = {
        "--preset": options["preset"],
        **{f"--set {text}": text.startswith(("audio.", "layers=")) for text in options["sets"]},
        "--layers": options["layers"],
        "--teacher": options["teachers"],
        f"--protocol {options['protocol']}": options["protocol"] != "best",
    }
    return next((option for option, value in asked.items() if value), "")


def _mode(options: dict[str, Any]) -> Mode:
    if options["resume"] and options["overwrite"]:
        raise click.UsageError("--resume and --overwrite contradict each other")
    return "resume" if options["resume"] else "overwrite" if options["overwrite"] else "fresh"


def _protocol(options: dict[str, Any]) -> Protocol:
    """The protocol with everything that the options replace."""
    from ..engine.errors import UsageError
    from ..engine.spectrogram.presets import PRESETS
    from .recipe import PROTOCOLS, with_overrides

    protocol = PROTOCOLS[options["protocol"]]
    if options["preset"] and options["preset"] not in PRESETS:
        raise UsageError(f"unknown preset {options['preset']!r}; known: {', '.join(PRESETS)}")
    recipe_fields = {field: options[option] for field, option in OPTION_OF_FIELD.items()}
    protocol_fields = {
        "weights": options["weights"],
        "audio": PRESETS.get(options["preset"] or ""),
        "validation_share": options["validation"],
        "test_share": options["test"],
        "split_seed": options["split_seed"],
        "recipe": dataclasses.replace(protocol.recipe, **_without_none(recipe_fields)),
    }
    return with_overrides(dataclasses.replace(protocol, **_without_none(protocol_fields)), options["sets"])


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


if __name__ == "__main__":
    sys.exit(main())
