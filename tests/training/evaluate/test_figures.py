"""The figures are PNG files, also of a training without validation."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from merkit.engine.outputs.marks import is_picture
from merkit.training.evaluate.figures import confusion_png, curves_png, matrix_grid_png
from merkit.training.fit.trainer import Epoch

_NAN = float("nan")


def test_figures_are_png(tmp_path: Path):
    validated = [Epoch(i, 1 / i, 0.5, 1.1 / i, 0.4, 0.4, 1.0) for i in range(1, 15)]
    alone = [Epoch(i, 1 / i, 0.5, _NAN, _NAN, _NAN, 1.0) for i in range(1, 4)]
    curves_png({"validated": validated, "alone": alone}, tmp_path / "curves.png")
    confusion_png([[3, 1], [0, 0]], ["calm", "tense"], tmp_path / "confusion.png", "accuracy 0.75")
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "confusion.png"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in tmp_path.iterdir())


def test_the_chosen_epoch_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    circles: list[tuple[float, float]] = []
    plot = Axes.plot

    def spy(axes, *values, **style):
        if style.get("fillstyle") == "none":
            circles.append(values[:2])
        return plot(axes, *values, **style)

    monkeypatch.setattr(Axes, "plot", spy)
    better = (True, True, False)
    history = [Epoch(i + 1, 0.9, 0.5, 1.0 - i, 0.1 * i, 0.4, 1.0, better[i], 1e-3) for i in range(3)]
    curves_png({"net": history}, tmp_path / "curves.png")
    assert circles == [(2, 0.0), (2, pytest.approx(10.0))]  # its validation loss, and accuracy in percent


def test_a_dollar_is_no_formula(tmp_path: Path):
    name = "$\\frac$ a$b$"
    confusion_png([[1, 0], [0, 1]], [name, "$\\x$"], tmp_path / "confusion.png", f"{name}: 0.75")
    curves_png({name: [Epoch(1, 1.0, 0.5, 1.0, 0.4, 0.4, 1.0)]}, tmp_path / "curves.png", "$\\y$")
    assert len([*tmp_path.iterdir()]) == 2


def test_long_labels_leave_room_for_the_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A label of a sentence left none, which was a warning of Matplotlib's in the terminal."""
    names: list[str] = []
    monkeypatch.setattr(Axes, "set_yticks", lambda axes, places, labels: names.extend(labels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_png([[1, 0], [0, 1]], ["sad", "word " * 36], tmp_path / "confusion.png", "title")
    assert names == ["sad", f"{'word ' * 7}word…"]


def test_a_grid_is_known_as_ours_again(tmp_path: Path):
    matrices = {"net": {"random": ([[1, 0], [0, 1]], ("calm", "tense"))}, "other": {}}
    matrix_grid_png(matrices, ["random", "artist"], tmp_path / "grid.png")
    assert is_picture(tmp_path / "grid.png")
