"""Several networks as one: the mean of their probabilities, on songs that none of them was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.data.cleaning import quoted_label
from ...engine.data.clip import HELD_OUT_KEY
from ...engine.data.labelled_audio import LabelledAudio, held_out_clips, unheard_clips
from ...engine.data.metrics import bootstrap_difference
from ...engine.errors import MerError, UsageError
from ..data.examples import examples_from_audio
from ..evaluate.metrics_report import metrics_from_predictions
from ..evaluate.predictions import Floats, Predictions, cross_fitted, pooled, predictions_from_network
from ..networks.checkpoint import network_from_checkpoint, spec_from_checkpoint
from .run_folder import LOGITS, METRICS, FinishedRun, checkpoint_of, run_from_folder

_OF_SONGS = (
    "songs", "accuracy", "macro_f1", "macro_f1_interval", "majority", "per_label", "confusion",
    "calibration_error", "log_loss",
)  # fmt: skip

_TOGETHER = "ensemble"  # the name of its figures, beside those of its members
_NONE_IS_NEW = "no clip of this data is known to be new to it: it was trained on them"


@dataclass(frozen=True)
class Member:
    """A network or a cross-validation: its test songs and their ``probabilities`` ``[songs, labels]``.

    ``skipped`` are files of the data that could not be used, each with the reason.
    """

    name: str
    predictions: Predictions
    probabilities: Floats
    skipped: tuple[tuple[Path, str], ...] = ()


def member_from_path(
    path: Path, data: Callable[[tuple[str, ...]], LabelledAudio] | None, cache: Path, workers: int = 0
) -> Member:
    """A member from a run's folder, which holds its predictions, or from a checkpoint, which is run.

    Args:
        data: for checkpoints: gives labelled audio with the labels that it is called with.
        cache: the folder of spectrograms.
        workers: child processes that decode; 0 is one a core.

    Raises:
        UsageError: nothing is there, a checkpoint without data, or a folder without its checkpoints.
        MerError: the path is neither, a cross-validation without its folds' folders, or no clip of the data
            is known to be new to the network.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such folder or checkpoint")
    if path.is_dir():
        run = run_from_folder(path)
        predictions = _predictions_of(run)
        temperature = run.metrics.get("temperature")
        # NaN is neither above 0 nor below infinity; true is an int.
        if isinstance(temperature, bool) or not (
            isinstance(temperature, int | float) and 0 < temperature < math.inf
        ):
            raise MerError(f"{path / METRICS} has no temperature: it is not what mer-train wrote")
        probabilities = predictions.by_song(temperature)
        if folds := _folders_of_folds(run):
            # As in its own figures, each under the others' temperature: the run's was fitted to these songs.
            parts = [_predictions_of(run_from_folder(folder)) for folder in folds]
            predictions, probabilities = pooled(parts), cross_fitted(parts)[0]
        new = _held_out_ids(run)
        known = [i for i, identity in enumerate(predictions.ids) if identity in new]
        if not known:
            raise MerError(f"{path}: {_NONE_IS_NEW}")
        return Member(path.resolve().name, predictions.chosen(known), probabilities[known])
    if data is None:
        raise UsageError(f"{path}: a checkpoint needs labelled audio; a folder of mer-train does not")
    network, spec = network_from_checkpoint(path)
    windows = int(spec.provenance.get("recipe", {}).get("eval_windows", 3))
    examples = examples_from_audio(data(spec.labels), spec.audio, cache, windows, workers=workers)
    clips, provenance = examples.readable, spec.provenance
    # All that it held out, as its folder has them: after a split at random few are by artists of their own.
    chosen = np.asarray(held_out_clips(clips, provenance) or unheard_clips(clips, provenance), dtype=np.intp)
    if not len(chosen):
        raise MerError(f"{path}: {_NONE_IS_NEW}")
    predictions = predictions_from_network(network, examples, chosen, spec.audio)
    return Member(path.stem, predictions, predictions.by_song(spec.temperature), examples.skipped)


def _predictions_of(run: FinishedRun) -> Predictions:
    if run.predictions is None and "macro_f1" in run.metrics:
        raise MerError(f"{run.folder / LOGITS} is missing: --resume of its training makes it again")
    if run.predictions is None:
        raise MerError(f"{run.folder} has no test songs")
    return run.predictions


