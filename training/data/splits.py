"""Who is trained on and who is tested: at random as the papers did, or honestly by group."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import ShuffleSplit, StratifiedGroupKFold, StratifiedKFold

from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """Positions of clips. ``kind`` is "grouped" or "random"; ``hash`` speaks of the test part."""

    kind: str
    training: Indices
    validation: Indices
    test: Indices
    hash: str
    fold: int = 0
    folds: int = 0


def can_be_grouped(clips: Sequence[Clip]) -> bool:
    """Whether any group holds more than one clip; otherwise a grouped split is a random one."""
    return len({clip.group for clip in clips}) < len(clips)


def holdout(clips: Sequence[Clip], share: float, seed: int, grouped: bool = True) -> tuple[Indices, Indices]:
    """(training, test) positions with about ``share`` of the clips in the test part.

    ``grouped`` is stratified and keeps each group on one side; a group too large for the test part
    stays in training. Otherwise clips are drawn at random, neither grouped nor stratified, as both
    papers did.

    Raises:
        MerError: a label that would be missing from one side, or no fold small enough.
    """
    if not grouped:
        training, test = next(ShuffleSplit(1, test_size=share, random_state=seed).split(np.zeros(len(clips))))
        return _checked(clips, np.sort(training), np.sort(test), both=False)
    part = Fraction(share).limit_denominator(20)
    rarest, groups = _rarest(clips), len({clip.group for clip in clips})
    if part.denominator > min(rarest, groups):
        part = Fraction(1, max(2, min(round(1 / share), rarest, groups)))
    parts = [test for _, test in _folds(clips, part.denominator, seed, grouped=True)]
    wanted = part.numerator * len(clips) / part.denominator
    for first in range(len(parts)):
        test = np.sort(np.concatenate([parts[(first + i) % len(parts)] for i in range(part.numerator)]))
        if len(test) <= 1.5 * wanted and _has_all(clips, test):
            return _checked(clips, np.setdiff1d(np.arange(len(clips)), test), test)
    raise MerError(_too_large(clips, round(wanted)))


def folds(
    clips: Sequence[Clip], count: int, seed: int, grouped: bool = True
) -> list[tuple[Indices, Indices]]:
    """``count`` pairs of (training, test) positions; every clip is tested once, labels stratified.

    ``grouped`` keeps each group on one side.

    Raises:
        MerError: fewer clips of a label, or fewer groups, than folds, or a group larger than a fold.
    """
    if grouped and _largest(clips)[1] > -(-len(clips) // count):
        raise MerError(_too_large(clips, -(-len(clips) // count)))
    made = _folds(clips, count, seed, grouped)
    for training, test in made:
        _checked(clips, training, test)
    return made


def split_hash(clips: Sequence[Clip], test: Indices) -> str:
    """SHA-256 over the test clips' ids: says whether two reports speak of the same split."""
    ids = sorted(clips[i].id for i in test)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _folds(clips: Sequence[Clip], count: int, seed: int, grouped: bool) -> list[tuple[Indices, Indices]]:
    labels = np.asarray([clip.label for clip in clips])
    groups = np.asarray([clip.group for clip in clips])
    if _rarest(clips) < count or (grouped and len(set(groups.tolist())) < count):
        raise MerError(f"{count} folds need {count} clips of each label and as many groups; fewer are there")
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(count, shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels, groups if grouped else None))


def _checked(
    clips: Sequence[Clip], training: Indices, test: Indices, both: bool = True
) -> tuple[Indices, Indices]:
    for side, chosen in (("training", training), ("test", test)) if both else (("training", training),):
        missing = sorted({clip.label for clip in clips} - {clips[i].label for i in chosen})
        if missing:
            raise MerError(f"the {side} part has no clip of {', '.join(missing)}; more clips are needed")
    return training, test


def _has_all(clips: Sequence[Clip], chosen: Indices) -> bool:
    return {clip.label for clip in clips} == {clips[i].label for i in chosen}


def _rarest(clips: Sequence[Clip]) -> int:
    return min(Counter(clip.label for clip in clips).values())


def _largest(clips: Sequence[Clip]) -> tuple[str, int]:
    return Counter(clip.group for clip in clips).most_common(1)[0]


def _too_large(clips: Sequence[Clip], size: int) -> str:
    name, count = _largest(clips)
    return (
        f"no grouped split: the group {name!r} has {count} of {len(clips)} clips, a part should have {size}; "
        "take fewer folds or a larger part, or --split random"
    )
