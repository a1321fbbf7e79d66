"""The table of all networks: one resumable step a network, rows in a Markdown file."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.artifact import models_home
from ...engine.backbone_names import BACKBONES
from ...engine.data.labelled_audio import held_out_clips
from ...engine.files import write_whole
from ..data.examples import examples_from_audio
from ..data.spectrogram_cache import cache_home
from ..evaluate.figures import curves_png
from ..evaluate.metrics_report import write_json
from ..networks.checkpoint import spec_from_checkpoint
from ..progress import View
from ..recipe import protocol_for
from .export_and_score import export_checkpoint, score_artifact
from .run_folder import CHECKPOINT, METRICS, epochs_in, outcome_from_folder
from .session import Session
from .train_run import Job, splits_of, train_split

LIGHT_FIRST = (
    "squeezenet",
    "mobilenetv3",
    "audiocnn",
    "resnet18",
    "mobilenetv2",
    "alexnet",
    "densenet121",
    "resnet50",
    "efficientnet_b0",
    "vgg16",
)
"""By the minutes a training takes on two cores, so that the table fills early."""

HEAVY = ("densenet121", "resnet50", "efficientnet_b0", "vgg16")

_BEGIN, _END = "<!-- mer-train table: begin -->", "<!-- mer-train table: end -->"
_ROW = "row.json"
_COLUMNS = (
    "parameters",
    "MACs a window",
    "epochs",
    "minutes",
    "macro-F1",
    "95% interval",
    "accuracy",
    "ECE",
)


@dataclass(frozen=True)
class TablePlan:
    """What a table is made of: ``epochs`` and ``heavy_epochs`` replace the recipe's."""

    session: Session
    root: Path
    layout: str
    epochs: int
    heavy_epochs: int
    precisions: tuple[str, ...]
    results: Path
    command: str


def fill_table(plan: TablePlan, view: View) -> int:
    """Trains, exports and scores what is not done yet, writes the rows after every step.

    Returns how many clips could not be read.

    The split is one for all networks. A network goes to ``models_home()`` with its metrics as soon as
    its row is whole; what is unfinished says so in its row.

    Raises:
        MerError: data that cannot be used, or a training that fails; finished rows stay.
    """
    session = plan.session
    examples = examples_from_audio(
        session.data,
        session.protocol.audio,
        session.cache or cache_home(),
        0,
        session.workers,
        view.cached(len(session.data.clips)),
    )
    for path, reason in examples.skipped:
        view.say(f"skipped {path}: {reason}")
    models = sorted(session.models, key=LIGHT_FIRST.index)
    for model in models:
        folder = session.out / model
        epochs = plan.heavy_epochs if model in HEAVY else plan.epochs
        protocol = protocol_for(session.protocol, model, session.given)
        protocol = dataclasses.replace(protocol, recipe=dataclasses.replace(protocol.recipe, epochs=epochs))
        kind: Any = session.splits[0]
        split = splits_of(examples, protocol, kind)[0]
        told = {"licence": session.licence} if session.licence else {}
        job = Job(model, protocol, session.name, **told)
        has_row = (folder / _ROW).exists()
        if not has_row:
            write_table(plan, models)
        outcome = train_split(
            job, examples, split, folder, "resume", view
        )  # a finished one is checked and read
        if not has_row:
            view.say(f"{model}: macro-F1 {outcome.metrics['macro_f1']:.3f}; exporting and scoring")
            write_json(_delivered(plan, folder, model, view), folder / _ROW)
        write_table(plan, models)
    done = {model: outcome_from_folder(session.out / model) for model in models}
    curves_png({model: o.history for model, o in done.items()}, session.out / "curves.png")
    return len(examples.skipped)


