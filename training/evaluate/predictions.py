"""What networks say of clips they were not trained on: kept as logits, so that temperature can be fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from torch import nn

from ...engine.arrays import Float32
from ...engine.errors import MerError
from ...engine.files import whole_file
from ...engine.labelling.song_label import probabilities_from_logits
from ...engine.spec import AudioSpec
from ..data.examples import Examples, Integers
from ..fit.trainer import logits_of

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """Logits ``[windows, labels]`` of each song, and the truth.

    ``ids`` and ``names`` are the clips' (see ``Clip``), ``groups`` their groups.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    truth: Integers
    logits: tuple[Float32, ...]
    groups: tuple[str, ...]
    labels: tuple[str, ...]

    def chosen(self, places: Sequence[int]) -> Predictions:
        """The songs at these places, in that order."""
        return Predictions(
            tuple(self.ids[i] for i in places),
            tuple(self.names[i] for i in places),
            self.truth[list(places)],
            tuple(self.logits[i] for i in places),
            tuple(self.groups[i] for i in places),
            self.labels,
        )

    def by_song(self, temperature: float = 1.0) -> Floats:
        """Probabilities ``[songs, labels]``: the mean over windows, as the engine makes them."""
        songs = [probabilities_from_logits(z, temperature).mean(axis=0) for z in self.logits]
        return np.stack(songs).astype(float)

    def by_window(self, temperature: float = 1.0) -> tuple[Integers, Floats]:
        """The truth and the probabilities of every window, one after another."""
        truth = np.repeat(self.truth, [len(z) for z in self.logits])
        return truth, probabilities_from_logits(np.concatenate(self.logits), temperature).astype(float)


def predictions_from_network(
    network: nn.Module, examples: Examples, chosen: Integers, spec: AudioSpec, windows: int
) -> Predictions:
    """Runs the network on the chosen units; sub-clips of one song are put together again."""
    logits = logits_of(network, examples.decibels, chosen, spec, windows)
    by_song: dict[int, list[Float32]] = {}
    first: dict[int, int] = {}
    for i, z in zip(chosen.tolist(), logits, strict=True):
        song = int(examples.songs[i])
        by_song.setdefault(song, []).append(z.numpy())
        first.setdefault(song, i)
    songs = sorted(by_song)
    return Predictions(
        tuple(examples.readable[song].id for song in songs),
        tuple(examples.readable[song].name for song in songs),
        np.asarray([examples.targets[first[song]] for song in songs], dtype=np.intp),
        tuple(np.concatenate(by_song[song]) for song in songs),
        tuple(examples.clips[first[song]].group for song in songs),
        examples.labels,
    )


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """The test parts of a cross-validation as one: every song once, by a network that never saw it."""
    return Predictions(
        tuple(clip for part in parts for clip in part.ids),
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.truth for part in parts]),
        tuple(z for part in parts for z in part.logits),
        tuple(group for part in parts for group in part.groups),
        parts[0].labels,
    )


def fit_temperature(predictions: Predictions) -> float:
    """The temperature under which the songs' probabilities have the least negative log-likelihood.

    Between 0.05 and 20. Fitted to songs, not windows: theirs are the probabilities that are shown.
    """

    def loss(log_temperature: float) -> float:
        probabilities = predictions.by_song(float(np.exp(log_temperature)))
        true = probabilities[np.arange(len(predictions.truth)), predictions.truth]
        return float(-np.log(np.maximum(true, 1e-12)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def cross_fitted(parts: Sequence[Predictions]) -> tuple[Floats, list[float]]:
    """Each fold's song probabilities under the other folds' temperature, and those temperatures.

    So the calibration error read from them is of songs that the temperature was not fitted to.
    """
    temperatures = [fit_temperature(pooled([p for p in parts if p is not part])) for part in parts]
    every = [part.by_song(t) for part, t in zip(parts, temperatures, strict=True)]
    return np.concatenate(every), temperatures


def save_predictions(predictions: Predictions, path: Path) -> None:
    """As ``.npz`` without pickles."""
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            ids=np.asarray(predictions.ids, dtype=np.str_),
            names=np.asarray(predictions.names, dtype=np.str_),
            truth=predictions.truth,
            logits=np.concatenate(predictions.logits),
            windows=np.asarray([len(z) for z in predictions.logits]),
            groups=np.asarray(predictions.groups, dtype=np.str_),
            labels=np.asarray(predictions.labels, dtype=np.str_),
        )


def load_predictions(path: Path) -> Predictions:
    """The inverse of ``save_predictions``.

    Raises:
        MerError: not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["windows"])[:-1]
            # Files of before have names alone, which were the clips' identity then.
            return Predictions(
                tuple(file["ids" if "ids" in file else "names"].tolist()),
                tuple(file["names"].tolist()),
                file["truth"],
                tuple(np.split(file["logits"], ends)),
                tuple(file["groups"].tolist()),
                tuple(file["labels"].tolist()),
            )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise MerError(f"{path} holds no predictions of mer-train: {error}") from None
