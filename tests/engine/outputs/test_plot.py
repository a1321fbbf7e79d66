"""A song's picture: of the right things, and without matplotlib one line."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from merkit.engine.audio.decoder import Limits
from merkit.engine.errors import MerError
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.outputs.plot import plot_song
from merkit.engine.spec import ModelSpec

_SHARES = (0.1, 0.2, 0.6, 0.1)


@pytest.fixture
def label(tmp_path: Path) -> SongLabel:
    """30 s: low, then high; the second window is silent."""
    path = tmp_path / "गीत $1$.wav"
    time = np.arange(15 * 16_000) / 16_000
    low, high = (0.5 * np.sin(2 * np.pi * hz * time) for hz in (200, 4_000))
    soundfile.write(path, np.concatenate([low, high]), 16_000)
    windows = ((0.0, _SHARES), (10.0, None), (20.0, _SHARES[::-1]))
    return SongLabel(str(path), None, "sad", _SHARES, 30.0, windows, "x", {})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were saved."""
    figure = pytest.importorskip("matplotlib.figure")
    figures, save = [], figure.Figure.savefig
    monkeypatch.setattr(
        figure.Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))
    )
    return figures


def test_windows_that_overlap_are_drawn_around_their_middles(
    label: SongLabel, spec: ModelSpec, tmp_path: Path, drawn: list[Any]
) -> None:
    windows = tuple((start, _SHARES) for start in (0.0, 2.0, 4.0, 18.0, 20.0))  # each of 10 s
    plot_song(dataclasses.replace(label, windows=windows), spec, Limits(), tmp_path / "song.png")
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in drawn[0].axes[1].containers[0]]
    assert bars == [(0.0, 6.0), (6.0, 8.0), (8.0, 14.0), (18.0, 24.0), (24.0, 30.0)]


def test_what_is_drawn(label: SongLabel, spec: ModelSpec, tmp_path: Path, drawn: list[Any]) -> None:
    picture = tmp_path / "song.png"
    plot_song(label, spec, Limits(), picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    above, below = drawn[0].axes
    decibels = above.images[0].get_array()
    first, last = decibels[:, : decibels.shape[1] // 3], decibels[:, -decibels.shape[1] // 3 :]
    assert first.mean(axis=1).argmax() < last.mean(axis=1).argmax()  # the lower rows are lower tones
    assert above.images[0].get_extent()[:2] == [0, 30]
    bars = [(bar.get_x(), bar.get_width(), round(bar.get_height(), 6)) for bar in below.containers[2]]
    assert bars == [(0.0, 10.0, 0.6), (10.0, 10.0, 0.0), (20.0, 10.0, 0.2)]
    assert above.get_title() == r"गीत \$1\$.wav: sad 60%"


def test_the_legend_has_every_label(
    label: SongLabel, spec: ModelSpec, tmp_path: Path, drawn: list[Any]
) -> None:
    """Matplotlib leaves out by itself what begins with a line below."""
    names = ("_low", "$a$", "sad", "गीत")
    plot_song(label, dataclasses.replace(spec, labels=names), Limits(), tmp_path / "song.png")
    shown = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert shown == ["_low", r"\$a\$", "sad", "गीत"]


_CLUSTERS = (
    "passionate, rousing, confident, boisterous, rowdy",
    "rollicking, cheerful, fun, sweet, amiable/good natured",
    "literate, poignant, wistful, bittersweet, autumnal, brooding",
    "humorous, silly, campy, quirky, whimsical, witty, wry",
    "aggressive, fiery, tense/anxious, intense, volatile, visceral",
)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([f"emotion number {number}" for number in range(12)], 12),
        (_CLUSTERS, 5),
        ([f"mood{number}" for number in range(56)], 56),
        ([f"{number} {'W' * 190}" for number in range(30)], 8),
        ([str(number) for number in range(300)], 96),
    ],
    ids=lambda each: str(len(each)) if isinstance(each, list | tuple) else "",
)
def test_a_legend_takes_rows_so_that_it_stays_within_the_picture(
    label: SongLabel, spec: ModelSpec, tmp_path: Path, drawn: list[Any], names: list[str], shown: int
) -> None:
    most = np.linspace(0, 1, len(names)) / (len(names) / 2)  # the last one has the most
    several = dataclasses.replace(
        label, emotion=names[-1], probabilities=tuple(most), windows=((0.0, tuple(most)),)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that axes have no room
        plot_song(several, dataclasses.replace(spec, labels=tuple(names)), Limits(), tmp_path / "song.png")
    (figure,) = drawn
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(texts) == shown
    assert [names.index(next(n for n in names if n.startswith(t.removesuffix("…")))) for t in texts] == list(
        range(len(names) - shown, len(names))
    )
    box, above, below = legend.get_window_extent(), *(axes.get_window_extent() for axes in figure.axes)
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y0 >= 0
    assert box.y1 < below.y0
    assert below.width > 0.8 * figure.bbox.width
    assert above.height + below.height > 0.4 * figure.bbox.height
    assert figure.axes[0].title.get_window_extent().width <= above.width


@pytest.mark.parametrize("title", ["W" * 3_000, "गीत $i " * 40, "i" * 150, "i" * 120])
def test_a_title_is_as_long_as_there_is_room(
    label: SongLabel, spec: ModelSpec, tmp_path: Path, drawn: list[Any], title: str
) -> None:
    plot_song(dataclasses.replace(label, tags={"title": title}), spec, Limits(), tmp_path / "song.png")
    (figure,) = drawn
    above = figure.axes[0]
    shown, said = above.get_title().replace(r"\$", "$").split(": ")
    assert said == "sad 60%"
    assert shown == title or title.startswith(shown.removesuffix("…"))
    assert shown.endswith("…") is (shown != title)
    drawn_width = above.title.get_window_extent().width
    assert drawn_width <= above.bbox.width
    assert shown == title or drawn_width > 0.9 * above.bbox.width


def test_a_style_of_ones_own_that_wants_latex_is_not_followed(
    label: SongLabel, spec: ModelSpec, tmp_path: Path
) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"text.usetex": True}):
        plot_song(label, spec, Limits(), tmp_path / "song.png")
    assert (tmp_path / "song.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib(
    label: SongLabel, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MerError, match=r"pip install 'merkit\[plot\]'"):
        plot_song(label, spec, Limits(), tmp_path / "song.png")


def test_a_picture_that_cannot_be_written(label: SongLabel, spec: ModelSpec, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(MerError, match=r"song.png cannot be written: No such file"):
        plot_song(label, spec, Limits(), tmp_path / "missing" / "song.png")
