"""mer-train ensemble: several networks scored as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.cli.command import EXIT_SOME_FAILED, version_option
from ..engine.files import check_can_be_written
from ..engine.outputs.marks import has_keys, refuse_foreign
from ..engine.text.escape import for_terminal, text_from_path
from .command import limit_threads, training_command
from .options import FOLDER, check_not_read, check_outside, data_options, root_from_options

if TYPE_CHECKING:
    from ..engine.data.labelled_audio import LabelledAudio


@click.command()
@click.argument("members", nargs=-1, required=True, type=FOLDER, metavar="FOLDER|CHECKPOINT...")
@data_options
@click.option("--out", "-o", type=FOLDER, metavar="FILE.json", help="Write the metrics as JSON.")
@version_option
@training_command("")
def ensemble(**options: Any) -> int:
    """Score several networks as one, beside each of them, and each against the first.

    A member is a folder of mer-train (a training or a cross-validation), whose predictions are kept, or a
    checkpoint, which needs --data. Only songs that no member was trained on are scored.
    """
    if options["out"]:
        _check_out(options["out"], options["members"], options["data"])
    root = root_from_options(options) if options["data"] or options["download"] else None
    if root:
        check_outside(root, options["cache"])
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
    places = [path.resolve() for path in options["members"]]
    for path, place in zip(options["members"], places, strict=True):
        if places.count(place) > 1:
            raise click.UsageError(f"{text_from_path(str(path))} is named twice")
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


def _check_out(out: Path, members: Sequence[Path], data: Path | None) -> None:
    if out.suffix.lower() != ".json" or out.is_dir() or not out.absolute().parent.is_dir():
        raise click.UsageError(f"--out {out}: give a .json file in a folder that exists")
    check_can_be_written(out)
    # A run's checkpoint stands for its folder: the run's metrics are a .json file too.
    runs = [member.parent for member in members if member.name == "checkpoint.safetensors"]
    check_not_read(out, [*members, *runs, *([data] if data else [])])
    refuse_foreign(out, has_keys("ensemble"))


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
