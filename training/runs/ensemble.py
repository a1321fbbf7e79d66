"""Several networks as one: their probabilities' mean, on songs that none of them was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.data.labelled_audio import LabelledAudio, held_out_clips
from ...engine.data.metrics import bootstrap_difference
from ...engine.errors import MerError, UsageError
from ..data.examples import examples_from_audio
from ..evaluate.metrics_report import metrics_from_predictions
from ..evaluate.predictions import Floats, Predictions, predictions_from_network
from ..networks.checkpoint import network_from_checkpoint
from .run_folder import outcome_from_folder

_OF_SONGS = (
    "songs",
    "accuracy",
    "macro_f1",
    "macro_f1_interval",
    "majority",
    "per_label",
    "confusion",
    "calibration_error",
    "log_loss",
)


@dataclass(frozen=True)
class Member:
    """A network's (or a cross-validation's) test songs and what it says of them."""

    name: str
    predictions: Predictions
    probabilities: Floats


def member_from_path(
    path: Path, data: Callable[[Sequence[str]], LabelledAudio] | None, cache: Path, workers: int = 0
) -> Member:
    """A folder of ``mer-train``, whose predictions are kept, or a checkpoint, which is run.

    Args:
        data: gives labelled audio, whose labels must be those it is called with; for checkpoints.

    Raises:
        UsageError: a checkpoint without data.
        MerError: neither of the two, or no clip in the data that the network has not seen.
    """
    if path.is_dir():
        outcome = outcome_from_folder(path)
        if outcome.predictions is None:
            raise MerError(f"{path} has no test songs")
        temperature = outcome.metrics["temperature"]
        return Member(path.name, outcome.predictions, outcome.predictions.by_song(temperature))
    if data is None:
        raise UsageError(f"{path}: a checkpoint needs --data; a folder of mer-train does not")
    network, spec = network_from_checkpoint(path)
    examples = examples_from_audio(data(spec.labels), spec.audio, cache, 0, workers)
    chosen = np.asarray(held_out_clips(examples.readable, spec.provenance.get("test_clips")), dtype=np.intp)
    if not len(chosen):
        raise MerError(f"{path} has seen every clip of this data: nothing was held out from it")
    windows = int(spec.provenance.get("recipe", {}).get("eval_windows", 3))
    predictions = predictions_from_network(network, examples, chosen, spec.audio, windows)
    return Member(path.stem, predictions, predictions.by_song(spec.temperature))


def ensemble_metrics(members: Sequence[Member]) -> dict[str, Mapping[str, Any]]:
    """Metrics of each member and of ``ensemble``, all on the songs that every member has predicted.

    ``against_first`` is the macro-F1 gained over the first member, and its 95 % interval.

    Raises:
        UsageError: fewer than two members.
        MerError: members with different labels, or without a song in common.
    """
    if len(members) < 2:
        raise UsageError("an ensemble needs two networks or more")
    labels = members[0].predictions.labels
    for member in members[1:]:
        if member.predictions.labels != labels:
            raise MerError(
                f"{member.name} says {', '.join(member.predictions.labels)}; "
                f"{members[0].name} says {', '.join(labels)}"
            )
    common = set.intersection(*(set(member.predictions.ids) for member in members))
    ids = [clip for clip in members[0].predictions.ids if clip in common]
    if not ids:
        raise MerError("no song was held out from every member: train them on one split")
    found: dict[str, Mapping[str, Any]] = {}
    every: list[Floats] = []
    part = members[0].predictions
    for number, member in enumerate(members, start=1):
        place = {clip: i for i, clip in enumerate(member.predictions.ids)}
        places = [place[clip] for clip in ids]
        part = member.predictions.chosen(places)
        every.append(member.probabilities[places])
        name = member.name if member.name not in found else f"{member.name} ({number})"
        found[name] = metrics_from_predictions(part, 1.0, every[-1])
    every.append(np.mean(every, axis=0))
    # Window by window the members may have cut differently: only the songs can be put together.
    together = metrics_from_predictions(part, 1.0, every[-1])
    found["ensemble"] = {name: value for name, value in together.items() if name in _OF_SONGS}
    first, *others = (probabilities.argmax(axis=1) for probabilities in every)
    reference = found[next(iter(found))]["macro_f1"]
    for name, said in zip(list(found)[1:], others, strict=True):
        interval = bootstrap_difference(part.truth, first, said, part.groups)
        against = {"gain": found[name]["macro_f1"] - reference, "interval": list(interval)}
        found[name] = {**found[name], "against_first": against}
    return found
