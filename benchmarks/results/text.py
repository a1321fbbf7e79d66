"""The table for people, spreadsheets and documents: rich, CSV, Markdown."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def _number(name: str, digits: int = 1, scale: float = 1.0) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row.get(name)
        return "-" if value is None else f"{scale * value:,.{digits}f}"

    return text


def _with_interval(name: str, digits: int, scale: float = 1.0) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value, ends = row.get(name), row.get(f"{name}_interval")
        if value is None:
            return "-"
        spread = f" [{scale * ends[0]:,.{digits}f}, {scale * ends[1]:,.{digits}f}]" if ends else ""
        return f"{scale * value:,.{digits}f}{spread}"

    return text


def _bound(row: Row) -> str:
    return "-" if row.get("roofline") is None else f"{100 * row['roofline']:.0f} {row['bound']}"


_COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "": lambda row: "*" if row["pareto"] else "",
    "model": lambda row: row["model"] + (" (untrained)" if row["source"] == "untrained" else ""),
    "runtime": lambda row: row["runtime"],
    "precision": lambda row: row["precision"],
    "params M": _number("params", 2, 1e-6),
    "MACs M": _number("macs", 0, 1e-6),
    "size MB": _number("bytes", 1, 1e-6),
    "images/s": _with_interval("throughput", 0),
    "batch": _number("best_batch", 0),
    "p50 ms": _with_interval("p50", 2),
    "p90 ms": _number("p90", 2),
    "p99 ms": _number("p99", 2),
    "songs/s": _number("songs_per_s"),
    "peak MiB": _number("peak_mib", 0),
    "accuracy": _with_interval("accuracy", 3),
    "macro-F1": _with_interval("macro_f1", 3),
    "drop": _number("drop", 1),
    "% of roofline": _bound,
}
_CSV = (
    "model", "backbone", "source", "file", "runtime", "precision", "status", "reason", "params", "macs",
    "bytes", "throughput", "throughput_low", "throughput_high", "best_batch", "p50", "p50_low", "p50_high",
    "p90", "p99", "songs_per_s", "peak_mib", "accuracy", "accuracy_low", "accuracy_high", "macro_f1",
    "macro_f1_low", "macro_f1_high", "drop", "roofline", "bound", "pareto",
)  # fmt: skip
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def csv_from_results(results: Mapping[str, Any]) -> str:
    """A line a row, raw samples left out; a cell that a spreadsheet would run gets a leading ``'``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for row in results["rows"]:
        writer.writerow([_cell(_field(row, name)) for name in _CSV])
    return text.getvalue()


def markdown_from_results(results: Mapping[str, Any]) -> str:
    """The same table as on a terminal, with the machine, the command and the advice."""
    rows = [row for row in results["rows"] if row["status"] == "ok"]
    lines = [f"`{shlex.join(results['command'])}`", "", *facts(results), ""]
    lines += [
        f"| {' | '.join(_COLUMNS)} |",
        f"|{'|'.join(['---'] * 4 + ['---:'] * (len(_COLUMNS) - 4))}|",
    ]
    lines += [f"| {' | '.join(_escaped(text(row)) for text in _COLUMNS.values())} |" for row in rows]
    lines += ["", legend(results), ""]
    missing = [
        f"- {row['model']} {row['runtime']} {row['precision']}: {row['reason']}" for row in _not_ok(results)
    ]
    if missing:
        lines += ["Not measured:", "", *(_escaped(line) for line in missing), ""]
    lines.append(_escaped(results["recommendation"]))
    return "\n".join(lines) + "\n"


def print_results(results: Mapping[str, Any]) -> None:
    """The table on stdout; what was not measured below it, with the reason."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:  # a pipe has no width to fit into
        console = Console(width=300)
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(_COLUMNS):
        table.add_column(name, justify="left" if number < 4 else "right", no_wrap=number < 4)
    for row in results["rows"]:
        if row["status"] == "ok":
            table.add_row(*(escape(text(row)) for text in _COLUMNS.values()))
    for line in facts(results):
        console.print(escape(line))
    console.print(table)
    console.print(escape(legend(results)))
    for row in _not_ok(results):
        console.print(
            escape(f"{row['status']}: {row['model']} {row['runtime']} {row['precision']}: {row['reason']}")
        )
    console.print(escape(results["recommendation"]))


def facts(results: Mapping[str, Any]) -> list[str]:
    """What it was measured on, in a few lines."""
    machine, data = results["machine"], results["data"]
    flags = " ".join(machine["flags"])
    known = (
        f"{machine['cpu']}, {machine['cores']} cores ({flags}), {machine['memory_gib']} GiB, {machine['os']}"
    )
    if machine.get("gemm_gflops"):
        known += f"; measured {machine['gemm_gflops']:.0f} GFLOP/s, {machine['bandwidth_gbs']:.0f} GB/s"
    lines = [f"mer {results['mer']}, {results['made']}, {known}."]
    if machine.get("gpu"):
        lines.append("GPU: " + ", ".join(machine["gpu"].values()) + ".")
    used = ("onnxruntime", "openvino", "torch", "tensorrt")
    versions = [f"{name} {version}" for name, version in machine["libraries"].items() if name in used]
    lines.append(f"{', '.join(versions)}; {results['threads']} threads.")
    if data:
        lines.append(f"Accuracy on {data['clips']} clips of {data['name']}: {data['note']}.")
    else:
        lines.append("No labelled data (--data): no accuracy.")
    return lines


def legend(results: Mapping[str, Any]) -> str:
    """How to read the table, and what is wrong with it."""
    text = (
        "* on the Pareto front of macro-F1 and images/s. Latency at batch 1 (LoadGen SingleStream), images/s "
        "at the best batch (Offline); [lowest, highest] of the run's parts, 95 % bootstrap for accuracy."
    )
    if results["length"] == "quick":
        text += " Quick: not a valid measurement."
    elif not results["valid"]:
        text += " LoadGen does not call all of it valid."
    if results["partial"]:
        text += " Stopped before its end."
    return text


def _not_ok(results: Mapping[str, Any]) -> Sequence[Row]:
    return [row for row in results["rows"] if row["status"] != "ok"]


def _field(row: Row, name: str) -> Any:
    for suffix, place in (("_low", 0), ("_high", 1)):
        if name.endswith(suffix):
            ends = row.get(f"{name.removesuffix(suffix)}_interval")
            return None if ends is None else ends[place]
    return row.get(name)


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return "'" + value
    return "" if value is None else value


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
