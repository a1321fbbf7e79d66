"""What a graph is compared and scored on: held-out clips, or log-mels without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..engine.data.labelled_audio import Clip, LabelledAudio, held_out_clips
from ..engine.data.metrics import Integers
from ..engine.errors import MerError
from ..engine.spec import ModelSpec
from .song_log_mels import SongLogMels, log_mels_from_songs

HELD_OUT_KEY = "test_clips"
"""The key of ModelSpec.provenance that lists the clips the model never heard: see ``held_out_clips``."""

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
    """

    songs: SongLogMels
    truth: Integers | None
    kind: Literal["clips", "synthetic"]
    origin: str
    short: str
    labels: tuple[str, ...] = ()

    @property
    def skipped(self) -> tuple[tuple[Path, str], ...]:
        """Files that give no audio, each with the reason."""
        return self.songs.failed


@dataclass(frozen=True)
class Split:
    """Clips to calibrate on and clips to score, by different artists; ``origin`` says who chose."""

    train: tuple[Clip, ...]
    test: tuple[Clip, ...]
    origin: str
    known: bool = True
    """The model's provenance made the split: it was not trained on ``test``."""


def split_clips(data: LabelledAudio, spec: ModelSpec) -> Split:
    """The split the model was trained with, from its provenance; else the data's own; else 80/20 by group.

    Raises:
        MerError: labels that are not the model's, or too few groups to split.
    """
    strange = sorted(set(data.labels) - set(spec.labels))
    if strange:
        raise MerError(
            f"the data's labels are not the model's: {', '.join(strange)} not in {', '.join(spec.labels)}"
        )
    names = spec.provenance.get(HELD_OUT_KEY)
    held_out = set(held_out_clips(data.clips, names))
    if held_out:
        origin = "the clips that the model's provenance holds out"
        listed = len(names) if isinstance(names, list | tuple) else 0
        if len(held_out) < listed:
            origin += f", {len(held_out)} of {listed}"
        return _split(data, held_out, origin, known=True)
    why = "names clips that are not in this data" if names else "does not say which clips were held out"
    given = {i for i, clip in enumerate(data.clips) if clip.part == "test"}
    how = (
        "the test part that the data comes with"
        if given
        else f"a split of 80/20 by {data.grouped_by} made now"
    )
    origin = f"{how}, for the model's provenance {why}: it may have been trained on the clips it is scored on"
    return _split(data, given or _fifth(data), origin, known=False)


def eval_set_from_clips(split: Split, spec: ModelSpec, workers: int, say: Callable[[str], None]) -> EvalSet:
    """Decodes the held-out clips of a split, with their labels.

    Files that give no audio are said and left out.

    Raises:
        MerError: no file gives audio, or none of a label does.
    """
    if not split.known:
        say(f"warning: scored on {split.origin}")
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
        raise MerError(f"no held-out clip of {label} gives audio, so a score says little; {path}: {reason}")
    labels = tuple(label for label in spec.labels if label in heard)
    if len(labels) < len(spec.labels):
        missing = ", ".join(label for label in spec.labels if label not in heard)
        say(f"no held-out clip is {missing}: macro-F1 is over {', '.join(labels)}")
    truth = np.asarray([spec.labels.index(clips[path].label) for path in songs.paths])
    return EvalSet(songs, truth, "clips", split.origin, f"{len(truth)} held-out clips", labels)


def _split(data: LabelledAudio, held_out: set[int], origin: str, known: bool) -> Split:
    test = tuple(clip for i, clip in enumerate(data.clips) if i in held_out)
    train = tuple(clip for i, clip in enumerate(data.clips) if i not in held_out)
    return Split(train, test, origin, known)


def _fifth(data: LabelledAudio) -> set[int]:
    """Positions of a fifth of the clips, the same in every call: whole groups, the labels in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = [clip.label for clip in data.clips]
    groups = [clip.group for clip in data.clips]
    if len(set(groups)) < 5 or min(labels.count(label) for label in set(labels)) < 5:
        raise MerError(
            f"too little data to hold a fifth out by {data.grouped_by}: 5 groups and 5 clips a label"
        )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=_SEED)
    _, test = next(folds.split(labels, labels, groups))
    return set(test.tolist())
