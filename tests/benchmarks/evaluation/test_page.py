"""The terminal and the page show every figure, and nothing in a name becomes markup or a control."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from html_page import HtmlPage
from merkit.benchmarks.evaluation.answers import answers_from_labels
from merkit.benchmarks.evaluation.common_labels import common_labels
from merkit.benchmarks.evaluation.evaluate import Evaluation, ModelResult
from merkit.benchmarks.evaluation.page import html_from_evaluation, png_files, write_pngs
from merkit.benchmarks.evaluation.scores import difference_of, scores_from_answers
from merkit.benchmarks.evaluation.text import lines_from_evaluation
from merkit.engine.labelling.song_label import SongLabel

HOSTILE = "</td><script>alert(1)</script>\x1b[2J\u202e"


def evaluation(
    name: str = "net", labels: tuple[str, ...] = ("happy", "sad"), path: str = "a/b.mp3"
) -> Evaluation:
    common = common_labels({name: labels}, dict.fromkeys(labels, 1), {})
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2
    right = 0.7 + 0.2 * rng.random(40)
    answers = []
    for wrong in (5, 9):
        rows = [
            np.array([p, 1 - p] if (t == 0) != (i < wrong) else [1 - p, p])
            for i, (p, t) in enumerate(zip(right, truth, strict=True))
        ]
        songs = [SongLabel(path, emotion=labels[int(row.argmax())], probabilities=tuple(row)) for row in rows]
        answers.append(
            answers_from_labels([*songs[:-1], SongLabel(path, error=f"no such file {path}")], labels, common)
        )
    groups = [f"artist {i}" for i in range(40)]
    models = []
    for i, given in enumerate(answers):
        scores = scores_from_answers(given, truth, labels, groups, [path] * 40, 3)
        less = difference_of(answers[0], given, truth, groups) if i else None
        models.append(ModelResult(f"{name}{i}", "ab" * 32, "onnxruntime", labels, 0, "", scores, less))
    counts = dict.fromkeys(labels, 20)
    return Evaluation(path, 40, 40, "artist", counts, 2, 3, (), tuple(models))


def test_the_page_is_whole_and_its_own() -> None:
    page = html_from_evaluation(evaluation())
    HtmlPage(page)
    assert not re.search(r"(?:src|href)=|url\(|@import|https?://", page)
    for text in (
        "net0",
        "net1 minus net0: macro-F1 -0.",
        "Most surely wrong",
        "counts as wrong: 1 clips",
        "2 more left out",
    ):
        assert text in page
    scores = evaluation().models[0].scores
    assert scores.macro_f1_interval is not None
    assert f"{scores.macro_f1:.3f} [{scores.macro_f1_interval[0]:.3f}, " in page


def test_nothing_in_a_name_becomes_markup_or_a_control() -> None:
    hostile = evaluation(HOSTILE, (HOSTILE, f"{HOSTILE}2"), HOSTILE)
    page = html_from_evaluation(hostile)
    assert not HtmlPage(page).all("script")
    lines = lines_from_evaluation(hostile)
    assert not re.search("[\x1b\u202e]", page + "".join(lines))
    assert any(r"\x1b[2J\u202e" in line for line in lines)


def test_columns_stand_below_one_another_in_every_script() -> None:
    from rich.cells import cell_len

    lines = lines_from_evaluation(evaluation(labels=("खुश", "悲しい")))
    start = lines.index("By label:") + 1
    assert len({cell_len(line) for line in lines[start : start + 3]}) == 1


def test_what_was_not_measured_is_a_dash() -> None:
    first = evaluation().models[0]
    scores = dataclasses.replace(
        first.scores, log_loss=None, calibration_error=None, macro_f1_interval=None, wrong=()
    )
    whole = dataclasses.replace(
        evaluation(), models=(dataclasses.replace(first, scores=scores, note="warning: x"),)
    )
    lines = lines_from_evaluation(whole)
    row = next(line for line in lines if line.startswith("  net0"))
    assert row.split()[-2:] == ["-", "-"]
    assert "[" not in row.split()[1] + row.split()[2].partition("[")[0]
    assert "warning: x" in lines
    assert lines[0].endswith("No intervals: too few clips or groups (artists), in all or of a label.")
    assert "drawn by artist (40)." in lines_from_evaluation(evaluation())[0]
    assert "Most surely wrong:" not in lines


def test_a_picture_for_each_model(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = png_files(2, tmp_path / "m.png")
    assert [file.name for file in files] == ["m-1.png", "m-2.png"]
    assert png_files(1, tmp_path / "m.png") == [tmp_path / "m.png"]
    write_pngs(evaluation(), files)
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
