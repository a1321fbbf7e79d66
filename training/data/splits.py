"""Which clips are trained on and which are tested: by group, at random, or as the data itself says."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
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

_DRAWS = 100  # of a random test part, until it has every label


@dataclass(frozen=True)
class Split:
    """Positions of the clips of each part. ``hash`` identifies the test part.

    ``fold`` counts from 1 to ``folds``; both are 0 outside cross-validation. ``drawn`` is how often a random
    test part was drawn until each part had every label.
    """

    kind: SplitKind
    training: Indices
    validation: Indices
    test: Indices
    hash: str
    fold: int = 0
    folds: int = 0
    drawn: int = 1


def splits_from_protocol(
    clips: Sequence[Clip], protocol: Protocol, kind: SplitKind, count: int = 0, recordings: Sequence[int] = ()
) -> list[Split]:
    """One held-out part of ``protocol.test_share``, or ``count`` folds; validation is cut from the rest.

    A random split of the ``best`` protocol is stratified by label; those of the papers are not. A given one
    has the parts of the data, and what it lacks is cut from its training part.

    Args:
        recordings: a number for each clip; where two are equal a random split of ``best`` keeps the clips on
            one side. Default: each its own.

    Raises:
        MerError: too few clips or groups, or a part would lack a label.
    """
    seed = protocol.split_seed
    if kind == "given":
        return [_given(clips, protocol, recordings)]
    apart = kind == "grouped" or protocol.name == "best"
    rows = _by_recording(clips, recordings) if apart and kind == "random" else clips
    _check_enough(rows, *_needed(protocol, count), apart)
    drawn = 1
    if count:
        pairs = folds(rows, count, seed, apart)
    elif apart:
        pairs = [holdout(rows, protocol.test_share, seed)]
    else:
        drawn, training, test = _random_part(rows, protocol.test_share, seed)
        pairs = [(training, test)]
    splits = []
    for number, (training, test) in enumerate(pairs, start=1):
        validation = training[:0]
        if protocol.validation_share:
            training, validation = _cut(rows, training, protocol.validation_share, seed + 1, apart)
        fold = number if count else 0
        splits.append(Split(kind, training, validation, test, split_hash(clips, test), fold, count, drawn))
    return splits


def held_out_part(validation: int) -> str:
    """The part that the figures of epochs are of beside training: the test part where no clip validates."""
    return "validation" if validation else "test"


def can_be_grouped(clips: Sequence[Clip]) -> bool:
    """Whether any group holds more than one clip; otherwise a grouped split is a random one."""
    return len({clip.group for clip in clips}) < len(clips)


def can_be_given(clips: Sequence[Clip]) -> bool:
    """Whether the data comes with a split: clips to train on, and others."""
    return {"training"} < {clip.part for clip in clips}


def holdout(clips: Sequence[Clip], share: float, seed: int, grouped: bool = True) -> tuple[Indices, Indices]:
    """(training, test) positions with about ``share`` of the clips in the test part.

    Args:
        grouped: stratify by label and keep each group in one part; a group too large for the test
            part goes into training. Where no test part of that size has every label it is larger, up to
            half of the clips. Otherwise clips are drawn at random, neither grouped nor stratified, as in
            both papers, again where a part lacks a label.

    Raises:
        MerError: a part would lack a label, or no grouped part is small enough.
    """
    if not grouped:
        return _random_part(clips, share, seed)[1:]
    part = Fraction(share).limit_denominator(20)
    most = max(Counter(clip.label for clip in clips).values())
    groups = len({clip.group for clip in clips})
    if not part or part.denominator > min(most, groups):  # a share below 1/40 is rounded to nothing
        part = Fraction(1, max(2, min(round(1 / share), most, groups)))
    if groups < 2:
        raise MerError(_too_large(clips, round(len(clips) * share)))
    size = part.numerator * len(clips) / part.denominator
    larger = (Fraction(1, parts) for parts in range(part.denominator - 1, 1, -1))
    for share_now in (part, *(another for another in larger if another > part)):
        if (pair := _grouped_part(clips, share_now, seed)) is not None:
            return pair
    if _largest(clips)[1] > size:
        raise MerError(_too_large(clips, round(size)))
    raise MerError(f"no part of about {round(size)} of {len(clips)} clips has every label: {_rarest(clips)}")


def _grouped_part(clips: Sequence[Clip], part: Fraction, seed: int) -> tuple[Indices, Indices] | None:
    """(training, test) with ``part`` of the clips in the test part; None where one would lack a label."""
    parts = [test for _, test in _folds(clips, part.denominator, seed, grouped=True)]
    size = part.numerator * len(clips) / part.denominator
    for first in range(len(parts)):
        test = np.sort(np.concatenate([parts[(first + i) % len(parts)] for i in range(part.numerator)]))
        training = np.setdiff1d(np.arange(len(clips)), test)
        if len(test) <= 1.5 * size and not _missing(clips, test) and not _missing(clips, training):
            return training, test
    return None


def folds(
    clips: Sequence[Clip], count: int, seed: int, grouped: bool = True
) -> list[tuple[Indices, Indices]]:
    """``count`` pairs of (training, test) positions, stratified by label; every clip is tested once.

    ``grouped`` keeps each group in one part.

    Raises:
        MerError: fewer clips of a label, or fewer groups, than folds; a group larger than a fold; or a
            part that lacks a label.
    """
    _check_enough(clips, f"{count} folds need", count, grouped)
    if grouped and _largest(clips)[1] > -(-len(clips) // count):
        raise MerError(_too_large(clips, -(-len(clips) // count)))
    pairs = _folds(clips, count, seed, grouped)
    for training, test in pairs:
        _check(clips, training, "the training part of a fold")
        _check(clips, test, "the test part of a fold")
    return pairs


def split_hash(clips: Sequence[Clip], test: Indices) -> str:
    """SHA-256 over the test clips' ids: equal hashes mean that two reports are of the same split."""
    return hash_of_lines(sorted(clips[i].id for i in test))