def _folders_of_folds(run: FinishedRun) -> list[Path]:
    """Empty where it is no cross-validation."""
    return [run.folder / f"fold-{i + 1}" for i in range(len(run.metrics.get("by_fold", ())))]


def _held_out_ids(run: FinishedRun) -> set[str]:
    """The ids of the clips that a run's networks list as new.

    The weights to begin with may have heard others, and pieces of others may have been trained on.
    """
    folders = _folders_of_folds(run) or [run.folder]
    listed = (spec_from_checkpoint(checkpoint_of(folder)).provenance.get(HELD_OUT_KEY) for folder in folders)
    new = [clip for clips in listed for clip in clips or () if isinstance(clip, Mapping)]
    return {str(clip["id"]) for clip in new if "id" in clip}


def ensemble_metrics(members: Sequence[Member]) -> dict[str, Mapping[str, Any]]:
    """Metrics of each member and of ``ensemble``, on the songs that every member has predicted.

    ``against_first`` is the gain in macro-F1 over the first member and its 95 % interval, as shares; None
    in place of an interval where there are too few songs for one.

    Raises:
        UsageError: fewer than two members.
        MerError: members with different labels, of one song too, or without a song in common.
    """
    if len(members) < 2:
        raise UsageError("an ensemble needs two networks or more")
    members = _on_common_songs(members)
    metrics: dict[str, Mapping[str, Any]] = {}
    for number, member in enumerate(members, start=1):
        name = member.name
        while name in (_TOGETHER, *metrics):
            name += f" ({number})"
        metrics[name] = metrics_from_predictions(member.predictions, 1.0, member.probabilities)
    mean = np.mean([member.probabilities for member in members], axis=0)
    # Only the figures of songs: the members may have cut windows of other lengths or at other places.
    together = metrics_from_predictions(members[0].predictions, 1.0, mean)
    metrics[_TOGETHER] = {name: together[name] for name in _OF_SONGS}
    return _against_first(members[0].predictions, metrics, [*(m.probabilities for m in members), mean])


def _on_common_songs(members: Sequence[Member]) -> list[Member]:
    """The members with the same songs in the same order."""
    first = members[0]
    for member in members[1:]:
        if member.predictions.labels != first.predictions.labels:
            raise MerError(
                f"{member.name} says {', '.join(map(quoted_label, member.predictions.labels))}; "
                f"{first.name} says {', '.join(map(quoted_label, first.predictions.labels))}"
            )
    common = set.intersection(*(set(member.predictions.ids) for member in members))
    ids = [identity for identity in first.predictions.ids if identity in common]
    if not ids:
        raise MerError("no song was held out from every member: train them on one split")
    reduced = []
    for member in members:
        position = {identity: i for i, identity in enumerate(member.predictions.ids)}
        positions = [position[identity] for identity in ids]
        predictions = member.predictions.chosen(positions)
        reduced.append(Member(member.name, predictions, member.probabilities[positions]))
        _check_truth(reduced[0], reduced[-1])
    return reduced


def _check_truth(first: Member, other: Member) -> None:
    """Whether two members were told the same of the same songs."""
    one, two = first.predictions, other.predictions
    if len(differing := np.flatnonzero(one.truth != two.truth)):
        i = differing[0]
        raise MerError(
            f"{other.name} and {first.name} were told different labels of {len(differing)} of "
            f"{len(one.truth)} songs (of {one.names[i]}: {quoted_label(two.labels[two.truth[i]])}, "
            f"{quoted_label(one.labels[one.truth[i]])}): train them on the same labels"
        )


def _against_first(
    songs: Predictions, metrics: Mapping[str, Mapping[str, Any]], probabilities: Sequence[Floats]
) -> dict[str, Mapping[str, Any]]:
    """The metrics with ``against_first`` in all but the first; ``probabilities`` are in the same order."""
    first, *others = (rows.argmax(axis=1) for rows in probabilities)
    (name, reference), *rest = metrics.items()
    compared = {name: reference}
    for (name, figures), predicted in zip(rest, others, strict=True):
        interval = bootstrap_difference(songs.truth, first, predicted, songs.groups)
        gain = figures["macro_f1"] - reference["macro_f1"]
        compared[name] = {**figures, "against_first": {"gain": gain, "interval": interval and list(interval)}}
    return compared
