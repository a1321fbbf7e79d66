"""What a graph is compared and scored on: held-out clips, or log-mels without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..engine.data.cleaning import as_spelt, quoted_label
from ..engine.data.clip import HEARD_KEY, HELD_OUT_KEY, heard_clips
from ..engine.data.labelled_audio import Clip, LabelledAudio, held_out_clips, unheard_clips
from ..engine.data.metrics import Integers, too_few_clips
from ..engine.errors import MerError
from ..engine.spec import ModelSpec
from .song_log_mels import SongLogMels, log_mels_from_songs

TRAINED_ON = "clips that the model was trained on: no accuracy is claimed"
"""Where a split's ``heard`` clips come from."""

_SEED = 0
_WINDOWS_A_SONG = 3  # as mer-label takes by default


@dataclass(frozen=True)
class EvalSet:
    """The songs that all graphs of one model are compared on and, where ``truth`` is known, scored on.

    Attributes:
        songs: the log-mels.
        truth: the label's position in the model's labels, for each song; None without labels.
        kind: "clips" of real music, or "synthetic".
        origin: for the report: which songs these are.
        short: the same in a few words.
        labels: those of ``truth``, over which a macro-F1 is.
        groups: each song's group (an artist, for instance); empty without labels.
        heard: the model was trained on these songs: graphs are compared on them, and not judged.
    """

    songs: SongLogMels
    truth: Integers | None
    kind: Literal["clips", "synthetic"]
    origin: str
    short: str
    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    heard: bool = False


@dataclass(frozen=True)
class Split:
    """Clips to calibrate on and clips to score, by different artists; ``origin`` says who chose."""

    train: tuple[Clip, ...]
    test: tuple[Clip, ...]
    origin: str
    known: bool = True
    """The model's provenance tells of ``test`` whether it was trained on it."""
    heard: bool = False
    """It was: of these clips no accuracy is claimed."""


def split_key(spec: ModelSpec) -> tuple[object, ...]:
    """Models with the same key are scored on the same log-mels."""
    provenance = spec.provenance
    return (spec.audio, spec.labels, str(provenance.get(HELD_OUT_KEY)), str(provenance.get(HEARD_KEY)))


def split_clips(data: LabelledAudio, spec: ModelSpec) -> Split:
    """The split the model was trained with, from its provenance; else the data's own; else 80/20 by group.

    Its clips have the labels as the model writes them.

    A model that says what it was trained on, and held none of this data out, is scored on what is new to it,
    if that is enough for an interval; else ``test`` is ``heard``.

    Raises:
        MerError: labels that are not the model's, or too few groups to split.
    """
    spelt = {label: as_spelt(label, spec.labels) for label in data.labels}
    strange = sorted(label for label, name in spelt.items() if name is None)
    if strange:
        raise MerError(
            f"the data's labels are not the model's: {', '.join(map(quoted_label, strange))} not in "
            f"{', '.join(map(quoted_label, spec.labels))}"
        )
    if any(label != name for label, name in spelt.items()):  # else clips keep their ids, which are hashes
        data = replace(
            data,
            clips=tuple(replace(clip, label=spelt[clip.label] or clip.label) for clip in data.clips),
            labels=tuple(name or label for label, name in spelt.items()),
        )
    names = spec.provenance.get(HELD_OUT_KEY)
    held_out = set(held_out_clips(data.clips, spec.provenance))
    if held_out:
        origin = "the clips that the model's provenance holds out"
        listed = len(names) if isinstance(names, list | tuple) else 0
        if len(held_out) < listed:
            origin += f", {len(held_out)} of {listed}"
        return _split(data, held_out, origin, known=True)
    heard = heard_clips(data.clips, spec.provenance)
    if heard:
        return _split_by_hearing(data, heard, unheard_clips(data.clips, spec.provenance))
    why = "names clips that are not in this data" if names else "does not say which clips were held out"
    given = {i for i, clip in enumerate(data.clips) if clip.part == "test"}
    how = (
        "the test part that the data comes with"
        if given
        else f"a split of 80/20 by {data.grouped_by} made now"
    )
    if heard is not None:
        origin = f"{how}; the model was trained on none of these clips"
        return _split(data, given or _fifth(data), origin, known=True)
    origin = f"{how}, for the model's provenance {why}: it may have been trained on the clips it is scored on"
    return _split(data, given or _fifth(data), origin, known=False)


