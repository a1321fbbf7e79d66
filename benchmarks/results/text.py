"""The table for people, spreadsheets and documents: terminal, CSV, Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from io import StringIO

from ...engine.text.escape import csv_line, for_markdown_cell, for_terminal
from ...engine.text.streams import print_out
from ..row import Interval, Results, Row
from .ranked_figure import CV_MEANS, FIGURES, differing, ranked_by, unscored


def _figure(
    value: float | None, digits: int = 1, scale: float = 1.0, interval: Interval | None = None
) -> str:
    if value is None:
        return "-"
    spread = f" [{scale * interval[0]:,.{digits}f}, {scale * interval[1]:,.{digits}f}]" if interval else ""
    return f"{scale * value:,.{digits}f}{spread}"


_COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "": lambda row: "*" if row.pareto else "",
    "model": lambda row: row.shown_model,
    "runtime": lambda row: row.runtime,
    "precision": lambda row: row.precision,
    "params M": lambda row: _figure(row.params, 2, 1e-6),
    "MACs M": lambda row: _figure(row.macs, 0, 1e-6),
    "size MB": lambda row: _figure(row.bytes, 1, 1e-6),
    "images/s": lambda row: _figure(row.throughput, 0, interval=row.throughput_interval),
    "batch": lambda row: _figure(row.best_batch, 0),
    "p50 ms": lambda row: _figure(row.p50, 2, interval=row.p50_interval),
    "p90 ms": lambda row: _figure(row.p90, 2),
    "p99 ms": lambda row: _figure(row.p99, 2),
    "songs/s": lambda row: _figure(row.songs_per_s),
    "peak MiB": lambda row: _figure(row.peak_mib, 0),
    "accuracy": lambda row: _figure(row.accuracy, 3, interval=row.accuracy_interval),
    "macro-F1": lambda row: _figure(row.macro_f1, 3, interval=row.macro_f1_interval),
    "CV macro-F1": lambda row: _figure(row.cv_macro_f1, 3, interval=row.cv_macro_f1_interval),
    "drop": lambda row: _figure(row.drop),
    "% of roofline": lambda row: "-" if row.roofline is None else f"{100 * row.roofline:.0f} {row.bound}",
}
_LEFT = 4  # columns of text, which stand first
TABLE_BEGINS = "|  | model | runtime | precision |"
"""As every table in Markdown does that was ever written here."""
_CSV = (
    "model", "backbone", "source", "file", "runtime", "precision", "status", "reason", "params", "macs",
    "bytes", "throughput", "throughput_low", "throughput_high", "best_batch", "p50", "p50_low", "p50_high",
    "p90", "p99", "songs_per_s", "peak_mib", "accuracy", "accuracy_low", "accuracy_high", "macro_f1",
    "macro_f1_low", "macro_f1_high", "drop", "roofline", "bound", "pareto",
    "cv_macro_f1", "cv_macro_f1_low", "cv_macro_f1_high", "cv_note", "accuracy_note",
)  # fmt: skip


def csv_from_results(results: Results) -> str:
    """A line for each row, without raw samples; no cell is a formula."""
    lines = [csv_line(_CSV)]
    for row in results.rows:
        values = _csv_values(row)
        lines.append(csv_line(values[name] for name in _CSV))
    return "".join(lines)


def markdown_from_results(results: Results) -> str:
    """The same table as on a terminal, with the machine, the command and the advice."""
    rows = [row for row in results.rows if row.status == "ok"]
    right = len(_COLUMNS) - _LEFT
    # Nothing is markup inside the backticks; one more of them, or an empty line, would end that.
    command = " ".join(shlex.join(results.command).replace("`", "'").split())
    lines = [f"`{for_terminal(command)}`", "", *map(for_markdown_cell, facts(results)), ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'|'.join(['---'] * _LEFT + ['---:'] * right)}|"]
    lines += [f"| {' | '.join(for_markdown_cell(cell(row)) for cell in _COLUMNS.values())} |" for row in rows]
    lines += ["", legend(results), ""]
    missing = [f"- {row.model} {row.runtime} {row.precision}: {row.reason}" for row in _not_ok(results)]
    if missing:
        lines += ["Not measured:", "", *map(for_markdown_cell, missing), ""]
    lines.append(for_markdown_cell(results.recommendation))
    return "\n".join(lines) + "\n"


def print_results(results: Results) -> None:
    """The table on stdout; below it the rows that were not measured, with their reasons.

    Raises:
        ReaderGoneError, MerError: see ``print_out``, through which it goes, as Rich has an end of its own.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    def plain(text: str) -> str:
        return escape(for_terminal(text))

    stdout, shown = Console(), StringIO()
    is_terminal = stdout.is_terminal
    # A pipe has no width to fit into.
    console = Console(file=shown, force_terminal=is_terminal, width=stdout.width if is_terminal else 300)
    table = Table(box=None, pad_edge=False)
    for position, name in enumerate(_COLUMNS):
        text = position < _LEFT
        table.add_column(name, justify="left" if text else "right", no_wrap=text)
    for row in results.rows:
        if row.status == "ok":
            table.add_row(*(plain(cell(row)) for cell in _COLUMNS.values()))
    for line in facts(results):
        console.print(plain(line))
    console.print(table)
    console.print(plain(legend(results)))
    for row in _not_ok(results):
        console.print(plain(f"{row.status}: {row.model} {row.runtime} {row.precision}: {row.reason}"))
    console.print(plain(results.recommendation))
    for line in shown.getvalue().removesuffix("\n").split("\n"):
        print_out(line)


