"""Cross-validation: a training for every fold, measured together; and a network trained on every clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.files import write_whole
from ..data.examples import Examples
from ..data.splits import Split, hash_of_lines, held_out_part, split_hash
from ..evaluate.figures import confusion_png, curves_png
from ..evaluate.metrics_report import (
    CROSS_VALIDATION,
    HEARD_BEFORE,
    card_from_spec,
    metrics_from_predictions,
    write_json,
)
from ..evaluate.predictions import cross_fitted, fit_temperature, pooled, save_predictions
from ..networks.checkpoint import evidence_from_checkpoint, network_from_checkpoint, save_checkpoint
from ..recipe import SplitKind
from .observer import Observer
from .provenance import Job, split_note
from .run_folder import (
    CARD,
    CHECKPOINT,
    LOGITS,
    METRICS,
    FinishedRun,
    Mode,
    checkpoint_of,
    prepare_folds_folder,
    run_from_folder,
)
from .train_run import train_split

_OF_EVERY_FOLD = ("model", "protocol", "parameters", "macs", "recipe", "skipped")


@dataclass(frozen=True)
class Training:
    """What a fold's network is trained on and how."""

    job: Job
    examples: Examples
    split: Split


def cross_validate(
    trainings: Sequence[Training], folder: Path, mode: Mode, observer: Observer | None = None
) -> FinishedRun:
    """Trains each fold in ``folder/fold-N``; the metrics are of all songs, each by its own fold's network.

    Each fold's probabilities are calibrated with the temperature of the other folds. A fold's network
    gets that temperature too if it has no validation part to fit one to.

    Raises:
        UsageError, MerError: see ``train_split``.
    """
    for each in trainings:
        if each.job.teaching:  # what may not teach the last fold is refused before the first is trained
            each.job.teaching.facts(each.examples, each.split)
    prepare_folds_folder(folder, mode)
    first, count = trainings[0], len(trainings)
    job, examples = first.job, first.examples
    runs = [
        train_split(each.job, each.examples, each.split, folder / f"fold-{each.split.fold}", mode, observer)
        for each in trainings
    ]
    predictions = [run.predictions for run in runs if run.predictions]
    probabilities, temperatures = cross_fitted(predictions)
    runs = [
        run if "validation" in run.metrics else _recalibrated(run, temperature)
        for run, temperature in zip(runs, temperatures, strict=True)
    ]
    all_predictions = pooled(predictions)
    metrics = metrics_from_predictions(all_predictions, fit_temperature(all_predictions), probabilities)
    metrics["by_fold"] = [run.metrics["macro_f1"] for run in runs]
    if heard := sum(run.metrics.get(HEARD_BEFORE, 0) for run in runs):
        metrics[HEARD_BEFORE] = heard
    if job.plan_note:
        metrics["plan_by_fold"] = [training.job.plan for training in trainings]
    save_predictions(all_predictions, folder / LOGITS)
    title = f"{job.model}, {count} folds: accuracy {metrics['accuracy']:.3f}"
    confusion_png(metrics["confusion"], examples.labels, folder / "confusion.png", title)
    histories = {f"fold {i}": run.history for i, run in enumerate(runs, start=1)}
    curves_png(histories, folder / "curves.png", held_out_part(len(first.split.validation)))
    split = {
        "kind": first.split.kind,
        "note": f"{count} folds; the first {split_note(examples, first.split, job.protocol)}",
        "folds": count,
        "hash": hash_of_lines(training.split.hash for training in trainings),
    }
    common = {name: runs[0].metrics[name] for name in _OF_EVERY_FOLD}
    minutes = round(sum(run.metrics["minutes"] for run in runs), 2)
    facts = {"split": split, "skipped": examples.left_out, "minutes": minutes}
    write_json({**metrics, **common, **facts}, folder / METRICS)
    return run_from_folder(folder)


def train_on_everything(
    job: Job,
    examples: Examples,
    measured: FinishedRun,
    folder: Path,
    mode: Mode,
    observer: Observer | None = None,
) -> FinishedRun:
    """One network on every clip, with the temperature and the metrics of a cross-validation.

    No clip is held out, so its ``test_clips`` are empty. The metrics are those of the folds' networks,
    which were trained in the same way on a part of the clips.

    Raises:
        UsageError, MerError: see ``train_split``.
    """
    every_clip, none = np.arange(len(examples.clips)), np.arange(0)
    kind: SplitKind = measured.metrics["split"]["kind"]
    split = Split(kind, every_clip, none, none, split_hash(examples.clips, none))
    run = train_split(job, examples, split, folder, mode, observer)
    # Files that were left out are the user's own business: the network is passed on.
    metrics = {name: value for name, value in measured.metrics.items() if name not in ("history", "skipped")}
    provenance = {"metrics": metrics, "measured_by": CROSS_VALIDATION}
    _update_checkpoint(folder, measured.metrics["temperature"], provenance)
    return run


def _recalibrated(run: FinishedRun, temperature: float) -> FinishedRun:
    """The run with another temperature in all its files."""
    assert run.predictions
    metrics = metrics_from_predictions(run.predictions, temperature)
    if HEARD_BEFORE in run.metrics:
        metrics[HEARD_BEFORE] = run.metrics[HEARD_BEFORE]
    _update_checkpoint(run.folder, temperature, {"metrics": metrics})
    write_json({**run.metrics, **metrics}, run.folder / METRICS)
    return run_from_folder(run.folder)


def _update_checkpoint(folder: Path, temperature: float, provenance: Mapping[str, Any]) -> None:
    """Writes the checkpoint and its card again, with another temperature and updated provenance."""
    network, spec = network_from_checkpoint(checkpoint_of(folder))
    evidence = evidence_from_checkpoint(folder / CHECKPOINT)
    spec = dataclasses.replace(spec, temperature=temperature, provenance={**spec.provenance, **provenance})
    save_checkpoint(network, spec, folder / CHECKPOINT, evidence)
    write_whole(folder / CARD, card_from_spec(spec))
