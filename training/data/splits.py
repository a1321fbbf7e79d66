"""Which clips are trained on and which are tested: at random as in both papers, or by group."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import ShuffleSplit, StratifiedGroupKFold, StratifiedKFold

from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError
from ..recipe import Protocol, SplitKind

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """Positions of the clips of each part. ``hash`` identifies the test part.

    ``fold`` counts from 1 to ``folds``; both are 0 outside cross-validation.
    """

    kind: SplitKind
    training: Indices
    validation: Indices
    test: Indices
    hash: str
    fold: int = 0
    folds: int = 0


def splits_from_protocol(
    clips: Sequence[Clip], protocol: Protocol, kind: SplitKind, count: int = 0
) -> list[Split]:
    """One held-out part of ``protocol.test_share``, or ``count`` folds; validation is cut from the rest.

    Raises:
        MerError: too few clips or groups.
    """
    grouped, seed = kind == "grouped", protocol.split_seed
    if count:
        pairs = folds(clips, count, seed, grouped)
    else:
        pairs = [holdout(clips, protocol.test_share, seed, grouped)]
    splits = []
    for number, (training, test) in enumerate(pairs, start=1):
        validation = training[:0]
        if protocol.validation_share:
            inner = [clips[i] for i in training]
            kept, chosen = holdout(inner, protocol.validation_share, seed + 1, grouped)
            training, validation = training[kept], training[chosen]
        fold = number if count else 0
        splits.append(Split(kind, training, validation, test, split_hash(clips, test), fold, count))
    return splits


def can_be_grouped(clips: Sequence[Clip]) -> bool:
    """Whether any group holds more than one clip; otherwise a grouped split is a random one."""
    return len({clip.group for clip in clips}) < len(clips)


def holdout(clips: Sequence[Clip], share: float, seed: int, grouped: bool = True) -> tuple[Indices, Indices]:
    """(training, test) positions with about ``share`` of the clips in the test part.

    Args:
        grouped: stratify by label and keep each group in one part; a group too large for the test
            part goes into training. Otherwise clips are drawn at random, neither grouped nor
            stratified, as in both papers.

    Raises:
        MerError: a part would lack a label, or no grouped part is small enough.
    """
    if not grouped:
        training, test = next(ShuffleSplit(1, test_size=share, random_state=seed).split(np.zeros(len(clips))))
        _check(clips, training, "training")
        return np.sort(training), np.sort(test)
    part = Fraction(share).limit_denominator(20)
    rarest, groups = _rarest(clips), len({clip.group for clip in clips})
    if part.denominator > min(rarest, groups):
        part = Fraction(1, max(2, min(round(1 / share), rarest, groups)))
    parts = [test for _, test in _folds(clips, part.denominator, seed, grouped=True)]
    size = part.numerator * len(clips) / part.denominator
    for first in range(len(parts)):
        test = np.sort(np.concatenate([parts[(first + i) % len(parts)] for i in range(part.numerator)]))
        if len(test) <= 1.5 * size and not _missing(clips, test):
            training = np.setdiff1d(np.arange(len(clips)), test)
            _check(clips, training, "training")
            return training, test
    raise MerError(_too_large(clips, round(size)))


def folds(
    clips: Sequence[Clip], count: int, seed: int, grouped: bool = True
) -> list[tuple[Indices, Indices]]:
    """``count`` pairs of (training, test) positions, stratified by label; every clip is tested once.

    ``grouped`` keeps each group in one part.

    Raises:
        MerError: fewer clips of a label, or fewer groups, than folds; a group larger than a fold; or a
            part that lacks a label.
    """
    if grouped and _largest(clips)[1] > -(-len(clips) // count):
        raise MerError(_too_large(clips, -(-len(clips) // count)))
    pairs = _folds(clips, count, seed, grouped)
    for training, test in pairs:
        _check(clips, training, "training")
        _check(clips, test, "test")
    return pairs


def split_hash(clips: Sequence[Clip], test: Indices) -> str:
    """SHA-256 over the test clips' ids: equal hashes mean that two reports are of the same split."""
    return hash_of_lines(sorted(clips[i].id for i in test))


def hash_of_lines(lines: Iterable[str]) -> str:
    """SHA-256 of the lines, joined."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _folds(clips: Sequence[Clip], count: int, seed: int, grouped: bool) -> list[tuple[Indices, Indices]]:
    labels = np.asarray([clip.label for clip in clips])
    groups = np.asarray([clip.group for clip in clips])
    if _rarest(clips) < count or (grouped and len(set(groups.tolist())) < count):
        raise MerError(
            f"{count} folds need {count} clips of each label and as many groups; the data has fewer"
        )
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(count, shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels, groups if grouped else None))


def _check(clips: Sequence[Clip], chosen: Indices, part: str) -> None:
    missing = _missing(clips, chosen)
    if missing:
        raise MerError(f"the {part} part has no clip of {', '.join(missing)}; more clips are needed")


def _missing(clips: Sequence[Clip], chosen: Indices) -> list[str]:
    """The labels that no chosen clip has."""
    return sorted({clip.label for clip in clips} - {clips[i].label for i in chosen})


def _rarest(clips: Sequence[Clip]) -> int:
    """The number of clips of the rarest label."""
    return min(Counter(clip.label for clip in clips).values())


def _largest(clips: Sequence[Clip]) -> tuple[str, int]:
    """The group with the most clips, and their number."""
    return Counter(clip.group for clip in clips).most_common(1)[0]


def _too_large(clips: Sequence[Clip], size: int) -> str:
    name, count = _largest(clips)
    return (
        f"no grouped split: the group {name!r} has {count} of {len(clips)} clips, a part should have {size}; "
        "take fewer folds, a larger part, or a random split"
    )
