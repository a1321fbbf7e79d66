"""Predictions for clips that a network was not trained on, kept as logits for a later temperature."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from torch import nn

from ...engine.arrays import Float32
from ...engine.data.metrics import log_loss
from ...engine.errors import MerError
from ...engine.files import whole_file
from ...engine.labelling.song_label import probabilities_from_logits
from ...engine.spec import AudioSpec
from ..data.examples import Examples, Integers
from ..fit.inference import logits_from_network

Floats = npt.NDArray[np.float64]

TEMPERATURES = 0.05, 20.0
"""The bounds of a temperature that is fitted."""

# RuntimeError: a flag or method that zipfile does not know; TypeError, AttributeError: one array alone
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, TypeError, AttributeError, BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Predictions:
    """The logits of songs, and their true labels; one entry a song.

    Attributes:
        ids: the clips' ids (see ``Clip``).
        names: the clips' names.
        truth: positions in ``labels``.
        logits: float32 ``[windows, labels]`` each.
        groups: the clips' groups.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    truth: Integers
    logits: tuple[Float32, ...]
    groups: tuple[str, ...]
    labels: tuple[str, ...]

    def chosen(self, positions: Sequence[int]) -> Predictions:
        """The songs at these positions, in that order."""
        return Predictions(
            tuple(self.ids[i] for i in positions),
            tuple(self.names[i] for i in positions),
            self.truth[list(positions)],
            tuple(self.logits[i] for i in positions),
            tuple(self.groups[i] for i in positions),
            self.labels,
        )

    def by_song(self, temperature: float = 1.0) -> Floats:
        """Probabilities ``[songs, labels]``, as the engine computes them."""
        _, probabilities = self.by_window(temperature)
        counts = np.asarray([len(logits) for logits in self.logits])
        return np.add.reduceat(probabilities, np.cumsum(counts) - counts, axis=0) / counts[:, None]

    def by_window(self, temperature: float = 1.0) -> tuple[Integers, Floats]:
        """The true labels ``[windows]`` and the probabilities ``[windows, labels]`` of all songs' windows."""
        truth = np.repeat(self.truth, [len(logits) for logits in self.logits])
        return truth, probabilities_from_logits(np.concatenate(self.logits), temperature)


def predictions_from_network(
    network: nn.Module, examples: Examples, chosen: Integers, spec: AudioSpec
) -> Predictions:
    """Runs the network on the chosen examples' windows; the sub-clips of a song are put together again.

    Args:
        chosen: positions of examples.
    """
    return predictions_from_logits(
        logits_from_network(network, examples.windows, chosen, spec), examples, chosen
    )


def predictions_from_logits(logits: Sequence[Float32], examples: Examples, chosen: Integers) -> Predictions:
    """The predictions of ``predictions_from_network``, from each chosen example's ``[windows, labels]``."""
    by_song: dict[int, list[Float32]] = {}
    first: dict[int, int] = {}  # each song's first example
    for i, example_logits in zip(chosen.tolist(), logits, strict=True):
        song = int(examples.songs[i])
        by_song.setdefault(song, []).append(example_logits)
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
    """The test parts of a cross-validation as one: each song once, with the windows that each fold tested.

    A song stands in several parts where sub-clips are split at random.
    """
    songs: dict[str, list[tuple[Predictions, int]]] = {}
    for part in parts:
        for i, identity in enumerate(part.ids):
            songs.setdefault(identity, []).append((part, i))
    first = [places[0] for places in songs.values()]
    return Predictions(
        tuple(songs),
        tuple(part.names[i] for part, i in first),
        np.asarray([part.truth[i] for part, i in first], dtype=np.intp),
        tuple(np.concatenate([part.logits[i] for part, i in places]) for places in songs.values()),
        tuple(part.groups[i] for part, i in first),
        parts[0].labels,
    )


def fit_temperature(predictions: Predictions) -> float:
    """The temperature, within ``TEMPERATURES``, with the least negative log-likelihood (Guo et al., 2017).

    Fitted to songs, not to windows: the probabilities that users see are those of songs.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(predictions.truth, predictions.by_song(float(np.exp(log_temperature))))

    minimum = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return round(float(np.exp(minimum.x)), 4)


def cross_fitted(parts: Sequence[Predictions]) -> tuple[Floats, list[float]]:
    """The probabilities of the songs of ``pooled``, each fold's under the temperature of the other folds.

    Their calibration error is then of songs that no temperature was fitted to.

    Returns:
        Probabilities ``[songs, labels]``, and the folds' temperatures.
    """
    temperatures = [fit_temperature(pooled([p for p in parts if p is not part])) for part in parts]
    songs: dict[str, list[Floats]] = {}
    for part, temperature in zip(parts, temperatures, strict=True):
        ends = np.cumsum([len(logits) for logits in part.logits])[:-1]
        windows = np.split(part.by_window(temperature)[1], ends)
        for identity, probabilities in zip(part.ids, windows, strict=True):
            songs.setdefault(identity, []).append(probabilities)
    return np.stack([np.concatenate(windows).mean(axis=0) for windows in songs.values()]), temperatures


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Writes an ``.npz`` file without pickles, whole or not at all.

    Raises:
        OSError: it could not be written.
    """
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            ids=np.asarray(predictions.ids, dtype=np.str_),
            names=np.asarray(predictions.names, dtype=np.str_),
            truth=predictions.truth,
            logits=np.concatenate(predictions.logits),
            windows=np.asarray([len(logits) for logits in predictions.logits]),
            groups=np.asarray(predictions.groups, dtype=np.str_),
            labels=np.asarray(predictions.labels, dtype=np.str_),
        )


def load_predictions(path: Path) -> Predictions:
    """Reads what ``save_predictions`` wrote.

    Raises:
        MerError: the file is something else, or cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, names, groups = (file[name].tolist() for name in ("ids", "names", "groups"))
            truth, logits, windows = file["truth"], file["logits"], file["windows"]
            labels = file["labels"].tolist()
        if not len(ids) == len(names) == len(groups) == len(truth) == len(windows):
            raise ValueError("its arrays are of different lengths")
        if logits.shape != (windows.sum(), len(labels)):
            raise ValueError("its logits are not of these windows and labels")
        by_song = tuple(np.split(logits, np.cumsum(windows)[:-1]))
        return Predictions(tuple(ids), tuple(names), truth, by_song, tuple(groups), tuple(labels))
    except _DAMAGED as error:
        raise MerError(
            f"{path} holds no predictions of mer-train: {error}; --resume of its training makes them again"
        ) from None
