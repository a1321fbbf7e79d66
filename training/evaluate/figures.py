"""The figures that both papers show: curves of loss and accuracy, and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from .picture_text import draw_counts, plain_text, shortened, write_png

if TYPE_CHECKING:
    from ..fit.trainer import Epoch

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