def write_table(plan: TablePlan, models: Sequence[str]) -> None:
    """Puts the rows between the file's two markers, or at its end where it has none."""
    rows = [_line(plan, model) for model in models]
    head = f"| network |{''.join(f' {name} |' for name in (*_COLUMNS, *map(str.upper, plan.precisions)))}"
    rule = "|---|" + "---:|" * (len(_COLUMNS) + len(plan.precisions))
    text = "\n".join(
        [
            _BEGIN,
            "",
            f"`{plan.command}`, on {os.cpu_count()} cores of {_processor()}.",
            "",
            head,
            rule,
            *rows,
            "",
            _END,
        ]
    )
    before = plan.results.read_text(encoding="utf-8") if plan.results.exists() else "# Results\n"
    found = re.search(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", before, re.S)
    if found:
        after = before[: found.start()] + text + before[found.end() :]
    else:
        after = f"{before.rstrip()}\n\n{text}\n"
    plan.results.parent.mkdir(parents=True, exist_ok=True)
    write_whole(plan.results, after)


def _line(plan: TablePlan, model: str) -> str:
    folder = plan.session.out / model
    title = BACKBONES.get(model, "AudioCNN (ours)")
    columns = len(_COLUMNS) + len(plan.precisions)
    if not (folder / _ROW).exists():
        total = plan.heavy_epochs if model in HEAVY else plan.epochs
        done = epochs_in(folder)
        state = f"not finished: epoch {done} of {total}"
        if (folder / METRICS).exists():
            state = "trained, not yet scored"
        return f"| {title} | {state} |" + " |" * (columns - 1)
    row = json.loads((folder / _ROW).read_text(encoding="utf-8"))
    low, high = row["interval"]
    cells = [
        title,
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['macs'] / 1e6:,.0f} M",
        str(row["epochs"]),
        f"{row['minutes']:.0f}",
        f"{row['macro_f1']:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{row['accuracy']:.3f}",
        f"{row['calibration_error']:.3f}",
        *(row["precisions"].get(name, "") for name in plan.precisions),
    ]
    return f"| {' | '.join(cells)} |"


def _delivered(plan: TablePlan, folder: Path, model: str, view: View) -> Mapping[str, Any]:
    """Exports to ``models_home()``, scores the file through the engine, tries the other precisions."""
    metrics = outcome_from_folder(folder).metrics
    home = models_home()
    onnx = home / f"{model}.onnx"
    export_checkpoint(folder / CHECKPOINT, onnx)
    data = plan.session.data
    chosen = held_out_clips(data.clips, spec_from_checkpoint(folder / CHECKPOINT).provenance["test_clips"])
    found = score_artifact(onnx, data, chosen, plan.session.workers)
    shutil.copyfile(folder / CHECKPOINT, home / f"{model}.safetensors")
    shutil.copyfile(folder / METRICS, home / f"{model}.json")
    return {
        "network": model,
        "parameters": metrics["parameters"],
        "macs": metrics["macs"],
        "epochs": metrics["epochs"],
        "minutes": metrics["minutes"],
        "validation_macro_f1": metrics.get("validation", {}).get("macro_f1"),
        "macro_f1": found.macro_f1,
        "interval": list(found.interval),
        "accuracy": found.accuracy,
        "calibration_error": found.calibration_error,
        "precisions": _converted(plan, onnx, view),
    }


def _converted(plan: TablePlan, onnx: Path, view: View) -> dict[str, str]:
    """Macro-F1 in each precision on the same songs, or that export's checks refuse it."""
    if not plan.precisions:
        return {}
    from ...export.checks import GateError
    from ...export.eval_set import DataPlan, gather_evidence
    from ...export.exporter import Job as Export
    from ...export.exporter import Plan, export
    from ...export.source import open_source

    source = open_source(str(onnx))
    place = DataPlan(plan.root, plan.layout, workers=plan.session.workers)
    evidence = gather_evidence(source.artifact.spec, place, view.say)
    # The table shows what is lost, so no loss is too large for it; the other checks hold.
    job = Export(source, evidence, Plan(f"{onnx.parent}/", "onnx", max_drop=100.0), view.say)
    found: dict[str, str] = {}
    for precision in plan.precisions:
        name: Any = precision
        try:
            scored = export(job, name).checks.accuracy
            found[precision] = f"{scored.macro_f1 / 100:.3f}" if scored else ""
        except GateError as error:
            view.say(f"{onnx.stem} {precision}: {error}")
            found[precision] = "refused"
    return found


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()
