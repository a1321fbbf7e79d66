"""The table of all networks: trained, exported and scored one after another, rows in a Markdown file."""

from __future__ import annotations

import dataclasses
import filecmp
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ...engine.artifact import models_home
from ...engine.backbone_names import NETWORKS
from ...engine.errors import MerError
from ...engine.files import whole_file
from ..data.splits import splits_from_protocol
from ..evaluate.figures import curves_png
from ..evaluate.metrics_report import write_json
from ..teachers.teaching import Teaching
from .announcements import announcement
from .export_and_score import export_run, score_artifact
from .observer import Observer
from .provenance import Job
from .results_section import this_machine, write_section
from .run_folder import CHECKPOINT, METRICS, epochs_in, run_from_folder
from .session import Session, begin, read_sounds
from .train_run import train_split

_LIGHT_FIRST = (
    "squeezenet", "mobilenetv3", "audiocnn", "audioset", "musicnn", "resnet18", "mobilenetv2", "alexnet",
    "densenet121", "resnet50", "efficientnet_b0", "vgg16",
)  # fmt: skip
"""Ordered by the duration of a training on two cores, so that the table has rows early."""

_PACKAGES = ("onnxconverter_common", "onnxruntime.quantization")  # of FP16 and INT8

HEAVY = ("densenet121", "resnet50", "efficientnet_b0", "vgg16")

_ROW = "row.json"
_COLUMNS = ("parameters", "MACs a window", "epochs", "minutes", "macro-F1", "95% interval", "accuracy", "ECE")


_OF_A_ROW = {
    *("parameters", "macs", "epochs", "minutes", "macro_f1", "interval"),
    *("accuracy", "calibration_error", "precisions"),
}


@dataclass(frozen=True)
class TablePlan:
    """What the table is made of.

    Attributes:
        root: the data folder, and ``layout`` how it is laid out, for the export's calibration.
        epochs: replaces the recipe's; ``heavy_epochs`` for the four slowest networks.
        precisions: columns beside FP32.
        results: the Markdown file that gets the rows.
        command: how the table was made, for that file.
    """

    session: Session
    root: Path
    layout: str
    epochs: int
    heavy_epochs: int
    precisions: tuple[str, ...]
    results: Path
    command: str

    def epochs_of(self, model: str) -> int:
        """How many epochs a network is trained."""
        return self.heavy_epochs if model in HEAVY else self.epochs

    def job(self, model: str, teaching: Teaching | None = None) -> Job:
        """How a network is trained."""
        protocol = self.session.protocol_of(model)
        recipe = dataclasses.replace(protocol.recipe, epochs=self.epochs_of(model))
        return self.session.job(model, dataclasses.replace(protocol, recipe=recipe), teaching)


def fill_table(plan: TablePlan, observer: Observer) -> int:
    """Trains, exports and scores the networks that have no row yet; writes the table after every step.

    All networks share one split. A network is put into ``models_home()`` with its metrics as soon as its
    row is complete, and again where another table has replaced it since; the row of an unfinished one says
    how far it is.

    Returns:
        How many clips could not be read.

    Raises:
        UsageError: see ``begin``.
        MerError: the data cannot be used, or a training fails; finished rows stay.
        ModuleNotFoundError: an export of these precisions needs a package; said before anything is trained.
    """
    for package in _PACKAGES if plan.precisions else ():
        import_module(package)
    session = begin(plan.session, observer)
    examples, teaching = read_sounds(session, observer)
    models = sorted(session.models, key=place_by_cost)
    for model in models:
        folder, job = session.out / model, plan.job(model, teaching[model])
        heard = examples[model]
        (split,) = splits_from_protocol(
            heard.clips, job.protocol, session.splits[0], recordings=heard.recordings
        )
        row = _row_in(folder)
        lacking = row is None or not row["precisions"].keys() >= {*plan.precisions}
        if lacking:
            observer.say(announcement(heard, [split], job.protocol, model))
            write_table(plan, models)
        # A finished training is not repeated; one of another recipe is refused.
        run = train_split(job, heard, split, folder, "resume", observer)
        if replaced := _of_another(folder, model):
            observer.say(f"replaces {replaced}, which this table did not write")
        if replaced or lacking:
            observer.say(f"{model}: macro-F1 {run.metrics['macro_f1']:.3f}; exporting and scoring")
            known = {} if replaced or row is None else row["precisions"]
            write_json(_exported_row(plan, folder, model, known, observer), folder / _ROW)
        write_table(plan, models)
    histories = {model: run_from_folder(session.out / model).history for model in models}
    curves_png(histories, session.out / "curves.png")
    return max(len(of_model.skipped) for of_model in examples.values())


def place_by_cost(model: str) -> int:
    """A network's place in the order of what a training costs; those of other packages come last."""
    return _LIGHT_FIRST.index(model) if model in _LIGHT_FIRST else len(_LIGHT_FIRST)