def eval_set_from_clips(split: Split, spec: ModelSpec, workers: int, say: Callable[[str], None]) -> EvalSet:
    """Decodes the held-out clips of a split, with their labels.

    Files that give no audio are said and left out.

    Raises:
        MerError: no file gives audio, or none of a label does.
    """
    if split.heard:
        say(f"compared on {split.origin}")
    elif not split.known:
        say(f"warning: scored on {split.origin}")
    what = "clip that is compared" if split.heard else "held-out clip"
    clips = {clip.path: clip for clip in split.test}
    songs = log_mels_from_songs(list(clips), spec.audio, _WINDOWS_A_SONG, workers)
    for path, reason in songs.failed:
        say(f"skipped {path}: {reason}")
    heard = {clips[path].label for path in songs.paths}
    silent = [
        (clips[path].label, path, reason) for path, reason in songs.failed if clips[path].label not in heard
    ]
    if silent:
        label, path, reason = silent[0]
        raise MerError(f"no {what} of {label} gives audio, so a score says little; {path}: {reason}")
    labels = tuple(label for label in spec.labels if label in heard)
    if len(labels) < len(spec.labels):
        missing = ", ".join(quoted_label(label) for label in spec.labels if label not in heard)
        say(f"no {what} is {missing}: macro-F1 is over {', '.join(map(quoted_label, labels))}")
    truth = np.asarray([spec.labels.index(clips[path].label) for path in songs.paths])
    groups = tuple(clips[path].group for path in songs.paths)
    short = f"{len(truth)} clips that it was trained on" if split.heard else f"{len(truth)} held-out clips"
    return EvalSet(songs, truth, "clips", split.origin, short, labels, groups, split.heard)


def _split_by_hearing(data: LabelledAudio, heard: set[int], new: list[int]) -> Split:
    """Scored is what is new to the model, where that is enough; else compared is a part of what it heard."""
    truth = np.asarray([data.labels.index(data.clips[i].label) for i in new], np.intp)
    groups = [data.clips[i].group for i in new]
    every_label = len(set(truth.tolist())) == len(data.labels)
    if new and every_label and not too_few_clips(truth, groups):
        return _split(data, set(new), f"the {len(new)} clips that are new to the model", known=True)
    known = replace(data, clips=tuple(clip for i, clip in enumerate(data.clips) if i in heard))
    origin = TRAINED_ON
    others = len(data.clips) - len(heard)
    if others:
        origin += f" (the {others} others are too few, or share a {data.grouped_by} with these)"
    test = {i for i, clip in enumerate(known.clips) if clip.part == "test"}
    if not test and _can_be_split(known):
        test = _fifth(known)
    if not test:  # too few to keep some for the calibration alone
        return Split(known.clips, known.clips, origin, heard=True)
    return replace(_split(known, test, origin, known=True), heard=True)


def _split(data: LabelledAudio, held_out: set[int], origin: str, known: bool) -> Split:
    test = tuple(clip for i, clip in enumerate(data.clips) if i in held_out)
    train = tuple(clip for i, clip in enumerate(data.clips) if i not in held_out)
    return Split(train, test, origin, known)


def _fifth(data: LabelledAudio) -> set[int]:
    """Positions of a fifth of the clips, the same in every call: whole groups, the labels in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    if not _can_be_split(data):
        raise MerError(
            f"too little data to hold a fifth out by {data.grouped_by}: 5 groups and 5 clips a label"
        )
    labels = [clip.label for clip in data.clips]
    groups = [clip.group for clip in data.clips]
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=_SEED)
    _, test = next(folds.split(labels, labels, groups))
    return set(test.tolist())


def _can_be_split(data: LabelledAudio) -> bool:
    labels = [clip.label for clip in data.clips]
    groups = {clip.group for clip in data.clips}
    return len(groups) >= 5 and min(labels.count(label) for label in set(labels)) >= 5
