"""Which rows are worth using: drops, the Pareto front, the order, and one sentence of advice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..row import BASELINES, Interval, Results, Row
from .ranked_figure import FIGURES, ranked_by, score_of

_NEAR = 0.01  # of macro-F1: what a faster row may cost


def finish(results: Results, valid: bool = True) -> None:
    """Fills in what depends on all rows: drops, the Pareto front, the order, validity and the advice.

    Args:
        valid: the run was long enough; LoadGen must call every scenario valid too.
    """
    rows = results.rows
    _fill_drops(rows)
    front = pareto_front(rows)
    for row in rows:
        row.pareto = any(row is best for best in front)
    rows.sort(key=_order(score_of(rows)))
    measured = [row for row in rows if row.status == "ok"]
    results.valid = bool(valid and measured) and all(
        scenario.valid for row in measured for scenario in row.scenarios.values()
    )
    results.recommendation = recommendation(results)


def pareto_front(rows: Sequence[Row]) -> list[Row]:
    """Rows that no other row beats in macro-F1 and images/s at once; both must be known.

    The macro-F1 is the figure that ``ranked_by`` names; without one no row is on it.
    """
    score = score_of(rows)
    scored = [
        (row, macro_f1, row.throughput)
        for row in rows
        if (macro_f1 := score(row)[0]) is not None and row.throughput
    ]

    def beaten(macro_f1: float, throughput: float) -> bool:
        return any(
            (other_f1, other_speed) != (macro_f1, throughput)
            and other_f1 >= macro_f1
            and other_speed >= throughput
            for _, other_f1, other_speed in scored
        )

    return [row for row, macro_f1, throughput in scored if not beaten(macro_f1, throughput)]


def recommendation(results: Results) -> str:
    """One sentence: the fastest row at no more than a point of macro-F1 below the best."""
    rows = [row for row in results.rows if row.status == "ok" and row.throughput]
    prefix = "" if results.valid else "By a look that is not valid: "
    if not rows:
        measured = any(row.status == "ok" for row in results.rows)
        return (
            "No advice: images/s was not measured (--scenario Offline)."
            if measured
            else "Nothing was measured."
        )
    score, by = score_of(rows), ranked_by(rows)
    scored = [(row, macro_f1) for row in rows if (macro_f1 := score(row)[0]) is not None]
    if by is None or not scored:
        return _fastest(rows, prefix)
    top = max(macro_f1 for _, macro_f1 in scored)
    best, macro_f1 = max(
        (pair for pair in scored if pair[1] >= top - _NEAR), key=lambda pair: _speed(pair[0])
    )
    ends = score(best)[1]
    spread = (
        f", 95 % between {ends[0]:.3f} and {ends[1]:.3f}" if ends else ", of too few songs for an interval"
    )
    return (
        f"{prefix}{'use' if prefix else 'Use'} {_named(best)}: the fastest within a point of the best "
        f"{FIGURES[by]} ({macro_f1:.3f}{spread}), at {_speed(best):,.0f} images/s."
    )


def _fastest(rows: Sequence[Row], prefix: str) -> str:
    """The advice where nothing says which is more right; a baseline, of random weights, is never advised."""
    best = max((row for row in rows if row.runtime not in BASELINES), default=None, key=_speed)
    if best is None:
        return "Only peers were measured."
    why = "how right any of them is was not measured"
    if any(row.macro_f1 is not None for row in rows):
        why = "which is more right is not known, for they were not scored on the same songs"
    return f"{prefix}{_named(best)} is fastest at {_speed(best):,.0f} images/s; {why}."


def _fill_drops(rows: Sequence[Row]) -> None:
    """Points of macro-F1 on the same songs below the FP32 model on ONNX Runtime that a file was made from."""
    reference_f1 = {
        (sha256, row.scored_songs): row.macro_f1
        for row in rows
        if (row.runtime, row.precision) == ("onnxruntime", "fp32") and row.macro_f1 is not None
        # mer-export's FP32 file names the same source as its FP16 and INT8 files do.
        for sha256 in (row.fp32_sha256, row.sha256)
        if sha256
    }
    for row in rows:
        reference = reference_f1.get((row.fp32_sha256 or row.sha256 or "", row.scored_songs))
        if reference is not None and row.macro_f1 is not None:
            row.drop = 100 * (reference - row.macro_f1)


def _order(
    score: Callable[[Row], tuple[float | None, Interval | None]],
) -> Callable[[Row], tuple[bool, bool, float, float]]:
    """The front first, then by accuracy, then by speed; what failed last."""

    def key(row: Row) -> tuple[bool, bool, float, float]:
        macro_f1 = score(row)[0]
        return row.status != "ok", not row.pareto, -(-1 if macro_f1 is None else macro_f1), -_speed(row)

    return key


def _speed(row: Row) -> float:
    return row.throughput or 0.0


def _named(row: Row) -> str:
    return f"{row.shown_model} in {row.precision} on {row.runtime}"