def write_table(plan: TablePlan, models: Sequence[str]) -> None:
    """Writes the rows between the file's two markers, or at its end where it has none."""
    columns = (*_COLUMNS, *map(str.upper, plan.precisions))
    lines = [
        f"`{plan.command}`, on {this_machine()}.",
        "",
        f"| network |{''.join(f' {name} |' for name in columns)}",
        "|---|" + "---:|" * len(columns),
        *(_row_text(plan, model) for model in models),
    ]
    write_section(plan.results, "table", lines)


def _row_text(plan: TablePlan, model: str) -> str:
    folder = plan.session.out / model
    title = NETWORKS.get(model, model)
    row = _row_in(folder)
    if row is None:
        state = f"not finished: epoch {epochs_in(folder)} of {plan.epochs_of(model)}"
        if (folder / METRICS).exists():
            state = "trained, not yet scored"
        return f"| {title} | {state} |" + " |" * (len(_COLUMNS) + len(plan.precisions) - 1)
    interval = row["interval"] and "{:.3f} to {:.3f}".format(*row["interval"])
    cells = [
        title,
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['macs'] / 1e6:,.0f} M",
        str(row["epochs"]),
        f"{row['minutes']:.0f}",
        f"{row['macro_f1']:.3f}",
        interval or "too few clips",
        f"{row['accuracy']:.3f}",
        f"{row['calibration_error']:.3f}",
        *(row["precisions"].get(name, "") for name in plan.precisions),
    ]
    return f"| {' | '.join(cells)} |"


def _row_in(folder: Path) -> Mapping[str, Any] | None:
    """A finished network's row; None where there is none, or a damaged one, which is then made again."""
    try:
        row = json.loads((folder / _ROW).read_text(encoding="utf-8"))
        return row if row.keys() >= _OF_A_ROW and isinstance(row["precisions"], dict) else None
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _exported_row(
    plan: TablePlan, folder: Path, model: str, known: Mapping[str, str], observer: Observer
) -> Mapping[str, Any]:
    """Exports a network to ``models_home()``, scores it, and tries the precisions that are not known."""
    home = models_home()
    onnx = home / f"{model}.onnx"
    home.mkdir(parents=True, exist_ok=True)
    # Before the file: by it the run of a table that was stopped meanwhile is known.
    _copy(folder / CHECKPOINT, home / f"{model}.safetensors")
    export_run(folder, onnx)
    score = score_artifact(onnx, plan.session.data, plan.session.workers)
    if score is None:
        raise MerError(f"{folder} holds no held-out clip of this data")
    for path, reason in score.failed:
        observer.say(f"left out, since the engine refuses it: {path}: {reason}")
    _copy(folder / METRICS, home / f"{model}.json")
    metrics = run_from_folder(folder).metrics
    unknown = [precision for precision in plan.precisions if precision not in known]
    return {
        "parameters": metrics["parameters"],
        "macs": metrics["macs"],
        "epochs": metrics["epochs"],
        "minutes": metrics["minutes"],
        "macro_f1": score.macro_f1,
        "interval": score.interval and list(score.interval),
        "accuracy": score.accuracy,
        "calibration_error": score.calibration_error,
        "precisions": {**known, **_converted(plan, unknown, onnx, observer)},
    }


def _of_another(folder: Path, model: str) -> Path | None:
    """The file in ``models_home()`` that is not of the run in ``folder``; None where there is none."""
    onnx, copy = (models_home() / f"{model}{suffix}" for suffix in (".onnx", ".safetensors"))
    own = folder / CHECKPOINT
    if not onnx.exists() or not own.exists():
        return None
    return None if copy.exists() and filecmp.cmp(copy, own, shallow=False) else onnx


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as content, whole_file(target) as file:
        shutil.copyfileobj(content, file)


def _converted(plan: TablePlan, precisions: Sequence[str], onnx: Path, observer: Observer) -> dict[str, str]:
    """The cell of each precision: macro-F1 on the same songs, or "refused" by the export's checks."""
    if not precisions:
        return {}
    from ...export.checks import GateError
    from ...export.data_plan import DataPlan, sets_from_plan
    from ...export.exporter import export
    from ...export.job import Job as Export
    from ...export.job import Plan
    from ...export.source import open_source

    source = open_source(str(onnx))
    data_plan = DataPlan(plan.root, plan.layout, workers=plan.session.workers)
    eval_set, calibration_set = sets_from_plan(source.artifact.spec, data_plan, observer.say)
    # The table shows the loss of accuracy, so it accepts any; the export's other checks apply.
    plan_of_export = Plan(f"{onnx.parent}/", "onnx", max_drop=1.0)
    job = Export(source, eval_set, calibration_set, plan_of_export, observer.say)
    cells: dict[str, str] = {}
    for precision in precisions:
        name: Any = precision
        try:
            scored = export(job, name).checks.accuracy
            cells[precision] = f"{scored.macro_f1:.3f}" if scored and scored.claimed else ""
        except GateError as error:
            observer.say(f"{onnx.stem} {precision}: {error}")
            cells[precision] = "refused"
    return cells
