"""Which rows are worth having: drops, the Pareto front, the order, one sentence of advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..measure.cases import BASELINES

Row = dict[str, Any]

_NEAR = 0.01  # of macro-F1: what a faster row may cost


def finish(results: dict[str, Any], valid: bool = True) -> None:
    """Drops against FP32, the Pareto front, the order and the recommendation, from the rows there are."""
    rows = results["rows"]
    _drops(rows)
    for row in rows:
        row["pareto"] = False
    for row in pareto_front(rows):
        row["pareto"] = True
    rows.sort(key=_order)
    measured = [row for row in rows if row["status"] == "ok"]
    # LoadGen's own word, which it gives only for a run that was long enough.
    results["valid"] = bool(valid and measured) and all(
        each["valid"] for row in measured for each in row["scenarios"].values()
    )
    results["recommendation"] = recommendation(results)


def pareto_front(rows: Sequence[Row]) -> list[Row]:
    """Rows that no other beats in macro-F1 and images/s at once; rows without accuracy are not on it."""
    scored = [row for row in rows if row.get("macro_f1") is not None and row.get("throughput")]

    def beaten(row: Row) -> bool:
        mine = (row["macro_f1"], row["throughput"])
        return any(
            theirs != mine and theirs[0] >= mine[0] and theirs[1] >= mine[1]
            for theirs in ((other["macro_f1"], other["throughput"]) for other in scored)
        )

    return [row for row in scored if not beaten(row)]


def recommendation(results: Mapping[str, Any]) -> str:
    """One sentence: the fastest row at no more than a point of macro-F1 below the best."""
    rows = [row for row in results["rows"] if row["status"] == "ok" and row["throughput"]]
    prefix = "" if results["valid"] else "By a look that is not valid: "
    use = "use" if prefix else "Use"
    if not rows:
        return "Nothing was measured."
    scored = [row for row in rows if row["macro_f1"] is not None]
    if not scored:
        best = max((row for row in rows if row["runtime"] not in BASELINES), default=None, key=_speed)
        if best is None:
            return "Only peers were measured."
        return (
            f"{prefix}{_named(best)} is fastest at {best['throughput']:,.0f} images/s; how right any of them "
            "is was not measured (no labelled data: --data)."
        )
    top = max(row["macro_f1"] for row in scored)
    best = max((row for row in scored if row["macro_f1"] >= top - _NEAR), key=_speed)
    ends = best["macro_f1_interval"]
    spread = (
        f", 95 % between {ends[0]:.3f} and {ends[1]:.3f}" if ends else ", of too few songs for an interval"
    )
    return (
        f"{prefix}{use} {_named(best)}: the fastest within a point of the best macro-F1 "
        f"({best['macro_f1']:.3f}{spread}), at "
        f"{best['throughput']:,.0f} images/s."
    )


def _drops(rows: Sequence[Row]) -> None:
    """Points of macro-F1 below the FP32 model on ONNX Runtime that a row's file was made from."""
    exact = {
        sha256: row["macro_f1"]
        for row in rows
        if (row["runtime"], row["precision"]) == ("onnxruntime", "fp32") and row["macro_f1"] is not None
        # An FP32 file of mer-export names its source too, as its FP16 and INT8 siblings do.
        for sha256 in (row.get("fp32_sha256"), row.get("sha256"))
        if sha256
    }
    for row in rows:
        reference = exact.get(row.get("fp32_sha256") or row.get("sha256"))
        if reference is not None and row["macro_f1"] is not None:
            row["drop"] = 100 * (reference - row["macro_f1"])


def _order(row: Row) -> tuple[Any, ...]:
    """The front first, then by accuracy, then by speed; what failed last."""
    return (
        row["status"] != "ok",
        not row["pareto"],
        -(row["macro_f1"] if row["macro_f1"] is not None else -1),
        -_speed(row),
    )


def _speed(row: Row) -> float:
    return row["throughput"] or 0.0


def _named(row: Row) -> str:
    return f"{row['model']} in {row['precision']} on {row['runtime']}"
