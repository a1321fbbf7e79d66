"""What teachers say of clips: soft labels, and the main directions in which their embeddings differ."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ...engine.arrays import Float32
from ...engine.errors import MerError

_DIRECTIONS = 64
_FOLDS = 5  # inner ones: a clip's soft label comes from the four that do not have it
_WEIGHT_OF_WORDS = 3.0  # a deviation: of five words they weigh together about what the directions do
_C = 0.01  # of the logistic regression on several hundred features of several hundred clips


@dataclass(frozen=True)
class Lesson:
    """What is learnt beside the labels, of labelled clips and then of those without a label.

    Attributes:
        soft: probabilities ``[clips, labels]``. Those of a clip to train on come from teachers that were not
            told its label, nor any of its group.
        vectors: what of the embeddings is learnt, ``[clips, directions]``, each with a deviation of 1, and
            what they say of other labels.
        unlabelled: spectrograms ``[mels, frames]`` in dB of the clips without a label.
    """

    soft: Float32
    vectors: Float32
    unlabelled: Sequence[Float32] = ()

    def without_vectors(self) -> Lesson:
        """Soft labels alone."""
        return dataclasses.replace(self, vectors=self.vectors[:, :0])


def lesson_from_embeddings(
    labelled: Float32,
    targets: np.ndarray,
    groups: Sequence[str],
    training: np.ndarray,
    without_label: Float32,
    unlabelled: Sequence[Float32] = (),
    balance: bool = False,
    words: Sequence[Sequence[str | None]] = (),
) -> Lesson:
    """Fitted to the training clips and the clips without a label alone; of all others nothing is known.

    Args:
        labelled: embeddings ``[clips, features]``, ``targets`` their labels, ``groups`` their groups.
        training: positions of the clips to train on.
        without_label: embeddings of the clips without a label, whose spectrograms are ``unlabelled``.
        balance: all labels weigh the same, however frequent they are.
        words: other labels of the clips ``without_label``, None where a clip has none of their kind; each
            kind is learnt as a second head (Caruana, 1997), for which all clips get what its teacher says.

    Raises:
        MerError: too few clips to train on.
    """
    labels = int(targets.max()) + 1
    everything = np.concatenate([labelled, without_label])
    soft = _probabilities(labelled[training], targets[training], everything, labels, balance)
    for told, asked in _inner_folds(targets[training], [groups[int(i)] for i in training]):
        told, asked = training[told], training[asked]
        soft[asked] = _probabilities(labelled[told], targets[told], labelled[asked], labels, balance)
    heard = np.concatenate([labelled[training], without_label])
    # One less than clips, whose mean is taken off.
    count = min(_DIRECTIONS, max(1, len(heard) - 1), heard.shape[1])
    directions = make_pipeline(StandardScaler(), PCA(count, svd_solver="full"), StandardScaler()).fit(heard)
    of_words = [_said_of(without_label, kind, everything, heard) for kind in words]
    vectors = np.concatenate([directions.transform(everything), *of_words], axis=1)
    return Lesson(soft, vectors.astype(np.float32), unlabelled)


def _said_of(features: Float32, words: Sequence[str | None], of: Float32, heard: Float32) -> Float32:
    """The log odds of each word, ``[clips, words]``; no columns where all known words are the same.

    They are standardised over the clips ``heard``.
    """
    known = [i for i, word in enumerate(words) if word is not None]
    told = [str(words[i]) for i in known]
    if len(set(told)) < 2:
        return np.zeros((len(of), 0), np.float32)
    teacher = _teacher(balance=True).fit(features[known], told)
    said, usual = (teacher.decision_function(clips).reshape(len(clips), -1) for clips in (of, heard))
    return _WEIGHT_OF_WORDS * (said - usual.mean(axis=0)) / usual.std(axis=0)


def _probabilities(features: Float32, targets: np.ndarray, of: Float32, count: int, balance: bool) -> Float32:
    """Of these clips, ``[clips, count]``, from what these features and targets tell."""
    known = np.unique(targets)
    probabilities = np.zeros((len(of), count), np.float32)
    if len(known) == 1:  # a handful of clips: an inner fold can have all of the other labels
        probabilities[:, known[0]] = 1
    else:
        probabilities[:, known] = _teacher(balance).fit(features, targets).predict_proba(of)
    return probabilities


def _teacher(balance: bool) -> Pipeline:
    weight = "balanced" if balance else None
    return make_pipeline(StandardScaler(), LogisticRegression(C=_C, max_iter=2_000, class_weight=weight))


def _inner_folds(targets: np.ndarray, groups: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """(told, asked) positions: each clip is asked once, and none of its group is told then.

    Raises:
        MerError: too few clips for any to be told while others are asked.
    """
    apart = len(set(groups))
    kind, most = (StratifiedGroupKFold, apart) if apart > 1 else (StratifiedKFold, len(targets))
    count = max(2, min(_FOLDS, most, int(np.bincount(targets).max())))
    splitter = kind(count, shuffle=True, random_state=0)
    with warnings.catch_warnings():  # of a label with fewer groups than folds
        warnings.simplefilter("ignore", UserWarning)
        try:
            pairs = list(splitter.split(targets, targets, groups))
        except ValueError:  # no label has as many clips as there are folds
            pairs = []
    if not pairs or not all(len(told) for told, _ in pairs):
        raise MerError(
            f"too few clips for a teacher: {len(targets)} are to train on, and it is asked about each "
            "without having been told its label; add clips, or leave the teacher out"
        )
    return [(told, asked) for told, asked in pairs if len(asked)]  # large groups leave a fold empty
