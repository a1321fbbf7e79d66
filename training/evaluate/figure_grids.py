"""Many confusion matrices, or many trainings' curves, in one small picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.figure import Figure

from ..fit.trainer import Epoch
from .picture_text import draw_counts, plain_text, write_png

Matrix = tuple[Sequence[Sequence[int]], Sequence[str]]
"""A confusion matrix, rows true and columns said, and its labels."""

Cell = TypeVar("Cell")


@plain_text
def matrix_grid_png(grid: Mapping[str, Mapping[str, Matrix]], columns: Sequence[str], path: Path) -> None:
    """Confusion matrices as PNG; shades are shares of a matrix's row."""

    def draw(axes: Any, matrix: Matrix) -> None:
        draw_counts(axes, matrix[0], 6)
        labels = [label[:3] for label in matrix[1]]
        axes.set_xticks(range(len(labels)), labels, fontsize=5)
        axes.set_yticks(range(len(labels)), labels, fontsize=5)

    _grid(grid, columns, path, draw, 1.5)


@plain_text
def curve_grid_png(
    grid: Mapping[str, Mapping[str, Sequence[Epoch]]], columns: Sequence[str], path: Path
) -> None:
    """Loss (blue) and accuracy (red, 0 to 1) by epoch as PNG: training dashed, held out solid."""

    def draw(axes: Any, history: Sequence[Epoch]) -> None:
        epochs = [row.epoch for row in history]
        right = axes.twinx()
        for here, colour, names in (
            (axes, "#47a", ("loss", "val_loss")),
            (right, "#e67", ("accuracy", "val_accuracy")),
        ):
            for name, style in zip(names, ("--", "-"), strict=True):
                here.plot(epochs, [getattr(row, name) for row in history], style, color=colour, linewidth=1)
            here.tick_params(labelsize=5, colors=colour, axis="y")
        right.set_ylim(0, 1)
        axes.tick_params(labelsize=5, axis="x")
        axes.xaxis.get_major_locator().set_params(integer=True)

    _grid(grid, columns, path, draw, 1.3)


def _grid(
    grid: Mapping[str, Mapping[str, Cell]],
    columns: Sequence[str],
    path: Path,
    draw: Callable[[Any, Cell], None],
    height: float,
) -> None:
    """A picture with a row of ``grid`` under each other; where a cell is missing there is nothing."""
    figure = Figure(figsize=(2.2 + 1.7 * len(columns), 0.5 + height * len(grid)), layout="constrained")
    axes = figure.subplots(len(grid), len(columns), squeeze=False)
    for line, (name, cells) in zip(axes, grid.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=6, labelpad=12)
        for place, column in zip(line, columns, strict=True):
            if column in cells:
                draw(place, cells[column])
            else:
                place.set(xticks=[], yticks=[], frame_on=False)
    for place, column in zip(axes[0], columns, strict=True):
        place.set_title(column, fontsize=8)
    write_png(figure, path, dpi=80)
