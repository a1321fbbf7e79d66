"""Results as one page that needs no network: table, charts and matrices, light and dark."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ...engine.errors import MerError
from . import charts
from .charts import Row, number

_TEMPLATE, _SCRIPT, _STYLE = "report.html.j2", "report.js", "report.css"
_LEADING = 16  # rows that a chart shows at once; the others are one click away
_RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "torch", "torch.compile")
_LARGE_FIRST = ("macro-F1", "accuracy", "images/s", "songs/s", "roofline")
_EMPTY = dict.fromkeys(("model", "runtime", "precision", "status", "reason", "pareto"))
_STAGES = ("start", "decode", "resample", "mel", "network", "write")


@dataclass(frozen=True)
class Cell:
    """Text, what it is sorted by (empty: always last), and its column's kind."""

    text: str
    key: str
    kind: str = ""
    more: str = ""


@dataclass(frozen=True)
class Column:
    """``title`` and ``unit`` head it; ``told`` explains it."""

    title: str
    told: str
    cell: Callable[[Row], Cell]
    unit: str = ""

    @property
    def first(self) -> str:
        """The order of the first click: names and times rise, what should be large falls."""
        return "falling" if self.title in _LARGE_FIRST else "rising"


def html_from_results(results: Mapping[str, Any]) -> str:
    """The page of ``mer-bench``'s results, as they stand in its JSON.

    Rows that failed or were skipped keep their place with the reason; what was not measured is "-".
    Nothing in the results can become markup: the template escapes, and the page forbids every script
    but its own.

    Raises:
        MerError: jinja2 is not installed, or these are no results of mer-bench.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ModuleNotFoundError:
        raise MerError("a page needs jinja2: pip install 'merkit[bench]'") from None
    rows = results.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise MerError("these are no results of mer-bench: they have no rows")
    files = resources.files(__package__ or "")
    text = {name: (files / name).read_text(encoding="utf-8") for name in (_TEMPLATE, _SCRIPT, _STYLE)}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"name_of": charts.name_of, "colour": _colour, "told": _told}
    return environment.from_string(text[_TEMPLATE]).render(
        _view(results, [_EMPTY | row for row in rows]),
        script=text[_SCRIPT],
        style=text[_STYLE],
        script_hash=_hash(text[_SCRIPT]),
        style_hash=_hash(text[_STYLE]),
    )


def _view(results: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    measured = [row for row in rows if row.get("status") == "ok"]
    matrices = [matrix for row in measured if (matrix := _matrix(row))]
    by_speed = sorted(
        measured, key=lambda row: (not row.get("pareto"), -(number(row.get("throughput")) or 0))
    )
    sampled = sorted(
        (row for row in measured if len(charts.samples_of(row)) > 4), key=lambda r: number(r.get("p50")) or 0
    )
    staged = [row for row in by_speed if row.get("stages")]
    known = {name for row in staged for name in row["stages"]}
    order = [*(name for name in _STAGES if name in known), *sorted(known - {*_STAGES})]
    return {
        "advice": results.get("recommendation") or "",
        "facts": _facts(results),
        "warnings": _warnings(results),
        "columns": _COLUMNS,
        "table": [(row, [column.cell(row) for column in _COLUMNS]) for row in rows],
        "counts": {state: sum(row.get("status") == state for row in rows) for state in ("error", "skipped")},
        "measured": len(measured),
        "scatter": charts.scatter(measured),
        "bars": charts.bars(measured),
        "runtimes": _present(measured, "runtime", _RUNTIMES),
        "precisions": _present(measured, "precision", tuple(charts.SHAPES)),
        "shapes": charts.SHAPES,
        "ridges": charts.ridges(sampled[:_LEADING], sampled),
        "more_ridges": charts.ridges(sampled[_LEADING:], sampled),
        "matrices": matrices[:_LEADING],
        "more_matrices": matrices[_LEADING:],
        "stages": charts.stages(staged[:_LEADING], order),
        "more_stages": charts.stages(staged[_LEADING:], order),
        "stage_names": order,
        "width": charts.WIDTH,
    }


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    machine, data = results.get("machine") or {}, results.get("data")
    libraries = machine.get("libraries") or {}
    gpu = machine.get("gpu")
    limits = [
        f"{value:,.0f} {unit}"
        for name, unit in (
            ("gemm_gflops", "GFLOP/s"),
            ("gemm_int8_gops", "int8 GOP/s"),
            ("bandwidth_gbs", "GB/s"),
        )
        if (value := number(machine.get(name))) is not None
    ]
    memory = number(machine.get("memory_gib"))
    facts = [
        ("Processor", f"{machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores"),
        ("Instructions", " ".join(map(str, machine.get("flags") or ())) or "-"),
        ("Measured limits", ", ".join(limits) or "-"),
        ("Memory", f"{memory:g} GiB" if memory else "-"),
        ("GPU", ", ".join(map(str, gpu.values())) if isinstance(gpu, Mapping) else "none"),
        ("System", f"{machine.get('os', 'unknown')}, Python {machine.get('python', '?')}"),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in libraries.items()) or "-"),
    ]
    if data:
        counted = f"{data.get('clips')} clips of {data.get('name')} ({', '.join(data.get('labels') or ())})"
        facts.append(("Labelled data", counted + (f": {data['note']}" if data.get("note") else "")))
    else:
        facts.append(("Labelled data", "none given (--data), so nothing is said of accuracy"))
    facts.append(("Command", shlex.join(map(str, results.get("command") or ()))))
    facts.append(("Made", f"{results.get('made', 'unknown')} by mer {results.get('mer', 'unknown')}"))
    return facts


def _warnings(results: Mapping[str, Any]) -> list[str]:
    found = []
    if not results.get("valid"):
        found.append(
            "Not a valid measurement: too short for MLPerf's LoadGen. Take it as a look, not a figure."
        )
    if results.get("partial"):
        found.append("Stopped before its end: only the rows that were done are here.")
    return found


def _text(name: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = row.get(name)
        return Cell("-", "") if value is None else Cell(str(value), str(value).lower(), "text")

    return cell


def _figure(name: str, digits: int, scale: float = 1.0) -> Callable[[Row], Cell]:
    """A number, with its interval beneath it where the row has ``name_interval``."""

    def cell(row: Row) -> Cell:
        value = number(row.get(name))
        if value is None:
            return Cell("-", "", "number")
        ends = row.get(f"{name}_interval")
        shown = ""
        if isinstance(ends, list | tuple) and all(number(end) is not None for end in ends):
            shown = " to ".join(f"{scale * end:,.{digits}f}" for end in ends)
        return Cell(f"{scale * value:,.{digits}f}", repr(value), "number", shown)

    return cell


def _model(row: Row) -> Cell:
    name = str(row.get("model"))
    return Cell(name, name.lower(), "model", "random weights" if row.get("source") == "untrained" else "")


def _roofline(row: Row) -> Cell:
    share = number(row.get("roofline"))
    if share is None:
        return Cell("-", "", "number")
    return Cell(f"{100 * share:.0f}%", repr(share), "number", str(row.get("bound") or ""))


_COLUMNS = (
    Column("model", "Network; a star marks the Pareto front", _model),
    Column("runtime", "What ran it", _text("runtime")),
    Column("precision", "What it computes in", _text("precision")),
    Column("macro-F1", "Mean F1 of the labels on whole songs, 95% interval", _figure("macro_f1", 3)),
    Column("accuracy", "Share of songs labelled right, 95% interval", _figure("accuracy", 3)),
    Column("drop", "Macro-F1 lost against FP32", _figure("drop", 1), "points"),
    Column("images/s", "Throughput at the best batch (Offline)", _figure("throughput", 0)),
    Column("batch", "The best batch", _figure("best_batch", 0)),
    Column("p50", "Median latency of one image (SingleStream)", _figure("p50", 2), "ms"),
    Column("p90", "90th percentile of latency", _figure("p90", 2), "ms"),
    Column("p99", "99th percentile of latency; - where samples are too few", _figure("p99", 2), "ms"),
    Column("songs/s", "Files to labels", _figure("songs_per_s", 1)),
    Column("memory", "Peak resident memory", _figure("peak_mib", 0), "MiB"),
    Column("size", "File", _figure("bytes", 1, 1e-6), "MB"),
    Column("parameters", "Weights", _figure("params", 2, 1e-6), "M"),
    Column("MACs", "Multiply-adds of one image", _figure("macs", 0, 1e-6), "M"),
    Column("roofline", "Share of what this machine could do, and what binds it", _roofline),
)


def _matrix(row: Row) -> dict[str, Any] | None:
    """Counts with each row's shares; None where there is no whole matrix."""
    counts, labels = row.get("confusion"), row.get("labels") or ()
    if not counts or len(counts) != len(labels) or any(len(line) != len(labels) for line in counts):
        return None
    lines = []
    for label, line in zip(labels, counts, strict=True):
        total = sum(line)
        shares = [value / total if total else 0.0 for value in line]
        lines.append((label, [(v, s, round(10 * s)) for v, s in zip(line, shares, strict=True)], total))
    return {"row": row, "labels": labels, "lines": lines}


def _present(rows: Sequence[Row], name: str, first: Sequence[str]) -> list[str]:
    found = {str(row.get(name)) for row in rows}
    return [*(value for value in first if value in found), *sorted(found - {*first})]


def _colour(runtime: object) -> int:
    return _RUNTIMES.index(runtime) if runtime in _RUNTIMES else len(_RUNTIMES)  # pyright: ignore


def _told(row: Row) -> str:
    """A row's figures in a line, for who points at its mark."""
    parts = [charts.name_of(row)]
    for name, unit, digits in (
        ("macro_f1", "macro-F1", 3),
        ("throughput", "images/s", 0),
        ("p50", "ms p50", 2),
    ):
        value = number(row.get(name))
        if value is not None:
            parts.append(f"{value:,.{digits}f} {unit}")
    return "; ".join(parts)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
