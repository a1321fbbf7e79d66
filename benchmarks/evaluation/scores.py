"""How right a model's answers are: every figure, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...engine.data.metrics import (
    Integers,
    accuracy_and_macro_f1,
    bootstrap_difference,
    bootstrap_interval,
    calibration_error,
    confusion_matrix,
    log_loss,
)
from .answers import Answers

NONE = "(none)"
"""The name of the matrix's column for clips without an emotion."""

CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The least confidences for which coverage is said."""

_LEAST = 5e-7  # half of the last decimal of a row's probabilities: less is not known

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class LabelScores:
    """One label of the data: its clips, how many clips the model called so, and how well they agree."""

    label: str
    clips: int
    said: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Coverage:
    """The clips with at least this confidence: how many, their share, and how many of them are right.

    ``accuracy`` is None where there is no such clip.
    """

    confidence: float
    clips: int
    share: float
    accuracy: float | None


@dataclass(frozen=True)
class VerdictScores:
    """The clips with an emotion and this verdict, and how many of them are right."""

    verdict: str
    clips: int
    accuracy: float


@dataclass(frozen=True)
class WrongClip:
    """A clip whose label is not what the data says."""

    path: str
    label: str
    said: str
    confidence: float


@dataclass(frozen=True)
class Scores:
    """One model on all clips. An error or an empty emotion is a wrong answer.

    Intervals are of 95 %; None where the clips are too few for one. ``macro_f1`` is over the labels of the
    data. ``log_loss`` (nats) is over the ``log_loss_clips`` that have probabilities, ``calibration_error``
    over those with an emotion; None without any. The matrix's rows are those of ``by_label``, its columns are
    named. ``by_verdict`` is empty for models that give none, ``no_emotion`` counts the reasons why clips have
    none, ``errors`` the clips that failed. ``wrong`` are the most confident mistakes.
    """

    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    log_loss: float | None
    log_loss_clips: int
    calibration_error: float | None
    by_label: tuple[LabelScores, ...]
    columns: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    coverage: tuple[Coverage, ...]
    by_verdict: tuple[VerdictScores, ...]
    no_emotion: dict[str, int]
    errors: int
    wrong: tuple[WrongClip, ...]


@dataclass(frozen=True)
class Difference:
    """A model's figures minus the first model's, on the same clips.

    ``other_answers`` counts clips to which they answer differently.
    """

    macro_f1: float
    macro_f1_interval: Interval
    accuracy: float
    accuracy_interval: Interval
    other_answers: int


def scores_from_answers(
    answers: Answers,
    truth: Integers,
    names: Sequence[str],
    groups: Sequence[str],
    paths: Sequence[str],
    worst: int = 10,
) -> Scores:
    """Scores answers.

    Args:
        truth: positions in ``names``, ``[clips]``.
        groups: each clip's group; whole groups are drawn for the intervals.
        paths: the clips' names.
        worst: so many of the most confident mistakes are named.
    """
    said, confidence = answers.said, answers.confidence
    right = said == truth
    answered = said < len(names)
    known = np.isfinite(answers.probabilities).all(axis=1)
    accuracy, macro_f1 = accuracy_and_macro_f1(truth, said)
    matrix = confusion_matrix(truth, said, len(names) + 1)
    rows: list[int] = np.unique(truth).tolist()
    columns = [place for place in range(len(names) + 1) if place in rows or matrix[:, place].any()]
    reasons = Counter(reason for reason in answers.reasons if reason)
    return Scores(
        accuracy,
        bootstrap_interval(truth, said, groups, of="accuracy"),
        macro_f1,
        bootstrap_interval(truth, said, groups),
        log_loss(truth[known], answers.probabilities[known], _LEAST) if known.any() else None,
        int(known.sum()),
        calibration_error(confidence[answered], right[answered]) if answered.any() else None,
        tuple(_of_label(matrix, place, names[place]) for place in rows),
        tuple((*names, NONE)[place] for place in columns),
        tuple(tuple(line) for line in matrix[rows][:, columns].tolist()),
        tuple(_coverage(confidence, right & answered, answered, least) for least in CONFIDENCES),
        _by_verdict(answers, right),
        dict(reasons.most_common()),
        answers.errors,
        _wrong(answers, truth, names, paths, worst),
    )


def difference_of(first: Answers, second: Answers, truth: Integers, groups: Sequence[str]) -> Difference:
    """``second`` minus ``first``."""
    (accuracy_1, macro_f1_1), (accuracy_2, macro_f1_2) = (
        accuracy_and_macro_f1(truth, answers.said) for answers in (first, second)
    )
    return Difference(
        macro_f1_2 - macro_f1_1,
        bootstrap_difference(truth, first.said, second.said, groups),
        accuracy_2 - accuracy_1,
        bootstrap_difference(truth, first.said, second.said, groups, of="accuracy"),
        int((first.said != second.said).sum()),
    )


def _of_label(matrix: Integers, place: int, name: str) -> LabelScores:
    right, clips, said = int(matrix[place, place]), int(matrix[place].sum()), int(matrix[:, place].sum())
    return LabelScores(
        name, clips, said, right / said if said else 0.0, right / clips, 2 * right / (clips + said)
    )


def _coverage(confidence: np.ndarray, right: np.ndarray, answered: np.ndarray, least: float) -> Coverage:
    covered = answered & (confidence >= least)
    clips = int(covered.sum())
    return Coverage(least, clips, clips / len(covered), float(right[covered].mean()) if clips else None)


def _by_verdict(answers: Answers, right: np.ndarray) -> tuple[VerdictScores, ...]:
    verdicts = np.asarray(
        [v if not reason else "" for v, reason in zip(answers.verdicts, answers.reasons, strict=True)]
    )
    counts = Counter(verdicts.tolist())
    return tuple(
        VerdictScores(verdict, count, float(right[verdicts == verdict].mean()))
        for verdict, count in counts.most_common()
        if verdict
    )


def _wrong(
    answers: Answers, truth: Integers, names: Sequence[str], paths: Sequence[str], count: int
) -> tuple[WrongClip, ...]:
    """The most confident mistakes first; of equal ones the first by name."""
    mistakes = np.flatnonzero((answers.said != truth) & (answers.said < len(names)))
    order = sorted(mistakes.tolist(), key=lambda i: (-answers.confidence[i], paths[i]))
    said: list[int] = answers.said.tolist()
    true: list[int] = truth.tolist()
    return tuple(
        WrongClip(paths[i], names[true[i]], names[said[i]], float(answers.confidence[i]))
        for i in order[:count]
    )
