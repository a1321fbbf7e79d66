"""Results as one page that needs no network: table, charts and matrices, light and dark."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

from ...engine.errors import MerError
from ...engine.text.escape import for_terminal, policy_hash
from ..row import BENCH_RUNTIMES, Machine, Results, Row
from .axes import WIDTH
from .charts import bars, has_ridge, ridges, stages
from .columns import COLUMNS
from .ranked_figure import differing, unscored
from .scatter import SHAPES, scatter

_TEMPLATE, _SCRIPT, _STYLE = "report.html.j2", "report.js", "report.css"
_LEADING = 16  # rows that a chart shows at once; the others are one click away
_STAGES = ("start", "decode", "resample", "mel", "network", "write")


def html_from_results(results: Results) -> str:
    """The page of mer-bench's results.

    Rows that failed or were skipped keep their place with the reason; what was not measured is "-".
    Nothing in the results can become markup: the template escapes, and the page forbids every script
    but its own.

    Raises:
        MerError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ModuleNotFoundError:
        raise MerError("a page needs jinja2: pip install 'merkit[bench]'") from None
    files = resources.files(__package__ or "")
    text = {name: (files / name).read_text(encoding="utf-8") for name in (_TEMPLATE, _SCRIPT, _STYLE)}
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: for_terminal(value) if type(value) is str else value,  # controls, bidi
    )
    environment.globals |= {"colour": _colour, "summary": _summary}
    return environment.from_string(text[_TEMPLATE]).render(
        _view(results),
        script=text[_SCRIPT],
        style=text[_STYLE],
        script_hash=policy_hash(text[_SCRIPT]),
        style_hash=policy_hash(text[_STYLE]),
    )


def _view(results: Results) -> dict[str, Any]:
    """What the template is given."""
    rows = results.rows
    measured = [row for row in rows if row.status == "ok"]
    matrices = [matrix for row in measured if (matrix := _matrix(row))]
    sampled = sorted((row for row in measured if has_ridge(row)), key=lambda row: row.p50 or 0)
    by_speed = sorted(measured, key=lambda row: (not row.pareto, -(row.throughput or 0)))
    staged = [row for row in by_speed if row.stages]
    stage_names = _in_order((name for row in staged for name in row.stages or ()), _STAGES)
    return {
        "advice": results.recommendation,
        "facts": _facts(results),
        "warnings": _warnings(results),
        "columns": COLUMNS,
        "table": [(row, [column.cell(row) for column in COLUMNS]) for row in rows],
        "counts": {state: sum(row.status == state for row in rows) for state in ("error", "skipped")},
        "measured": len(measured),
        "scatter": scatter(measured),
        "bars": bars(measured),
        "runtimes": _in_order((row.runtime for row in measured), BENCH_RUNTIMES),
        "precisions": _in_order((row.precision for row in measured), tuple(SHAPES)),
        "shapes": SHAPES,
        "ridges": ridges(sampled[:_LEADING], sampled),
        "more_ridges": ridges(sampled[_LEADING:], sampled),
        "matrices": matrices[:_LEADING],
        "more_matrices": matrices[_LEADING:],
        "stages": stages(staged[:_LEADING], stage_names),
        "more_stages": stages(staged[_LEADING:], stage_names),
        "stage_names": stage_names,
        "width": WIDTH,
    }


def _facts(results: Results) -> list[tuple[str, str]]:
    machine, data = results.machine, results.data
    facts = _machine_facts(machine)
    if data:
        note = f": {data.note}" if data.note else ""
        clips = "?" if data.clips is None else data.clips
        facts.append(("Labelled data", f"{clips} clips of {data.name} ({', '.join(data.labels)}){note}"))
        if data.skipped:
            facts.append(("Without audio, not scored", "; ".join(data.skipped)))
    if results.songs:
        facts.append(("Songs/s", f"of {results.songs}"))
    facts += [("Without accuracy", line) for line in unscored(results)]
    facts += [("Different songs", line) for line in differing(results)]
    facts.append(("Command", shlex.join(results.command)))
    facts.append(("Made", f"{results.made} by mer {results.mer}"))
    return facts


def _machine_facts(machine: Machine) -> list[tuple[str, str]]:
    limits = [
        f"{value:,.0f} {unit}"
        for value, unit in (
            (machine.gemm_gflops, "GFLOP/s"),
            (machine.gemm_bf16_gflops, "bf16 GFLOP/s"),
            (machine.gemm_int8_gops, "int8 GOP/s"),
            (machine.bandwidth_gbs, "GB/s"),
        )
        if value is not None
    ]
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    cores = "?" if machine.cores is None else machine.cores
    return [
        ("Processor", f"{machine.cpu}, {cores} cores"),
        ("Instructions", " ".join(machine.flags) or "-"),
        ("Measured limits", ", ".join(limits) or "-"),
        ("Memory", f"{machine.memory_gib:g} GiB" if machine.memory_gib else "-"),
        ("GPU", "none" if machine.gpu is None else ", ".join(machine.gpu.values())),
        ("System", f"{machine.os}, Python {machine.python}"),
        ("Libraries", libraries or "-"),
    ]


def _warnings(results: Results) -> list[str]:
    warnings = []
    if not results.valid:
        warnings.append(
            "Not a valid measurement: too short for MLPerf's LoadGen. Take it as a look, not a figure."
        )
    if results.partial:
        warnings.append("Stopped before its end: only the rows that were done are here.")
    return warnings


def _matrix(row: Row) -> dict[str, Any] | None:
    """A confusion matrix as counts with their shares of each line; None where it does not fit the labels."""
    counts, size = row.confusion, len(row.labels)
    if not counts or len(counts) != size or any(len(line) != size for line in counts):
        return None
    lines = []
    for label, line in zip(row.labels, counts, strict=True):
        total = sum(line)
        shares = [count / total if total else 0.0 for count in line]
        lines.append(
            (label, [(c, share, round(10 * share)) for c, share in zip(line, shares, strict=True)], total)
        )
    return {"row": row, "labels": row.labels, "lines": lines}


def _in_order(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """Each name once: those of ``first`` in its order, then the others by the alphabet."""
    present = set(names)
    return [*(name for name in first if name in present), *sorted(present.difference(first))]


def _colour(runtime: str) -> int:
    """The number of a runtime's colour in the stylesheet; unknown runtimes share the last one."""
    return BENCH_RUNTIMES.index(runtime) if runtime in BENCH_RUNTIMES else len(BENCH_RUNTIMES)


def _summary(row: Row) -> str:
    """A row's figures in a line: the tooltip of its mark."""
    figures = (
        (row.macro_f1, "macro-F1", 3),
        (row.cv_macro_f1, "CV macro-F1", 3),
        (row.throughput, "images/s", 0),
        (row.p50, "ms p50", 2),
    )
    known = [f"{value:,.{digits}f} {unit}" for value, unit, digits in figures if value is not None]
    return "; ".join([row.name, *known])
