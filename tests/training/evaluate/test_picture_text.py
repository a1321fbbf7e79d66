"""Labels in Devanagari: by an installed font where there is one, otherwise boxes and one line."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest
from merkit.engine.outputs import plot
from merkit.training.curves.report import curves_png
from merkit.training.evaluate import picture_text
from merkit.training.evaluate.figures import confusion_png, matrix_grid_png
from merkit.training.evaluate.picture_text import plain_text


@pytest.fixture(autouse=True)
def _anew() -> None:
    picture_text._say_boxes.cache_clear()


def test_without_a_font_there_is_one_line_and_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(plot, "_FONTS", ("DejaVu Sans",))
    matrix, labels = [[1, 0], [0, 1]], ["खुश", "$\\x$ उदास"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion_png(matrix, labels, tmp_path / "confusion.png", "0.75")
        matrix_grid_png({"$\\x$": {"खुश": (matrix, labels)}}, ["खुश"], tmp_path / "grid.png")
        curves_png({"उदास": []}, tmp_path / "curves.png", "$\\x$", "clips a label")
    assert capsys.readouterr().err.count("no font here has all characters of the labels") == 1


def test_only_installed_fonts_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(plot, "_FONTS", ("No Such Font", "DejaVu Serif"))
    families = []

    @plain_text
    def draw() -> None:
        families.append(mpl.rcParams["font.family"])
        confusion_png([[1, 0], [0, 1]], ["a", "b"], tmp_path / "confusion.png", "0.75")

    before = mpl.rcParams["font.family"]
    with caplog.at_level(logging.WARNING):
        draw()
    assert families == [["DejaVu Serif"]]
    assert (mpl.rcParams["font.family"], caplog.text) == (before, "")


def test_no_latex_is_asked_for():
    @plain_text
    def draw() -> None:
        assert not mpl.rcParams["text.usetex"]

    with mpl.rc_context({"text.usetex": True}):
        draw()


def test_other_warnings_stay():
    @plain_text
    def draw() -> None:
        warnings.warn("something else", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="something else"):
        draw()
