"""Curves as a Markdown table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ...engine.text.escape import for_markdown
from ..evaluate.picture_text import plain_text, write_png
from .few_clips import Point

_SHORT = 22  # characters of a name, of which three stand side by side

Curves = Mapping[str, Sequence[Point]]


def markdown_from_curves(curves: Curves, what: str) -> str:
    """A row for each size: mean and standard deviation of each curve's draws.

    Args:
        what: the heading of the sizes.
    """
    sizes = sorted({point.clips for points in curves.values() for point in points})
    by = {name: {point.clips: point for point in points} for name, points in curves.items()}
    lines = [f"| {what} | {' | '.join(map(for_markdown, curves))} |", "|---:|" + "---:|" * len(curves)]
    for size in sizes:
        cells = [
            f"{point.mean:.3f} +- {point.deviation:.3f}" if (point := points.get(size)) else ""
            for points in by.values()
        ]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


@plain_text
def curves_png(curves: Curves, path: Path, title: str, what: str) -> None:
    """The curves as PNG; the shade is one standard deviation of the draws."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for points in curves.values():
        sizes = [point.clips for point in points]
        means = [point.mean for point in points]
        (line,) = axes.plot(sizes, means, marker="o", markersize=4)
        low = [point.mean - point.deviation for point in points]
        high = [point.mean + point.deviation for point in points]
        axes.fill_between(sizes, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    sizes = sorted({point.clips for points in curves.values() for point in points})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set(xlabel=what, ylabel="macro-F1, other groups", title=title)
    axes.grid(alpha=0.3)
    columns = 3 if max(map(len, curves), default=0) <= _SHORT else 2
    figure.legend(axes.get_lines(), list(curves), loc="outside lower center", ncols=columns, frameon=False)
    write_png(figure, path)
