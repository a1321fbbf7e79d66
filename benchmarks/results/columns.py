"""The columns of the page's table: what heads them, what a row has in them, and what they are sorted by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..row import Interval, Row
from .ranked_figure import CV_MEANS

_LARGE_FIRST = ("macro-F1", "accuracy", "CV macro-F1", "images/s", "songs/s", "roofline")


@dataclass(frozen=True)
class Cell:
    """``text``, and ``more`` in small print below it; ``key`` is sorted by (empty: always last).

    ``kind`` is "model", "text", "number" or empty: the class of the cell in the stylesheet.
    """

    text: str
    key: str
    kind: str = ""
    more: str = ""


@dataclass(frozen=True)
class Column:
    """``title`` and ``unit`` head it; ``explanation`` is the tooltip."""

    title: str
    explanation: str
    cell: Callable[[Row], Cell]
    unit: str = ""

    @property
    def first(self) -> str:
        """The order of the first click: names and times rise, what should be large falls."""
        return "falling" if self.title in _LARGE_FIRST else "rising"


def _text(value: str) -> Cell:
    return Cell(value, value.lower(), "text")


def _figure(value: float | None, digits: int, scale: float = 1.0, interval: Interval | None = None) -> Cell:
    if value is None:
        return Cell("-", "", "number")
    spread = f"{scale * interval[0]:,.{digits}f} to {scale * interval[1]:,.{digits}f}" if interval else ""
    return Cell(f"{scale * value:,.{digits}f}", repr(float(value)), "number", spread)


def _model(row: Row) -> Cell:
    return Cell(row.model, row.model.lower(), "model", "random weights" if row.source == "untrained" else "")


def _roofline(row: Row) -> Cell:
    if row.roofline is None:
        return Cell("-", "", "number")
    return Cell(f"{100 * row.roofline:.0f}%", repr(row.roofline), "number", row.bound or "")


COLUMNS = (
    Column("model", "Network; a star marks the Pareto front", _model),
    Column("runtime", "What ran it", lambda row: _text(row.runtime)),
    Column("precision", "What it computes in", lambda row: _text(row.precision)),
    Column(
        "macro-F1",
        "Mean F1 of the labels on whole songs, 95% interval",
        lambda row: _figure(row.macro_f1, 3, interval=row.macro_f1_interval),
    ),
    Column(
        "accuracy",
        "Share of songs labelled right, 95% interval",
        lambda row: _figure(row.accuracy, 3, interval=row.accuracy_interval),
    ),
    Column(
        "CV macro-F1", CV_MEANS, lambda row: _figure(row.cv_macro_f1, 3, interval=row.cv_macro_f1_interval)
    ),
    Column("drop", "Macro-F1 lost against FP32", lambda row: _figure(row.drop, 1), "points"),
    Column(
        "images/s",
        "Throughput at the best batch (Offline)",
        lambda row: _figure(row.throughput, 0, interval=row.throughput_interval),
    ),
    Column("batch", "The best batch", lambda row: _figure(row.best_batch, 0)),
    Column(
        "p50",
        "Median latency of one image (SingleStream)",
        lambda row: _figure(row.p50, 2, interval=row.p50_interval),
        "ms",
    ),
    Column("p90", "90th percentile of latency", lambda row: _figure(row.p90, 2), "ms"),
    Column(
        "p99",
        "99th percentile of latency; - where samples are too few",
        lambda row: _figure(row.p99, 2),
        "ms",
    ),
    Column("songs/s", "Files to labels", lambda row: _figure(row.songs_per_s, 1)),
    Column("memory", "Peak resident memory", lambda row: _figure(row.peak_mib, 0), "MiB"),
    Column("size", "File", lambda row: _figure(row.bytes, 1, 1e-6), "MB"),
    Column("parameters", "Weights", lambda row: _figure(row.params, 2, 1e-6), "M"),
    Column("MACs", "Multiply-adds of one image", lambda row: _figure(row.macs, 0, 1e-6), "M"),
    Column("roofline", "Share of what this machine could do, and what binds it", _roofline),
)
"""From left to right; the first three are text, and the template says so."""
