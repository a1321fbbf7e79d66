"""Curves on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from merkit.training.curves.few_clips import Point
from merkit.training.curves.report import curves_png, markdown_from_curves

_CURVES = {"ears|one": [Point(5, (0.4, 0.6)), Point(20, (0.7, 0.7))], "two": [Point(20, (0.25, 0.75))]}


def test_a_row_a_size():
    assert markdown_from_curves(_CURVES, "clips a label").splitlines() == [
        r"| clips a label | ears\|one | two |",
        "|---:|---:|---:|",
        "| 5 | 0.500 +- 0.100 |  |",
        "| 20 | 0.700 +- 0.000 | 0.500 +- 0.250 |",
    ]


def test_long_names_are_drawn_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    save = Figure.savefig

    def kept(figure: Figure, *arguments: Any, **options: Any) -> None:
        save(figure, *arguments, **options)
        box = figure.legends[0].get_window_extent()
        drawn.append((box.x0, figure.bbox.width - box.x1))

    monkeypatch.setattr(Figure, "savefig", kept)
    names = [f"{name}.safetensors, at random" for name in ("mn04_as", "musicnn", "together", "other")]
    curves_png(dict.fromkeys(names, _CURVES["two"]), tmp_path / "curves.png", "data", "clips a label")
    assert min(drawn[0]) >= 0