def facts(results: Results) -> list[str]:
    """What it was measured on, in a few lines."""
    machine, data = results.machine, results.data
    hardware = (
        f"{machine.cpu}, {_known(machine.cores)} cores ({' '.join(machine.flags)}), "
        f"{_known(machine.memory_gib)} GiB, {machine.os}"
    )
    if machine.gemm_gflops and machine.bandwidth_gbs:
        hardware += f"; measured {machine.gemm_gflops:.0f} GFLOP/s, {machine.bandwidth_gbs:.0f} GB/s"
    lines = [f"mer {results.mer}, {results.made}, {hardware}."]
    if machine.gpu:
        lines.append("GPU: " + ", ".join(machine.gpu.values()) + ".")
    used = ("onnxruntime", "openvino", "torch", "tensorrt")
    versions = [f"{name} {version}" for name, version in machine.libraries.items() if name in used]
    lines.append(f"{', '.join(versions)}; {_known(results.threads)} threads.")
    if data:
        skipped = f" {len(data.skipped)} more give no audio and are not scored." if data.skipped else ""
        lines.append(f"Accuracy on {_known(data.clips)} clips of {data.name}: {data.note}.{skipped}")
    if results.songs:
        lines.append(f"songs/s is of {results.songs}.")
    failed = max((row.songs_failed or 0 for row in results.rows), default=0)
    if failed:
        lines.append(f"{failed} of the songs gave no label; songs/s counts the others.")
    return lines + unscored(results) + differing(results)


def legend(results: Results) -> str:
    """How to read the table, and what is wrong with it."""
    by = ranked_by(results.rows)
    ranks = "images/s ranks the rows."
    if by is not None:
        ranks = f"* on the Pareto front of {FIGURES[by]} and images/s; {FIGURES[by]} ranks the rows."
    text = (
        f"{ranks} Latency at batch 1 "
        "(LoadGen SingleStream), images/s at the best batch (Offline); [lowest, highest] of the run's parts, "
        "95 % bootstrap for accuracy."
    )
    if any(row.cv_macro_f1 is not None for row in results.rows):
        text += f" {CV_MEANS}"
    if results.length == "quick":
        text += " Quick: not a valid measurement."
    elif not results.valid:
        text += " LoadGen does not call all of it valid."
    if results.partial:
        text += " Stopped before its end."
    return text


def _not_ok(results: Results) -> Sequence[Row]:
    return [row for row in results.rows if row.status != "ok"]


def _csv_values(row: Row) -> dict[str, object]:
    """A row's figures by the names of the columns, intervals as two."""
    values: dict[str, object] = dict(vars(row))
    for name, ends in (
        ("throughput", row.throughput_interval),
        ("p50", row.p50_interval),
        ("accuracy", row.accuracy_interval),
        ("macro_f1", row.macro_f1_interval),
        ("cv_macro_f1", row.cv_macro_f1_interval),
    ):
        values[f"{name}_low"], values[f"{name}_high"] = ends or (None, None)
    return values


def _known(value: float | None) -> str:
    return "?" if value is None else str(value)
