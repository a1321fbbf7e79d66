"""How accurate a row is: the labels from its logits of held-out clips, compared with the true ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import labelled_audio
from ...engine.data.metrics import Integers, accuracy_and_macro_f1, bootstrap_interval, confusion_matrix
from ...engine.errors import MerError
from ...engine.spec import ModelSpec
from ...export.checks import song_labels
from ...export.eval_set import HELD_OUT_KEY, split_clips
from ...export.song_log_mels import SongLogMels, log_mels_from_songs
from ..row import Interval, Row, ScoredData

_WINDOWS_A_SONG = 3  # as mer-label takes by default
_FEWEST_GROUPS = 10  # with fewer, a bootstrap's interval is far too narrow (five right ones: 1 to 1)


@dataclass(frozen=True)
class HeldOutSongs:
    """Clips to score on, decoded.

    ``log_mels`` is an .npy of float32 ``[windows, 1, mels, frames]``, ``songs`` says which windows belong to
    which song. ``truth`` has the label of each song as a position in ``labels``, ``groups`` its group (an
    artist, for instance). ``note`` says who held the clips out.
    """

    log_mels: Path
    songs: SongLogMels
    truth: Integers
    groups: list[str]
    labels: tuple[str, ...]
    note: str


class Scoring:
    """Held-out songs of one data set, decoded once for all models with the same AudioSpec and split.

    Args:
        data: labelled audio, as in ``labelled_audio``, or None.
        folder: where the log-mels go; it must live as long as they are used.
    """

    def __init__(self, data: Path | None, layout: str, folder: Path) -> None:
        self._data, self._layout, self._folder = data, layout, folder
        self._known: dict[object, HeldOutSongs | MerError] = {}

    def held_out(self, spec: ModelSpec) -> HeldOutSongs:
        """The songs to score a model on.

        Raises:
            MerError: there is no data, or it does not fit the model.
        """
        key = (spec.audio, spec.labels, str(spec.provenance.get(HELD_OUT_KEY)))
        if key not in self._known:
            try:
                self._known[key] = self._decoded(spec)
            except MerError as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, MerError):
            raise known
        return known

    def described(self, held_out: HeldOutSongs) -> ScoredData:
        """What the results say of the data."""
        assert self._data is not None
        return ScoredData(self._data.name, len(held_out.truth), list(held_out.labels), held_out.note)

    def _decoded(self, spec: ModelSpec) -> HeldOutSongs:
        if self._data is None:
            raise MerError("no labelled data")
        split = split_clips(labelled_audio(self._data, self._layout), spec)
        clips = {clip.path: clip for clip in split.test}
        songs = log_mels_from_songs(list(clips), spec.audio, _WINDOWS_A_SONG)
        path = self._folder / f"held_out{len(self._known)}.npy"
        np.save(path, songs.log_mels)
        return HeldOutSongs(
            path,
            songs,
            truth=np.asarray([spec.labels.index(clips[song].label) for song in songs.paths]),
            groups=[clips[song].group for song in songs.paths],
            labels=spec.labels,
            note=split.origin,
        )


def score_row(row: Row, logits: Float32, held_out: HeldOutSongs, temperature: float) -> None:
    """Fills in accuracy and macro-F1 of whole songs, their 95 % intervals and the confusion matrix.

    Args:
        logits: of ``held_out.log_mels``, float32 ``[windows, labels]``.
    """
    truth, predicted = held_out.truth, song_labels(logits, held_out.songs, temperature)
    row.accuracy, row.macro_f1 = accuracy_and_macro_f1(truth, predicted)
    row.accuracy_interval = _interval(held_out, predicted, "accuracy")
    row.macro_f1_interval = _interval(held_out, predicted, "macro_f1")
    row.confusion = confusion_matrix(truth, predicted, len(held_out.labels)).tolist()
    row.accuracy_note = held_out.note


def _interval(
    held_out: HeldOutSongs, predicted: Integers, of: Literal["macro_f1", "accuracy"]
) -> Interval | None:
    if len(set(held_out.groups)) < _FEWEST_GROUPS:
        return None
    return bootstrap_interval(held_out.truth, predicted, groups=held_out.groups, of=of)
