"""A training from labelled audio to a folder of results; whatever is finished is not done again."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as Interface

import torch
from torch import nn

from ...engine.data.labelled_audio import clip_names
from ...engine.spec import AudioSpec, ModelSpec
from ..data.examples import Examples, standardised, tag_targets
from ..data.splits import Split, folds, holdout, split_hash
from ..evaluate.figures import confusion_png, curves_png
from ..evaluate.metrics_report import (
    card_from_spec,
    metrics_from_predictions,
    parameters_and_macs,
    write_json,
)
from ..evaluate.predictions import fit_temperature, predictions_from_network, save_predictions
from ..fit.trainer import Epoch, train
from ..networks.backbones import build_backbone, head_parameters, keep_outputs, network_name
from ..networks.checkpoint import save_checkpoint
from ..recipe import Protocol
from .run_folder import (
    CARD,
    CHECKPOINT,
    LOGITS,
    METRICS,
    STATE,
    Mode,
    Outcome,
    epochs_in,
    outcome_from_folder,
    prepared,
)

SplitKind = Literal["grouped", "random"]


class Watcher(Interface):
    """Whoever looks on: a terminal, a log, nobody."""

    def begin(self, name: str, epochs: int, done: int) -> None: ...

    def epoch(self, row: Epoch) -> None: ...


class Nobody:
    def begin(self, name: str, epochs: int, done: int) -> None:
        pass

    def epoch(self, row: Epoch) -> None:
        pass


@dataclass(frozen=True)
class Job:
    """What to train, how, and what its card must say. ``data_name`` and ``licence`` are text."""

    model: str
    protocol: Protocol
    data_name: str
    licence: str = "not stated; the music's own terms bind whoever passes the network on"


def splits_of(examples: Examples, protocol: Protocol, kind: SplitKind, count: int = 0) -> list[Split]:
    """One held-out part of ``protocol.test_share``, or ``count`` folds; validation is cut from the rest.

    Raises:
        MerError: too few clips or groups.
    """
    grouped, seed = kind == "grouped", protocol.split_seed
    if count:
        pairs = folds(examples.clips, count, seed, grouped)
    else:
        pairs = [holdout(examples.clips, protocol.test_share, seed, grouped)]
    made = []
    for i, (training, test) in enumerate(pairs):
        validation = training[:0]
        if protocol.validation_share:
            inner = [examples.clips[j] for j in training]
            kept, chosen = holdout(inner, protocol.validation_share, seed + 1, grouped)
            training, validation = training[kept], training[chosen]
        number = i + 1 if count else 0
        made.append(Split(kind, training, validation, test, split_hash(examples.clips, test), number, count))
    return made


def train_split(
    job: Job,
    examples: Examples,
    split: Split,
    folder: Path,
    mode: Mode = "fresh",
    watch: Watcher | None = None,
) -> Outcome:
    """Trains one network, fits its temperature on validation, looks at the test part once, writes all.

    Raises:
        UsageError: the folder holds a training and the mode is "fresh".
        MerError: it holds another training than this; or the loss is not finite: then the checkpoint
            of the last good epoch is there.
    """
    watch = watch or Nobody()
    protocol, recipe = job.protocol, job.protocol.recipe
    audio = standardised(protocol.audio, examples, split.training)
    key = _key(job, examples, split, audio)
    if prepared(folder, key, mode):
        return outcome_from_folder(folder)
    tags, carried = tag_targets(examples, split.training) if recipe.tag_weight else ((), None)
    network = _untrained(job, len(examples.labels) + len(tags))
    # Both papers draw their test set's curves; nothing is chosen by them.
    watched = split.validation
    if not len(watched) and protocol.name != "best":
        watched = split.test
    if not len(split.validation):
        recipe = dataclasses.replace(recipe, keep="last", patience=0)

    def spec(temperature: float = 1.0, metrics: Mapping[str, Any] | None = None) -> ModelSpec:
        told = _provenance(job, examples, split, tags)
        told |= {"metrics": dict(metrics or {}), "finished": metrics is not None}
        return ModelSpec(network_name(job.model), examples.labels, audio, temperature, told)

    def without_tags(judged: nn.Module) -> nn.Module:
        return keep_outputs(copy.deepcopy(judged), job.model, len(examples.labels)) if tags else judged

    watch.begin(folder.name, recipe.epochs, epochs_in(folder))
    network, history = train(
        network,
        examples.decibels,
        examples.targets,
        split.training,
        watched,
        audio,
        recipe,
        folder / STATE,
        watch.epoch,
        lambda judged, row: save_checkpoint(without_tags(judged), spec(), folder / CHECKPOINT),
        key,
        carried,
    )
    network = without_tags(network)
    temperature, metrics, predictions = 1.0, {}, None
    if len(split.validation):
        seen = predictions_from_network(network, examples, split.validation, audio, recipe.eval_windows)
        temperature = fit_temperature(seen)
        chosen = metrics_from_predictions(seen, temperature)
        metrics["validation"] = {
            name: chosen[name] for name in ("songs", "accuracy", "macro_f1", "calibration_error", "log_loss")
        }
    if len(split.test):
        predictions = predictions_from_network(network, examples, split.test, audio, recipe.eval_windows)
        metrics = metrics_from_predictions(predictions, temperature) | metrics
        save_predictions(predictions, folder / LOGITS)
        title = f"{job.model}, {protocol.name}: accuracy {metrics['accuracy']:.3f}"
        confusion_png(metrics["confusion"], examples.labels, folder / "confusion.png", title)
    finished = spec(temperature, metrics)
    save_checkpoint(network, finished, folder / CHECKPOINT)
    (folder / CARD).write_text(card_from_spec(finished), encoding="utf-8")
    curves_png({job.model: history}, folder / "curves.png", "validation" if len(split.validation) else "test")
    parameters, macs = parameters_and_macs(network, audio)
    write_json(
        {
            **metrics,
            "model": network_name(job.model),
            "protocol": protocol.name,
            "parameters": parameters,
            "macs": macs,
            "split": finished.provenance["split"],
            "skipped": [[str(path), reason] for path, reason in examples.skipped],
            "recipe": dataclasses.asdict(recipe),
            "epochs": len(history),
            "chosen_epoch": max(row.epoch for row in history if row.better),
            "minutes": round(sum(row.seconds for row in history) / 60, 2),
            "history": [dataclasses.asdict(row) for row in history],
        },
        folder / METRICS,
    )
    (folder / STATE).unlink(missing_ok=True)  # last: from here on the folder is a finished training
    return outcome_from_folder(folder)


def _key(job: Job, examples: Examples, split: Split, audio: AudioSpec) -> str:
    parts = [
        network_name(job.model),
        json.dumps(dataclasses.asdict(dataclasses.replace(job.protocol, ours="")), sort_keys=True),
        audio.fingerprint,
        *examples.labels,
        *(f"{side}:{examples.clips[i].id}:{examples.targets[i]}"
          for side in ("training", "validation", "test") for i in getattr(split, side)),
        *(f"tags:{';'.join(clip.tags)}" for clip in examples.clips if job.protocol.recipe.tag_weight),
    ]  # fmt: skip
    return hash_of(parts)


def hash_of(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _untrained(job: Job, outputs: int) -> nn.Module:
    torch.manual_seed(job.protocol.recipe.seed)
    network = build_backbone(job.model, outputs, job.protocol.weights, job.protocol.extra_head)
    if job.protocol.recipe.layers == "head":
        network.requires_grad_(False)
        for parameter in head_parameters(network, job.model):
            parameter.requires_grad_(True)
    return network


def _provenance(job: Job, examples: Examples, split: Split, tags: Sequence[str]) -> dict[str, Any]:
    trained_on = {int(examples.songs[i]) for part in (split.training, split.validation) for i in part}
    unseen = sorted({int(examples.songs[i]) for i in split.test} - trained_on)
    if not len(split.test):
        note = "none: trained on every clip"
    elif split.kind == "grouped":
        note = f"grouped by {examples.grouped_by}: none stands on both sides"
    else:
        note = "random" + (
            " over sub-clips: most clips stand on both sides" if job.protocol.sub_clips else ""
        )
    if split.folds:
        note += f"; fold {split.fold} of {split.folds}"
    return {
        "protocol": job.protocol.name,
        "recipe": dataclasses.asdict(job.protocol.recipe),
        "weights": Path(job.protocol.weights).name,
        "data": {
            "name": job.data_name,
            "clips": len(examples.readable),
            "labels": examples.counts(),
            "tags": tags,
            "grouped_by": examples.grouped_by,
            "skipped": len(examples.skipped),
        },
        "split": {
            "kind": split.kind,
            "hash": split.hash,
            "note": note,
            "seed": job.protocol.split_seed,
            "training": len(split.training),
            "validation": len(split.validation),
            "test": len(split.test),
            "fold": split.fold,
            "folds": split.folds,
        },
        "test_clips": clip_names(examples.readable[song] for song in unseen),
        "licence": job.licence,
        "software": {"torch": torch.__version__},
    }
