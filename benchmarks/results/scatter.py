"""Where the marks of the chart of accuracy against speed go, and which of them have room for a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..row import Interval, Row
from .axes import WIDTH, Scale, log_scale
from .ranked_figure import FIGURES, ranked_by, score_of

SHAPES = {"fp32": "circle", "fp16": "square", "bf16": "diamond", "int8": "triangle"}
"""The mark of each precision; any other is a circle."""

_CHARACTER = 6.7  # pixels, about, at the charts' size of text
_Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
_AREA: _Box = (64, 24, WIDTH - 24, 400)  # of the points


@dataclass(frozen=True)
class Point:
    """A row of the scatter, in pixels.

    ``horizontal`` and ``vertical`` are the ends of its intervals. ``label`` is (x, y, anchor) of its name
    where there was room for it.
    """

    x: float
    y: float
    row: Row
    shape: str
    horizontal: Interval | None
    vertical: Interval | None
    label: tuple[float, float, str] | None = None


def scatter(rows: Sequence[Row]) -> dict[str, Any] | None:
    """The macro-F1 that the table goes by against images/s, the front as a staircase, other rows on a strip.

    None where no row has both, or no figure is common to them.
    """
    left, top, right, bottom = _AREA
    timed = [(row, row.throughput) for row in rows if row.throughput is not None and row.throughput > 0]
    score, by = score_of(rows), ranked_by(rows)
    scored = [
        (row, speed, macro_f1, interval)
        for row, speed in timed
        for macro_f1, interval in [score(row)]
        if macro_f1 is not None
    ]
    if by is None or not scored:
        return None
    x = log_scale([speed for _, speed in timed], left, right, 1.35)
    ends = [value for _, _, macro_f1, interval in scored for value in (macro_f1, *(interval or ()))]
    y = Scale(max(0.0, min(ends) - 0.05), min(1.0, max(ends) + 0.05), bottom, top)
    points = [_point(row, x, y, speed, macro_f1, interval) for row, speed, macro_f1, interval in scored]
    strip = [
        Point(x(speed), bottom + 26, row, _shape(row), None, None)
        for row, speed in timed
        if score(row)[0] is None
    ]
    front = sorted((point for point in points if point.row.pareto), key=lambda point: point.x)
    return {
        "figure": FIGURES[by],
        "height": bottom + (96 if strip else 64),
        "box": _AREA,
        "strip": strip,
        "points": sorted(_labelled(points), key=lambda point: point.row.pareto),
        "front": _staircase(front, left, bottom),
        "x_ticks": x.ticks(),
        "y_ticks": y.ticks(),
    }


def _shape(row: Row) -> str:
    return SHAPES.get(row.precision, "circle")


def _point(row: Row, x: Scale, y: Scale, speed: float, macro_f1: float, scores: Interval | None) -> Point:
    speeds = row.throughput_interval
    return Point(
        x(speed),
        y(macro_f1),
        row,
        _shape(row),
        horizontal=(x(max(speeds[0], x.low)), x(min(speeds[1], x.high)))
        if speeds and speeds[0] > 0
        else None,
        vertical=(y(scores[0]), y(scores[1])) if scores else None,
    )


def _staircase(front: Sequence[Point], left: float, bottom: float) -> str:
    if not front:
        return ""
    path, height = f"M{left} {front[0].y}", front[0].y
    for point in front:
        path += f"L{point.x} {height}L{point.x} {point.y}" if point.y != height else f"L{point.x} {point.y}"
        height = point.y
    return f"{path}L{front[-1].x} {bottom}"


def _labelled(points: Sequence[Point]) -> list[Point]:
    """Names of the front and of each model's best row, where they cross no other name and no point."""
    best = {point.row.model: point for point in sorted(points, key=lambda point: (-point.y, point.x))}
    taken = [(point.x - 8, point.y - 8, point.x + 8, point.y + 8) for point in points]
    placed = []
    for point in sorted(points, key=lambda point: not point.row.pareto):
        if point.row.pareto or best[point.row.model] is point:
            for label, box in _places(point):
                if _inside(box, _AREA) and not any(_overlap(box, other) for other in taken):
                    taken.append(box)
                    point = replace(point, label=label)
                    break
        placed.append(point)
    return placed


def _places(point: Point) -> Iterator[tuple[tuple[float, float, str], _Box]]:
    """Labels around a point with the boxes that they would fill, the nearest first."""
    width = _CHARACTER * len(point.row.name)
    for away in (0, 14, 28):
        for dx, dy, anchor in (
            (12, -8 - away, "start"),
            (12, 18 + away, "start"),
            (-12, -8 - away, "end"),
            (-12, 18 + away, "end"),
            (0, -16 - away, "middle"),
            (0, 26 + away, "middle"),
        ):
            x, y = point.x + dx, point.y + dy
            left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            yield (round(x, 1), round(y, 1), anchor), (left, y - 12, left + width, y + 4)


def _inside(box: _Box, outer: _Box) -> bool:
    return outer[0] < box[0] and box[2] < outer[2] and outer[1] < box[1] and box[3] < outer[3]


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
