"""Macro-F1 on other groups' clips, by how many clips a head on frozen embeddings was given."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from ...engine.arrays import Float32
from ...engine.data.cleaning import comparison_key
from ...engine.errors import MerError
from ..embeddings.head import span_of
from ..listening.choice import songs_to_label, standardised, uncertainty_from_probabilities

_PARTS = 3  # of the groups: one is tested
_C = 0.003  # of the head. Chosen once, for hundreds of features; docs/RESULTS.md has its curves

_WEIGHT = 5.0  # of a word of other data: as much as 25 features

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Point:
    """``macro_f1`` has a figure for each draw; the head was given ``clips`` clips, a label or in all."""

    clips: int
    macro_f1: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.macro_f1))

    @property
    def deviation(self) -> float:
        return float(np.std(self.macro_f1))


@dataclass(frozen=True)
class Table:
    """Clips ``features`` ``[clips, features]``, and of each its label and what must stay on one side.

    ``touched`` is of data beside: see ``apart_by_recording``. Where it is empty, each clip touches its group.
    """

    features: Float32
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    touched: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True)
class Draw:
    """Positions of clips: ``pool`` may be given, ``given`` are those of each size, ``test`` are tested."""

    pool: Indices
    given: Mapping[int, Indices]
    test: Indices


def curve_by_label(
    table: Table, sizes: Sequence[int], draws: int = 10, beside: Sequence[Table] = ()
) -> list[Point]:
    """A head that is given so many clips of each label, and all of a label that has fewer.

    Each draw tests a third of the groups and gives clips of the others, at random. Sizes that no label has in
    every draw are left out. Features are standardised by all clips that are not tested: their sound is known
    without a label.

    Args:
        beside: other data with the same features. What a head on it, without what touches a group that is
            tested, says of a clip in its own words is known of the clip too.

    Raises:
        MerError: fewer than three groups, or a label that the draws cannot have on both sides; no size is
            left; or other data that has one label where it is left out.
    """
    found: dict[int, list[float]] = {}
    labels = np.asarray(table.labels)
    for draw in draws_by_label(table.labels, table.groups, sizes, draws):
        words = [_WEIGHT * standardised(_words_of(other, table, draw.test), draw.pool) for other in beside]
        scaled = np.hstack([standardised(table.features, draw.pool), *words])
        for size, given in draw.given.items():
            found.setdefault(size, []).append(_macro_f1(scaled, labels, given, draw.test))
    return points_from_scores(found)


def draws_by_label(
    labels: Sequence[str], groups: Sequence[str], sizes: Sequence[int], draws: int
) -> Iterator[Draw]:
    """Equal draws for equal labels and groups: what is drawn depends on nothing else.

    Raises:
        MerError: see ``curve_by_label``.
    """
    names = np.asarray(labels)
    drawn = list(_draws(labels, groups, draws))
    most = min(max(Counter(names[pool].tolist()).values()) for _, pool, _ in drawn)
    if min(sizes) > most:
        raise MerError(f"no label has {min(sizes)} clips to give in every draw: give at most {most}")
    for seed, pool, test in drawn:
        order = np.random.default_rng(seed).permutation(pool)
        of_label = [order[names[order] == name] for name in np.unique(names)]
        yield Draw(
            pool,
            {size: np.concatenate([clips[:size] for clips in of_label]) for size in sizes if size <= most},
            test,
        )


def points_from_scores(scores: Mapping[int, Sequence[float]]) -> list[Point]:
    """A point for each size."""
    return [Point(size, tuple(of_size)) for size, of_size in scores.items()]


def curves_by_choice(table: Table, sizes: Sequence[int], draws: int = 10) -> dict[str, list[Point]]:
    """A head that is given so many clips in all: those of ``songs_to_label``, beside as many at random.

    The choice goes in steps, as with ``mer-train queue``: the head that was given the clips of one size
    says of which others it is unsure, and those that are added make the next size. Otherwise as
    ``curve_by_label``.

    Raises:
        MerError: as ``curve_by_label``; or there are fewer clips than the largest size.
    """
    found: dict[str, dict[int, list[float]]] = {"chosen": {}, "at random": {}}
    labels = np.asarray(table.labels)
    for seed, pool, test in _draws(table.labels, table.groups, draws):
        if sizes[-1] > len(pool):
            raise MerError(
                f"{sizes[-1]} clips cannot be chosen: without those to be tested there are {len(pool)}"
            )
        scaled = standardised(table.features, pool)
        order = np.random.default_rng(seed).permutation(len(pool))
        labelled, unsure = np.zeros(len(pool), bool), np.ones(len(pool), np.float32)
        for size in sizes:
            more = size - int(labelled.sum())
            labelled[songs_to_label(scaled[pool], unsure, labelled, more, seed)] = True
            for name, given in (("chosen", pool[labelled]), ("at random", pool[order[:size]])):
                score = _macro_f1(scaled, labels, given, test)
                found[name].setdefault(size, []).append(score)
            if len(set(labels[pool[labelled]])) > 1:
                _, shares = _answers(scaled, labels, pool[labelled], pool)
                unsure = uncertainty_from_probabilities(shares)
    return {name: points_from_scores(scores) for name, scores in found.items()}


def _draws(
    labels: Sequence[str], groups: Sequence[str], draws: int
) -> Iterator[tuple[int, Indices, Indices]]:
    """Seed, positions that may be given, and positions that are tested."""
    if len(set(groups)) < _PARTS:
        raise MerError(f"a curve needs {_PARTS} groups of clips or more; here are {len(set(groups))}")
    if max(Counter(labels).values()) < _PARTS:
        raise MerError(f"a curve needs {_PARTS} clips of each label or more; here no label has so many")
    for seed in range(draws):
        folds = StratifiedGroupKFold(_PARTS, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a label with fewer clips than parts is told below
            pool, test = next(iter(folds.split(labels, labels, groups)))
        for part in (pool, test):
            if missing := set(labels) - {labels[i] for i in part}:
                raise MerError(f"too few groups with the label {min(missing)}: a draw lacks it on one side")
        yield seed, pool, test


def _words_of(other: Table, table: Table, test: Indices) -> Float32:
    """What a head on other data says of each clip, ``[clips, words]``; it heard nothing that is tested."""
    tested = {comparison_key(table.groups[i]) for i in test}
    touched = other.touched or [frozenset([group]) for group in other.groups]
    known = [i for i, groups in enumerate(touched) if tested.isdisjoint(map(comparison_key, groups))]
    if len({other.labels[i] for i in known}) < 2:
        raise MerError("the data beside has fewer than two labels without the recordings that are tested")
    both = standardised(np.vstack([other.features[known], table.features]), np.arange(len(known)))
    head = LogisticRegression(C=_C, class_weight="balanced", max_iter=500)
    head.fit(both[: len(known)], np.asarray(other.labels)[known])
    return head.decision_function(both[len(known) :]).reshape(len(table.features), -1)


def _macro_f1(features: Float32, labels: npt.NDArray[Any], given: Indices, test: Indices) -> float:
    names, shares = _answers(features, labels, given, test)
    return float(f1_score(labels[test], names[shares.argmax(axis=1)], average="macro"))


def _answers(
    features: Float32, labels: npt.NDArray[Any], given: Indices, asked: Indices
) -> tuple[npt.NDArray[Any], Float32]:
    """The labels of ``given``, and a head's shares of them ``[asked, labels]``."""
    if len(set(labels[given])) == 1:
        return np.unique(labels[given]), np.ones((len(asked), 1), np.float32)
    x, y = features[given], features[asked]
    span = span_of(x)
    x, y = x @ span, y @ span
    head = LogisticRegression(C=_C, class_weight="balanced", max_iter=500).fit(x, labels[given])
    return head.classes_, head.predict_proba(y)
