"""Which songs are worth a label next: one from each part of the sound, where the model is unsure."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from ...engine.arrays import Float32

_DIMENSIONS = 32  # distances in more tell songs apart no better, and take longer
_MOST_POINTS = 20_000  # that clusters are looked for in; the others join the nearest
_LEAST = 0.05  # the weight of a song of which the model is sure: it may be sure and wrong

Flags = npt.NDArray[np.bool_]


def uncertainty_from_probabilities(probabilities: Float32) -> Float32:
    """``[songs, labels]`` to ``[songs]``: 0 where one label has all, 1 where the best two are equal."""
    best = np.sort(probabilities, axis=1)[:, -2:]
    return 1 - (best[:, 1] - best[:, 0])


def points_from_probabilities(probabilities: Float32) -> Float32:
    """``[songs, labels]`` to points of that shape, whose distances are of ratios."""
    logs = np.log(np.maximum(probabilities, 1e-3))
    return logs - logs.mean(axis=1, keepdims=True)


def standardised(points: Float32, known: npt.NDArray[np.intp] | slice = slice(None)) -> Float32:
    """``[songs, features]`` with mean 0 and, where they differ, deviation 1 of those that are ``known``."""
    spread = points[known].std(axis=0)
    return (points - points[known].mean(axis=0)) / np.where(spread > 0, spread, 1)


def songs_to_label(
    points: Float32, uncertainty: Float32, labelled: Flags, count: int, seed: int = 0
) -> list[int]:
    """Positions of ``count`` songs without a label, the most telling first; all if there are fewer.

    There is a cluster for each song that has a label or is to get one, drawn towards songs of which the model
    is unsure. Clusters without a labelled song come first, the heaviest of them before the others, and give
    the song in their middle.

    Args:
        points: ``[songs, features]`` in which songs that sound alike are near.
        uncertainty: ``[songs]``, 0 to 1.
        labelled: ``[songs]``, those that have a label.
    """
    free = int((~labelled).sum())
    if count >= free:
        return [int(i) for i in np.argsort(-uncertainty, kind="stable") if not labelled[i]]
    rng = np.random.default_rng(seed)
    scaled = standardised(points)
    if scaled.shape[1] > _DIMENSIONS < len(scaled):
        scaled = PCA(_DIMENSIONS, random_state=seed).fit_transform(scaled)
    weights = np.maximum(uncertainty, _LEAST)
    sample = rng.permutation(len(scaled))[:_MOST_POINTS]
    clusters: Any = KMeans(min(len(sample), count + len(points) - free), random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different points than clusters
        clusters.fit(scaled[sample], sample_weight=weights[sample])
    home = clusters.predict(scaled)
    distance = np.linalg.norm(scaled - clusters.cluster_centers_[home], axis=1)
    size = len(clusters.cluster_centers_)
    known = np.bincount(home[labelled], minlength=size)
    weight = np.bincount(home[~labelled], weights[~labelled], minlength=size)
    inside = [[int(i) for i in np.flatnonzero((home == c) & ~labelled)] for c in range(size)]
    for songs in inside:
        songs.sort(key=lambda i: -distance[i])  # the middle one is the last
    order = sorted(range(size), key=lambda c: (known[c], -weight[c], c))
    chosen: list[int] = []
    while len(chosen) < count:
        chosen += [inside[c].pop() for c in order if inside[c]][: count - len(chosen)]
    return chosen