def hash_of_lines(lines: Iterable[str]) -> str:
    """SHA-256 of the lines, joined."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _given(clips: Sequence[Clip], protocol: Protocol, recordings: Sequence[int]) -> Split:
    """The parts that the data comes with."""
    parts = np.asarray([clip.part or "training" for clip in clips])
    names = ("training", "validation", "test")
    training, validation, test = (np.flatnonzero(parts == name) for name in names)
    if not len(training):
        raise MerError("the split that the data comes with has no clips to train on")
    apart = can_be_grouped(clips)
    rows = clips if apart else _by_recording(clips, recordings)
    if not len(test):
        training, test = _cut(rows, training, protocol.test_share, protocol.split_seed)
    if protocol.validation_share and not len(validation):
        training, validation = _cut(rows, training, protocol.validation_share, protocol.split_seed + 1)
    _check(clips, training, "the training part that the data comes with")
    return Split("given", training, validation, test, split_hash(clips, test))


def _cut(
    clips: Sequence[Clip], chosen: Indices, share: float, seed: int, grouped: bool = True
) -> tuple[Indices, Indices]:
    """The chosen clips without a share of them, and that share."""
    kept, held_out = holdout([clips[i] for i in chosen], share, seed, grouped)
    return chosen[kept], chosen[held_out]


def _by_recording(clips: Sequence[Clip], recordings: Sequence[int]) -> list[Clip]:
    """The clips with their recordings as groups."""
    numbers = recordings if len(recordings) else range(len(clips))
    return [
        dataclasses.replace(clip, group=f"recording {number}")
        for clip, number in zip(clips, numbers, strict=True)
    ]


def _random_part(clips: Sequence[Clip], share: float, seed: int) -> tuple[int, Indices, Indices]:
    """Which draw it is, and the first (training, test) positions of which both parts have every label."""
    draws = ShuffleSplit(_DRAWS, test_size=share, random_state=seed).split(np.zeros(len(clips)))
    for number, (training, test) in enumerate(draws, start=1):
        if not _missing(clips, training) and not _missing(clips, test):
            return number, np.sort(training), np.sort(test)
    size = round(share * len(clips))
    raise MerError(f"no test part of {size} clips drawn at random has every label: {_rarest(clips)}")


def _folds(clips: Sequence[Clip], count: int, seed: int, grouped: bool) -> list[tuple[Indices, Indices]]:
    labels = np.asarray([clip.label for clip in clips])
    groups = np.asarray([clip.group for clip in clips])
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # of a label rarer than the folds: whoever calls looks for it
        warnings.simplefilter("ignore", UserWarning)
        try:
            return list(splitter.split(labels, labels, groups if grouped else None))
        except ValueError:  # of a label with as many clips as parts there is none
            raise MerError(f"{count} parts cannot be made of {len(clips)} clips: {_rarest(clips)}") from None


def _needed(protocol: Protocol, count: int) -> tuple[str, int]:
    """How many clips, of as many groups, a label needs to be in every part; and for what."""
    parts = 2 + bool(protocol.validation_share)
    if not count:
        names = "training, validation and test need" if parts == 3 else "training and test need"
        return names, parts
    # Of two folds, each must leave two to train and to validate.
    return f"{count} folds need", max(count, 4 if count == 2 else 3) if parts == 3 else count


def _check_enough(clips: Sequence[Clip], what: str, needed: int, grouped: bool) -> None:
    by_label: dict[str, set[object]] = {}
    for position, clip in enumerate(clips):
        by_label.setdefault(clip.label, set()).add(clip.group if grouped else position)
    if min(len(places) for places in by_label.values()) < needed:
        each = f"{needed} clips of each label" + (", of as many groups" if grouped else "")
        name, count = _largest(clips)
        if grouped and 2 * count > len(clips):  # more clips of one label are not what is lacking
            raise MerError(
                f"{what} {each}: the group {name!r} has {count} of {len(clips)} clips; add clips of others, "
                "name another column for groups (--group-by), or take a random split"
            )
        raise MerError(f"{what} {each}: {_rarest(clips, grouped)}")
    groups = len(set[object]().union(*by_label.values()))
    if groups < needed:
        raise MerError(f"{what} {needed} groups: the data has {groups}")


def _check(clips: Sequence[Clip], chosen: Indices, part: str) -> None:
    if missing := _missing(clips, chosen):
        raise MerError(f"{part} has no clip of {', '.join(missing)}; more clips are needed")


def _missing(clips: Sequence[Clip], chosen: Indices) -> list[str]:
    """The labels that no chosen clip has."""
    return sorted({clip.label for clip in clips} - {clips[i].label for i in chosen})


def _rarest(clips: Sequence[Clip], grouped: bool = True) -> str:
    """The label with the fewest groups, its numbers, and what to do."""
    groups: dict[str, set[str]] = {}
    for position, clip in enumerate(clips):
        groups.setdefault(clip.label, set()).add(clip.group if grouped else str(position))
    counts = Counter(clip.label for clip in clips)
    label = min(counts, key=lambda label: (len(groups[label]), counts[label]))
    of = f" of {len(groups[label])} groups" if len(groups[label]) < counts[label] else ""
    return f"{label} has {counts[label]}{of}; add clips of it, or leave that label out"


def group_too_large(clips: Sequence[Clip], split: Split, share: float) -> str:
    """Says which group is larger than a test part of ``share`` and so not tested; "" if none is."""
    tested = {clips[i].group for i in split.test}
    untested = [clip for clip in clips if clip.group not in tested]
    size = round(share * len(clips))
    name, count = _largest(untested) if untested else ("", 0)
    if count <= size:
        return ""
    return f"the group {name!r}, {count} of {len(clips)} clips, is larger than a test part and not tested"


def _largest(clips: Sequence[Clip]) -> tuple[str, int]:
    """The group with the most clips, and their number."""
    return Counter(clip.group for clip in clips).most_common(1)[0]


def _too_large(clips: Sequence[Clip], size: int) -> str:
    name, count = _largest(clips)
    return (
        f"no grouped split: the group {name!r} has {count} of {len(clips)} clips, a part should have {size}; "
        "take fewer folds, a larger part, or a random split"
    )
