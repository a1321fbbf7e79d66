"""A training for every fold, judged as one, and a network on every clip that is judged by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.examples import Examples
from ..data.splits import Split, split_hash
from ..evaluate.figures import confusion_png, curves_png
from ..evaluate.metrics_report import card_from_spec, metrics_from_predictions, write_json
from ..evaluate.predictions import cross_fitted, fit_temperature, pooled, save_predictions
from ..networks.checkpoint import network_from_checkpoint, save_checkpoint
from .run_folder import CARD, CHECKPOINT, LOGITS, METRICS, Mode, Outcome, outcome_from_folder
from .train_run import Job, Watcher, hash_of, train_split


def cross_validate(
    job: Job,
    examples: Examples,
    splits: Sequence[Split],
    folder: Path,
    mode: Mode,
    watch: Watcher | None = None,
) -> Outcome:
    """A training for every fold; the figures are of all songs, each by the network that never saw it.

    The temperature is fitted out of fold: each fold's calibration is judged under the others', which
    its network also keeps where it has no validation part of its own.
    """
    parts = [
        train_split(job, examples, split, folder / f"fold-{split.fold}", mode, watch) for split in splits
    ]
    predictions = [part.predictions for part in parts if part.predictions]
    probabilities, temperatures = cross_fitted(predictions)
    parts = [
        part if "validation" in part.metrics else _recalibrated(part, temperature)
        for part, temperature in zip(parts, temperatures, strict=True)
    ]
    every = pooled(predictions)
    metrics = metrics_from_predictions(every, fit_temperature(every), probabilities)
    metrics["by_fold"] = [part.metrics["macro_f1"] for part in parts]
    save_predictions(every, folder / LOGITS)
    confusion_png(
        metrics["confusion"],
        examples.labels,
        folder / "confusion.png",
        f"{job.model}, {len(splits)} folds: accuracy {metrics['accuracy']:.3f}",
    )
    curves_png({f"fold {i + 1}": part.history for i, part in enumerate(parts)}, folder / "curves.png")
    first = parts[0].metrics
    told = {name: first[name] for name in ("model", "protocol", "parameters", "macs", "recipe")}
    split = {"kind": splits[0].kind, "folds": len(splits), "hash": hash_of([s.hash for s in splits])}
    minutes = round(sum(part.metrics["minutes"] for part in parts), 2)
    write_json({**metrics, **told, "split": split, "minutes": minutes}, folder / METRICS)
    return outcome_from_folder(folder)


def _recalibrated(outcome: Outcome, temperature: float) -> Outcome:
    """Gives a finished training another temperature, in all its files."""
    assert outcome.predictions
    folder, found = outcome.folder, metrics_from_predictions(outcome.predictions, temperature)
    _retold(folder, temperature, {"metrics": found})
    write_json({**outcome.metrics, **found}, folder / METRICS)
    return outcome_from_folder(folder)


def _retold(folder: Path, temperature: float, told: Mapping[str, Any]) -> None:
    """A training's checkpoint and card anew, with another temperature and more to their provenance."""
    network, spec = network_from_checkpoint(folder / CHECKPOINT)
    spec = dataclasses.replace(spec, temperature=temperature, provenance={**spec.provenance, **told})
    save_checkpoint(network, spec, folder / CHECKPOINT)
    (folder / CARD).write_text(card_from_spec(spec), encoding="utf-8")


def train_on_everything(
    job: Job, examples: Examples, measured: Outcome, folder: Path, mode: Mode, watch: Watcher | None = None
) -> Outcome:
    """One network on every clip, with the temperature and the figures of a cross-validation.

    Nothing is held out of it, so its ``test_clips`` are none: its figures are those of networks made
    in the same way, each on a part of the clips.
    """
    every, none = np.arange(len(examples.clips)), np.arange(0)
    kind = "grouped" if examples.grouped_by != "clip" else "random"
    split = Split(kind, every, none, none, split_hash(examples.clips, none))
    outcome = train_split(job, examples, split, folder, mode, watch)
    metrics = {name: measured.metrics[name] for name in measured.metrics if name != "history"}
    told = {"metrics": metrics, "measured_by": "cross-validation"}
    _retold(folder, measured.metrics["temperature"], told)
    return outcome
