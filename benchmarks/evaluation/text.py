"""An ``Evaluation`` as lines for a terminal."""

from __future__ import annotations

from ...engine.data.cleaning import quoted_label
from ...engine.text.escape import for_terminal
from ..printing import aligned
from .evaluate import Evaluation, ModelResult
from .scores import Interval, Scores


def lines_from_evaluation(evaluation: Evaluation) -> list[str]:
    """The facts, the models beside each other, their differences, then each model's tables; safe to print."""
    lines = [facts_of(evaluation), ""]
    lines += [*aligned(overview(evaluation), left=1), *differences(evaluation)]
    for model in evaluation.models:
        lines += ["", f"== {model.name} ({model.runtime})", *_details(model)]
    return [for_terminal(line) for line in lines]


def overview(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """A line a model, under a header."""
    rows = [("model", "macro-F1", "accuracy", "log loss", "calibration error")]
    for model in evaluation.models:
        scores = model.scores
        rows.append(
            (
                model.name,
                f"{scores.macro_f1:.3f}{_interval(scores.macro_f1_interval)}",
                f"{scores.accuracy:.3f}{_interval(scores.accuracy_interval)}",
                _figure(scores.log_loss),
                _figure(scores.calibration_error),
            )
        )
    return rows


def differences(evaluation: Evaluation) -> list[str]:
    """A line for each further model: its figures minus the first's, on the same clips."""
    lines = []
    for model in evaluation.models:
        if less := model.difference:
            figures = (
                ("macro-F1", less.macro_f1, less.macro_f1_interval),
                ("accuracy", less.accuracy, less.accuracy_interval),
            )
            texts = [f"{name} {value:+.3f}{_interval(ends, '+')}" for name, value, ends in figures]
            lines.append(
                f"{model.name} minus {evaluation.models[0].name}: {', '.join(texts)}; "
                f"{less.other_answers} other answers"
            )
    return lines


def tables_of(scores: Scores) -> dict[str, list[tuple[str, ...]]]:
    """The tables of one model by title: labels, matrix, coverage, verdicts; the first line is a header."""
    labels = [("label", "clips", "said", "precision", "recall", "F1")]
    labels += [
        (row.label, str(row.clips), str(row.said), *map(_figure, (row.precision, row.recall, row.f1)))
        for row in scores.by_label
    ]
    matrix = [("true \\ said", *scores.columns)]
    matrix += [
        (row.label, *map(str, counts)) for row, counts in zip(scores.by_label, scores.confusion, strict=True)
    ]
    coverage = [("confidence at least", "clips", "share %", "accuracy")]
    coverage += [
        (f"{row.confidence:g}", str(row.clips), f"{100 * row.share:.1f}", _figure(row.accuracy))
        for row in scores.coverage
    ]
    tables = {"By label": labels, "Confusion": matrix, "Coverage": coverage}
    if scores.by_verdict:
        rows = [(row.verdict, str(row.clips), _figure(row.accuracy)) for row in scores.by_verdict]
        tables["By verdict"] = [("verdict", "clips", "accuracy"), *rows]
    return tables


def wrong_table(scores: Scores) -> list[tuple[str, ...]]:
    """The most confident mistakes, under a header; empty without one."""
    header = ("confidence", "true", "said", "clip")
    rows = [(f"{clip.confidence:.3f}", clip.label, clip.said, clip.path) for clip in scores.wrong]
    return [header, *rows] if rows else []


def remarks_of(model: ModelResult) -> list[str]:
    """What must be known beside the figures."""
    scores = model.scores
    lines = [model.note] if model.note else []
    if scores.no_emotion:
        reasons = "; ".join(f"{count}: {reason}" for reason, count in scores.no_emotion.items())
        count = sum(scores.no_emotion.values())
        lines.append(f"without an emotion, which counts as wrong: {count} clips ({reasons})")
    return lines


def facts_of(evaluation: Evaluation) -> str:
    """Which clips, how many of each label, and what the intervals are."""
    labels = ", ".join(f"{quoted_label(label)} {count}" for label, count in evaluation.labels.items())
    left_out = f", {evaluation.left_out} more left out" if evaluation.left_out else ""
    if evaluation.models[0].scores.macro_f1_interval is None:
        intervals = "No intervals: too few clips or groups (artists), in all or of a label."
    elif evaluation.grouped_by == "clip":
        intervals = (
            "Intervals: 95 %, drawn by clip, for no artist is named: where several clips are of one they are "
            "too narrow."
        )
    else:
        intervals = f"Intervals: 95 %, drawn by {evaluation.grouped_by} ({evaluation.groups})."
    windows = "all windows" if evaluation.windows == "all" else f"{evaluation.windows} windows"
    return (
        f"{evaluation.clips} clips of {evaluation.data} ({labels}){left_out}; {windows} a song. {intervals}"
    )


def _details(model: ModelResult) -> list[str]:
    lines = remarks_of(model)
    for title, table in tables_of(model.scores).items():
        lines += ["", f"{title}:", *aligned(table, left=1)]
    if wrong := wrong_table(model.scores):
        lines += ["", "Most surely wrong:", *aligned(wrong, left=len(wrong[0]))]
    return lines


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(ends: Interval, sign: str = "") -> str:
    return f" [{ends[0]:{sign}.3f}, {ends[1]:{sign}.3f}]" if ends else ""
