"""Where the marks of the page's charts go: scales, ticks, labels that stay clear of one another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = Mapping[str, Any]

WIDTH = 860
_BINS = 160
_CHARACTER = 6.7  # pixels, about, at the charts' size of text
SHAPES = {"fp32": "circle", "fp16": "square", "bf16": "diamond", "int8": "triangle"}


@dataclass(frozen=True)
class Scale:
    """A value's place in pixels. ``end`` may be below ``begin``, as for heights."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(self.begin + (self.end - self.begin) * (at - low) / (high - low), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """(pixel, text) of round values: 1, 2 and 5 in every decade, or about five equal steps."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [m * 10.0**d for d in decades for m in (1, 2, 5) if self.low <= m * 10.0**d <= self.high]
            if len(values) > 9:
                values = [v for v in values if f"{v:e}"[0] == "1"]
        else:
            step = _round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            values = [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(self(value), f"{value:,.10g}") for value in values]


@dataclass(frozen=True)
class Point:
    """A row of the scatter. ``label`` is (x, y, anchor) where there was room for its name."""

    x: float
    y: float
    row: Row
    shape: str
    across: tuple[float, float] | None
    upright: tuple[float, float] | None
    label: tuple[float, float, str] | None = None


def scatter(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Macro-F1 against images/s, the front as a staircase, rows of unknown macro-F1 on a strip below.

    None where no row has both.
    """
    quick = [row for row in rows if positive(row.get("throughput"))]
    known = [row for row in quick if number(row.get("macro_f1")) is not None]
    if not known:
        return None
    unknown = [row for row in quick if number(row.get("macro_f1")) is None]
    top, bottom, left, right = 24, 400, 64, WIDTH - 24
    x = _log_scale([row["throughput"] for row in quick], left, right, 1.35)
    ends = [v for row in known for v in (row["macro_f1"], *(_pair(row.get("macro_f1_interval")) or ()))]
    y = Scale(max(0.0, min(ends) - 0.05), min(1.0, max(ends) + 0.05), bottom, top)
    points = [_point(row, x, y) for row in known]
    strip = [Point(x(row["throughput"]), bottom + 26, row, _shape(row), None, None) for row in unknown]
    front = sorted((p for p in points if p.row.get("pareto")), key=lambda p: p.x)
    return {
        "height": bottom + (96 if strip else 64),
        "box": (left, top, right, bottom),
        "strip": strip,
        "points": sorted(_labelled(points, (left, top, right, bottom)), key=lambda p: bool(p.row["pareto"])),
        "front": _staircase(front, left, bottom),
        "x_ticks": x.ticks(),
        "y_ticks": y.ticks(),
    }


def bars(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Images/s of every row, the fastest first, for when no row has an accuracy; None without any."""
    quick = sorted((row for row in rows if positive(row.get("throughput"))), key=lambda r: -r["throughput"])
    if not quick:
        return None
    x = Scale(0.0, quick[0]["throughput"] * 1.12, 300, WIDTH - 24)
    top, step = 8, 28
    return {
        "height": top + step * len(quick) + 52,
        "bottom": top + step * len(quick),
        "begin": 300,
        "bars": [(top + step * i, x(row["throughput"]), row) for i, row in enumerate(quick)],
        "x_ticks": x.ticks(),
    }


def ridges(rows: Sequence[Row], among: Sequence[Row] | None = None) -> dict[str, Any] | None:
    """A histogram of each row's raw latencies over one axis, the quickest first.

    Args:
        among: the rows that the axis must reach over, where ``rows`` are some of them.
    """
    sampled = [(row, samples_of(row)) for row in rows]
    sampled = [(row, samples) for row, samples in sampled if len(samples) > 4]
    if not sampled:
        return None
    sampled.sort(key=lambda pair: float(np.median(pair[1])))
    every = np.concatenate([samples_of(row) for row in among or rows])
    left, right, top, step = 270, WIDTH - 180, 34, 40
    x = _log_scale(every.tolist(), left, right, 1.1)
    edges = np.geomspace(x.low, x.high, _BINS + 1)
    drawn = []
    for i, (row, samples) in enumerate(sampled):
        base = top + step * (i + 1) - 8
        heights = np.histogram(samples, edges)[0] / len(samples)
        heights = 28 * heights / heights.max()
        places = [x(float(edge)) for edge in edges]
        outline = [f"M{left} {base}"]
        for j, height in enumerate(heights):
            outline.append(f"L{places[j]} {base - height:.1f}L{places[j + 1]} {base - height:.1f}")
        marks = [(name, number(row.get(name))) for name in ("p50", "p90", "p99")]
        drawn.append(
            {
                "row": row,
                "base": base,
                "path": "".join([*outline, f"L{right} {base}Z"]),
                "marks": [(name, x(v)) for name, v in marks if v is not None and x.low <= v <= x.high],
                "figures": " / ".join(_brief(row.get(name)) for name in ("p50", "p90", "p99")),
                "samples": len(samples),
            }
        )
    bottom = top + step * len(drawn)
    return {
        "height": bottom + 52,
        "bottom": bottom,
        "left": left,
        "right": right,
        "top": top,
        "ridges": drawn,
        "x_ticks": x.ticks(),
    }


def stages(rows: Sequence[Row], order: Sequence[str]) -> dict[str, Any] | None:
    """Each row's CPU seconds by stage as shares of their sum: stacked bars."""
    left, right, top, step = 270, WIDTH - 110, 8, 30
    drawn = []
    for row in rows:
        spent = {name: positive((row.get("stages") or {}).get(name)) or 0.0 for name in order}
        total = sum(spent.values())
        if not total:
            continue
        at, parts = float(left), []
        for place, name in enumerate(order):
            width = (right - left) * spent[name] / total
            share = 100 * spent[name] / total
            if width > 0:
                text = f"{share:.0f}%" if width > 36 else ""
                told = f"{name}: {spent[name]:.3g} s, {share:.1f}%"
                parts.append({"x": round(at, 1), "width": round(width, 1), "stage": place, "text": text,
                              "told": told})  # fmt: skip
            at += width
        pace = positive(row.get("songs_per_s"))
        songs = f"{_brief(pace)} songs/s" if pace else ""
        drawn.append({"row": row, "y": top + step * len(drawn), "parts": parts, "songs": songs})
    if not drawn:
        return None
    x = Scale(0, 100, left, right)
    bottom = top + step * len(drawn)
    return {"height": bottom + 48, "bottom": bottom, "left": left, "right": right, "bars": drawn,
            "x_ticks": x.ticks()}  # fmt: skip


def number(value: Any) -> float | None:
    """A finite number, or None."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else None


def positive(value: Any) -> float | None:
    """A finite number above 0, or None."""
    found = number(value)
    return found if found is not None and found > 0 else None


def samples_of(row: Row) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The raw latencies in ms, those that are numbers above 0."""
    kept = (positive(value) for value in row.get("latency_ms") or ())
    return np.asarray([value for value in kept if value is not None], dtype=np.float64)


def _log_scale(values: Iterable[float], begin: float, end: float, room: float) -> Scale:
    every = list(values)
    room = max(room, (5 * min(every) / max(every)) ** 0.5)  # alone, a row's axis still has ticks
    return Scale(min(every) / room, max(every) * room, begin, end, log=True)


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(m * size for m in (1, 2, 5, 10) if m * size >= step * 0.999)


def _shape(row: Row) -> str:
    return SHAPES.get(str(row.get("precision")), "circle")


def _pair(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = number(value[0]), number(value[1])
    return (low, high) if low is not None and high is not None else None


def _point(row: Row, x: Scale, y: Scale) -> Point:
    across, upright = _pair(row.get("throughput_interval")), _pair(row.get("macro_f1_interval"))
    across = (x(max(across[0], x.low)), x(min(across[1], x.high))) if across and across[0] > 0 else None
    upright = (y(upright[0]), y(upright[1])) if upright else None
    return Point(x(row["throughput"]), y(row["macro_f1"]), row, _shape(row), across, upright)


def _staircase(front: Sequence[Point], left: float, bottom: float) -> str:
    if not front:
        return ""
    path, height = f"M{left} {front[0].y}", front[0].y
    for point in front:
        path += f"L{point.x} {height}L{point.x} {point.y}" if point.y != height else f"L{point.x} {point.y}"
        height = point.y
    return f"{path}L{front[-1].x} {bottom}"


def _labelled(points: Sequence[Point], box: tuple[float, float, float, float]) -> list[Point]:
    """Names of the front and of each model's best, where they cross no other name and no point."""
    best = {point.row.get("model"): point for point in sorted(points, key=lambda p: (-p.y, p.x))}
    taken = [(p.x - 8, p.y - 8, p.x + 8, p.y + 8) for p in points]
    placed = []
    for point in sorted(points, key=lambda p: not p.row.get("pareto")):
        width = _CHARACTER * len(name_of(point.row))
        wanted = point.row.get("pareto") or best[point.row.get("model")] is point
        for dx, dy, anchor in _around() if wanted else ():
            begin = {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            at = (point.x + dx - begin, point.y + dy - 12, point.x + dx - begin + width, point.y + dy + 4)
            inside = box[0] < at[0] and at[2] < box[2] and box[1] < at[1] and at[3] < box[3]
            if inside and not any(_overlap(at, other) for other in taken):
                taken.append(at)
                label = (round(point.x + dx, 1), round(point.y + dy, 1), anchor)
                point = Point(**{**vars(point), "label": label})
                break
        placed.append(point)
    return placed


def _around() -> Sequence[tuple[float, float, str]]:
    return [
        place
        for away in (0, 14, 28)
        for place in (
            (12, -8 - away, "start"),
            (12, 18 + away, "start"),
            (-12, -8 - away, "end"),
            (-12, 18 + away, "end"),
            (0, -16 - away, "middle"),
            (0, 26 + away, "middle"),
        )
    ]


def name_of(row: Row) -> str:
    """A row in few words."""
    return f"{row.get('model')} {row.get('precision')}, {row.get('runtime')}"


def _brief(value: Any) -> str:
    """Three digits that count."""
    found = number(value)
    if found is None:
        return "-"
    return f"{found:,.{0 if found >= 100 else 1 if found >= 10 else 2}f}"


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
