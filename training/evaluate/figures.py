"""The figures that both papers show: curves of loss and accuracy, confusion matrices, and grids of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

from .picture_text import draw_counts, plain_text, shortened, write_png

if TYPE_CHECKING:
    from ..fit.trainer import Epoch

Matrix = tuple[Sequence[Sequence[int]], Sequence[str]]
"""A confusion matrix, rows true and columns said, and its labels."""

Cell = TypeVar("Cell")

_COLOURS = ("#47a", "#e67", "#283", "#cb4", "#6ce", "#a37", "#bbb", "#000", "#e86", "#4b9")
"""Tol's bright scheme, which colour-blind readers can tell apart, and three more."""


@plain_text
def curves_png(histories: Mapping[str, Sequence[Epoch]], path: Path, held_out: str = "validation") -> None:
    """Loss, accuracy (in percent) and learning rate by epoch, as PNG: training dashed, held out solid.

    A circle marks the epoch that gave the network: the last one that was better than all before.

    Args:
        histories: the epochs of each network, by name; a colour for each.
        held_out: the legend's word for the part behind the solid curves.
    """
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3, width_ratios=(2, 2, 1))
    for i, (name, history) in enumerate(histories.items()):
        epochs = [row.epoch for row in history]
        colour = _COLOURS[i % len(_COLOURS)]
        marker = "o" if len(epochs) <= 12 else None
        for axes, training, validation in (
            (loss, [r.loss for r in history], [r.val_loss for r in history]),
            (accuracy, [100 * r.accuracy for r in history], [100 * r.val_accuracy for r in history]),
        ):
            style = {"color": colour, "marker": marker, "markersize": 3}
            axes.plot(epochs, training, "--", label=f"{name}, training", linewidth=1, **style)
            judged = training
            if np.isfinite(validation).any():
                axes.plot(epochs, validation, label=f"{name}, {held_out}", linewidth=1.6, **style)
                judged = validation
            chosen = max((i for i, row in enumerate(history) if row.better), default=None)
            if chosen is not None:
                axes.plot(epochs[chosen], judged[chosen], "o", markersize=9, fillstyle="none", color=colour)
        rate.plot(epochs, [row.learning_rate for row in history], color=colour, linewidth=1)
    loss.set(xlabel="epoch", ylabel="loss", title="Loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy (%)", title="Accuracy", ylim=(0, 100))
    rate.set(xlabel="epoch", title="Learning rate")
    for axes in (loss, accuracy, rate):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    write_png(figure, path)


@plain_text
def confusion_png(
    matrix: Sequence[Sequence[int]],
    labels: Sequence[str],
    path: Path,
    title: str,
    said: Sequence[str] | None = None,
) -> None:
    """A confusion matrix as PNG: rows are true labels, columns predicted ones.

    Shades are shares of the row, so that rare labels are visible too.

    Args:
        said: the columns' labels; None where they are the rows'.
    """
    columns = labels if said is None else said
    figure = Figure(figsize=(3.4 + 0.75 * len(columns), 2.6 + 0.75 * len(labels)), layout="constrained")
    axes = figure.subplots()
    figure.colorbar(draw_counts(axes, matrix), ax=axes, label="share of the row", shrink=0.8)
    axes.set_xticks(range(len(columns)), [*map(shortened, columns)], rotation=30, ha="right")
    axes.set_yticks(range(len(labels)), [*map(shortened, labels)])
    axes.set(xlabel="said", ylabel="true", title=title)
    write_png(figure, path)


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
