"""Bars, ridges and stages of the page: where their marks go; report.html.j2 draws them as SVG.

They are not matplotlib's SVG, because its colours are fixed in inline styles, which the page's content
security policy forbids and which could not follow the switch between light and dark. Here every mark takes
its colour from the page's stylesheet, carries its row's figures as a tooltip, and has names as text that the
template escapes. The extra bench does not need matplotlib for it either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..row import Row
from .axes import WIDTH, Scale, log_scale

_BINS = 160
_RIDGE = 28  # pixels: the height of a histogram
_FEWEST_SAMPLES = 5


def bars(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Images/s of every row, the fastest first, for when accuracy ranks no row; None without any."""
    timed = [(row, row.throughput) for row in rows if row.throughput is not None and row.throughput > 0]
    if not timed:
        return None
    timed.sort(key=lambda pair: -pair[1])
    top, step, left = 8, 28, 300
    x = Scale(0.0, timed[0][1] * 1.12, left, WIDTH - 24)
    bottom = top + step * len(timed)
    return {
        "height": bottom + 52,
        "bottom": bottom,
        "begin": left,
        "bars": [(top + step * i, x(speed), row) for i, (row, speed) in enumerate(timed)],
        "x_ticks": x.ticks(),
    }


def has_ridge(row: Row) -> bool:
    """Whether a row has enough raw latencies for a histogram."""
    return len(_samples(row)) >= _FEWEST_SAMPLES


def ridges(rows: Sequence[Row], among: Sequence[Row] | None = None) -> dict[str, Any] | None:
    """A histogram of each row's raw latencies over one axis, the quickest first; None without any.

    Args:
        among: the rows that the axis must hold, where ``rows`` are some of them.
    """
    sampled = sorted(
        ((row, _samples(row)) for row in rows if has_ridge(row)), key=lambda pair: float(np.median(pair[1]))
    )
    if not sampled:
        return None
    left, right, top, step = 270, WIDTH - 180, 34, 40
    x = log_scale(np.concatenate([_samples(row) for row in among or rows]).tolist(), left, right, 1.1)
    bottom = top + step * len(sampled)
    return {
        "height": bottom + 52,
        "bottom": bottom,
        "left": left,
        "right": right,
        "top": top,
        "ridges": [
            _ridge(row, samples, x, top + step * i - 8) for i, (row, samples) in enumerate(sampled, 1)
        ],
        "x_ticks": x.ticks(),
    }


def stages(rows: Sequence[Row], order: Sequence[str]) -> dict[str, Any] | None:
    """Each row's CPU seconds by stage as shares of their sum: stacked bars; None without any."""
    left, right, top, step = 270, WIDTH - 110, 8, 30
    stacked = []
    for row in rows:
        parts = _stacked(row, order, left, right)
        if parts:
            songs = f"{_brief(row.songs_per_s)} songs/s" if row.songs_per_s else ""
            stacked.append({"row": row, "y": top + step * len(stacked), "parts": parts, "songs": songs})
    if not stacked:
        return None
    bottom = top + step * len(stacked)
    return {
        "height": bottom + 48,
        "bottom": bottom,
        "left": left,
        "right": right,
        "bars": stacked,
        "x_ticks": Scale(0, 100, left, right).ticks(),
    }


def _ridge(row: Row, samples: npt.NDArray[np.float64], x: Scale, base: int) -> dict[str, Any]:
    """One histogram as an outline on its base line, with its percentiles marked."""
    edges = np.geomspace(x.low, x.high, _BINS + 1)
    counts = np.histogram(samples, edges)[0]
    heights = _RIDGE * counts / counts.max()
    places = [x(float(edge)) for edge in edges]
    steps = [
        f"L{begin} {base - height:.1f}L{end} {base - height:.1f}"
        for begin, end, height in zip(places, places[1:], heights, strict=False)
    ]
    percentiles = {"p50": row.p50, "p90": row.p90, "p99": row.p99}
    return {
        "row": row,
        "base": base,
        "path": f"M{x.begin} {base}{''.join(steps)}L{x.end} {base}Z",
        "marks": [
            (name, x(value))
            for name, value in percentiles.items()
            if value is not None and x.low <= value <= x.high
        ],
        "figures": " / ".join(map(_brief, percentiles.values())),
        "samples": len(samples),
    }


def _stacked(row: Row, order: Sequence[str], left: int, right: int) -> list[dict[str, Any]]:
    """One bar's parts, from left to right."""
    spent = {name: max(0.0, (row.stages or {}).get(name, 0.0)) for name in order}
    total = sum(spent.values())
    start, parts = float(left), []
    for stage, (name, seconds) in enumerate(spent.items()):
        if seconds <= 0:
            continue
        width, share = (right - left) * seconds / total, 100 * seconds / total
        parts.append(
            {
                "x": round(start, 1),
                "width": round(width, 1),
                "stage": stage,
                "text": f"{share:.0f}%" if width > 36 else "",
                "tooltip": f"{name}: {seconds:.3g} s, {share:.1f}%",
            }
        )
        start += width
    return parts


def _samples(row: Row) -> npt.NDArray[np.float64]:
    """The raw latencies in ms that a logarithmic axis can show."""
    return np.asarray([value for value in row.latency_ms if value > 0], dtype=np.float64)


def _brief(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
