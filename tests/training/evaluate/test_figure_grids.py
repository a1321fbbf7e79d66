"""Grids of small pictures."""

from __future__ import annotations

from pathlib import Path

from merkit.engine.outputs.marks import is_picture
from merkit.training.evaluate.figure_grids import matrix_grid_png


def test_a_grid_is_known_as_ours_again(tmp_path: Path):
    matrices = {"net": {"random": ([[1, 0], [0, 1]], ("calm", "tense"))}, "other": {}}
    matrix_grid_png(matrices, ["random", "artist"], tmp_path / "grid.png")
    assert is_picture(tmp_path / "grid.png")
