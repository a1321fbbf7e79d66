"""Curves on paper."""

from __future__ import annotations

from pathlib import Path

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


def test_a_picture(tmp_path: Path):
    curves_png(_CURVES, tmp_path / "curves.png", "data", "clips a label")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
