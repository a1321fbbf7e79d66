"""How accurate a row is: the labels from its logits of held-out clips, compared with the true ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import LabelledAudio, labelled_audio
from ...engine.data.metrics import Integers, accuracy_and_macro_f1, bootstrap_interval, confusion_matrix
from ...engine.errors import MerError
from ...engine.spec import ModelSpec
from ...engine.temporary import temporary_writes
from ...export.checks import song_labels
from ...export.eval_set import split_clips, split_key
from ...export.song_log_mels import SongLogMels, log_mels_from_songs
from ..row import Row, ScoredData

_WINDOWS_A_SONG = 3  # as mer-label takes by default


@dataclass(frozen=True)
class HeldOutSongs:
    """Clips to score on, decoded.

    ``log_mels`` is an .npy of float32 ``[windows, 1, mels, frames]``, ``songs`` says which windows belong to
    which song. ``truth`` has the label of each song as a position in ``labels``, ``groups`` its group (an
    artist, for instance). ``note`` says who held the clips out. ``skipped`` are the clips that give no
    audio, each with the reason.
    """

    log_mels: Path
    songs: SongLogMels
    truth: Integers
    groups: list[str]
    labels: tuple[str, ...]
    note: str
    skipped: tuple[tuple[Path, str], ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of which songs these are: 16 hexadecimal digits."""
        names = sorted(map(str, self.songs.paths))
        return hashlib.sha256("\0".join(names).encode(errors="surrogateescape")).hexdigest()[:16]


class Scoring:
    """Held-out songs of one data set, decoded once for all models with the same AudioSpec and split.

    Args:
        data: labelled audio, as in ``labelled_audio``, or None.
        folder: where the log-mels go; it must live as long as they are used.
        say: gets a line for everything in the data that was not read as it stands.
    """

    def __init__(
        self, data: Path | None, layout: str, folder: Path, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._data, self._layout, self._folder, self._say = data, layout, folder, say
        self._said: set[str] = set()
        self._known: dict[object, HeldOutSongs | MerError] = {}

    def held_out(self, spec: ModelSpec) -> HeldOutSongs:
        """The songs to score a model on.

        Raises:
            MerError: there is no data, it does not fit the model, the model was trained on it, or there is
                no room for temporary files.
        """
        key = split_key(spec)
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
        return ScoredData(
            self._data.name,
            len(held_out.truth),
            list(held_out.labels),
            held_out.note,
            [f"{path}: {reason}" for path, reason in held_out.skipped],
        )

    @cached_property
    def _labelled(self) -> LabelledAudio:
        """Read once for all models: it hashes every clip."""
        if self._data is None:
            raise MerError("no labelled data")
        return labelled_audio(self._data, self._layout)

    def _decoded(self, spec: ModelSpec) -> HeldOutSongs:
        data = self._labelled
        split = split_clips(data, spec)
        if split.heard:
            assert self._data is not None
            raise MerError(f"{self._data.name} holds {split.origin}")
        clips = {clip.path: clip for clip in split.test}
        songs = log_mels_from_songs(list(clips), spec.audio, _WINDOWS_A_SONG)
        for line in (*data.notes, *(f"skipped {path}: {reason}" for path, reason in songs.failed)):
            if line not in self._said:
                self._say(line)
                self._said.add(line)
        path = self._folder / f"held_out{len(self._known)}.npy"
        with temporary_writes():
            np.save(path, songs.log_mels)
        return HeldOutSongs(
            path,
            songs,
            truth=np.asarray([spec.labels.index(clips[song].label) for song in songs.paths]),
            groups=[clips[song].group for song in songs.paths],
            labels=spec.labels,
            note=split.origin,
            skipped=songs.failed,
        )


def cross_validated(row: Row, spec: ModelSpec) -> None:
    """Fills in the figures of the folds that stand for a network which was trained on every clip.

    They are what its provenance says, which anyone can have written: what is no share of 0 to 1 is left out.
    """
    metrics = spec.provenance.get("metrics")
    if spec.provenance.get("measured_by") != "cross-validation" or not isinstance(metrics, Mapping):
        return
    macro_f1, interval = metrics.get("macro_f1"), metrics.get("macro_f1_interval")
    if not _is_share(macro_f1):
        return
    row.cv_macro_f1 = float(macro_f1)
    if isinstance(interval, list | tuple) and len(interval) == 2 and all(map(_is_share, interval)):
        row.cv_macro_f1_interval = (float(interval[0]), float(interval[1]))
    by_fold, songs, data = metrics.get("by_fold"), metrics.get("songs"), spec.provenance.get("data")
    folds = len(by_fold) if isinstance(by_fold, list) else "?"
    name = data.get("name", "?") if isinstance(data, Mapping) else "?"
    row.cv_note = f"{folds} folds of {name}, {songs} songs"


def _is_share(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def score_row(row: Row, logits: Float32, held_out: HeldOutSongs, temperature: float) -> None:
    """Fills in accuracy and macro-F1 of whole songs, their 95 % intervals and the confusion matrix.

    Args:
        logits: of ``held_out.log_mels``, float32 ``[windows, labels]``.
    """
    truth, predicted = held_out.truth, song_labels(logits, held_out.songs, temperature)
    row.accuracy, row.macro_f1 = accuracy_and_macro_f1(truth, predicted)
    row.accuracy_interval = bootstrap_interval(truth, predicted, held_out.groups, of="accuracy")
    row.macro_f1_interval = bootstrap_interval(truth, predicted, held_out.groups, of="macro_f1")
    row.confusion = confusion_matrix(truth, predicted, len(held_out.labels)).tolist()
    row.accuracy_note = held_out.note
    row.scored_songs = held_out.fingerprint
