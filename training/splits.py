"""Who is trained on and who is tested: at random as the papers did, or honestly by group."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from ..engine.errors import MerError
from ..engine.labelled import Clip

Indices = npt.NDArray[np.intp]


def folds(clips: Sequence[Clip], count: int, seed: int, grouped: bool = True) -> list[tuple[Indices, Indices]]:
    """``count`` pairs of (training, test) positions; every clip is tested once, labels stratified.

    ``grouped`` keeps each group on one side.

    Raises:
        MerError: fewer clips of a label, or fewer groups, than folds.
    """
    labels = np.asarray([clip.label for clip in clips])
    groups = np.asarray([clip.group for clip in clips])
    rarest = min(int((labels == label).sum()) for label in set(labels.tolist()))
    if rarest < count or (grouped and len(set(groups.tolist())) < count):
        raise MerError(f"{count} folds need {count} clips of each label and as many groups; fewer are there")
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(count, shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels, groups))


def split_hash(clips: Sequence[Clip], test: Indices) -> str:
    """SHA-256 over the test clips' names: says whether two reports speak of the same split."""
    names = sorted(clips[i].path.name for i in test)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
