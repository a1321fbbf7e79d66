"""Which figure of accuracy a table goes by, and why rows have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from ..row import Interval, Results, Row

Figure = Literal["macro_f1", "cv_macro_f1"]

FIGURES: Mapping[Figure, str] = {"macro_f1": "macro-F1", "cv_macro_f1": "CV macro-F1"}
"""The figures' names in the table."""

CV_MEANS = (
    "CV macro-F1: networks trained in the same way, each without the songs that it was judged on, in FP32; "
    "what is to be expected of a network that was trained on every clip. No other precision is ranked by it."
)


def ranked_by(rows: Sequence[Row]) -> Figure | None:
    """The figure that the front, the order and the advice go by: one for the whole table.

    It is the measured macro-F1 as soon as one row has it. Without any it is cross-validation's. None where
    no row has either, or not all that have it have it of the same songs or folds: such figures are not
    compared.
    """
    measured = [row for row in rows if row.status == "ok"]
    songs = {row.scored_songs for row in measured if row.macro_f1 is not None}
    if songs:
        return "macro_f1" if len(songs - {None}) < 2 else None
    folds = {row.cv_note for row in measured if row.cv_macro_f1 is not None}
    return "cv_macro_f1" if len(folds) == 1 else None


def score_of(rows: Sequence[Row]) -> Callable[[Row], tuple[float | None, Interval | None]]:
    """Gives a row's figure that counts, and its interval.

    Cross-validation is of FP32: what FP16 and INT8 lose of it was not measured, so they have none.
    """
    by = ranked_by(rows)
    if by is None:
        return lambda row: (None, None)
    if by == "macro_f1":
        return lambda row: (row.macro_f1, row.macro_f1_interval)
    return lambda row: (
        (row.cv_macro_f1, row.cv_macro_f1_interval) if row.precision == "fp32" else (None, None)
    )


def unscored(results: Results) -> list[str]:
    """Why measured rows have no accuracy: a line for each reason."""
    if results.data is None and not any(_reason(row) for row in results.rows):
        return ["No labelled data (--data): no accuracy."]
    models: dict[str, dict[str, None]] = {}
    for row in results.rows:
        if row.status == "ok" and row.accuracy is None and (reason := _reason(row)):
            models.setdefault(reason, {})[row.model] = None
    return [f"No accuracy of {', '.join(names)}: {reason}." for reason, names in models.items()]


def differing(results: Results) -> list[str]:
    """That rows were scored on different songs, where they were: which models on which; else nothing."""
    models: dict[str, dict[str, None]] = {}
    for row in results.rows:
        if row.accuracy is not None and row.scored_songs:
            models.setdefault(row.scored_songs, {})[row.model] = None
    if len(models) < 2:
        return []
    sets = "; ".join(", ".join(names) for names in models.values())
    return [f"Not scored on the same songs, so not to be compared in accuracy and macro-F1: {sets}."]


def _reason(row: Row) -> str | None:
    return None if row.accuracy_note in (None, "no labelled data", "random weights") else row.accuracy_note
