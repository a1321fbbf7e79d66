"""The table of all networks goes on where it was, and puts its rows where they belong."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from merkit.training.cli import main
from merkit.training.runs import results_table
from merkit.training.runs.run_folder import FinishedRun
from merkit.training.runs.train_run import Job
from small_training import FAST_OPTIONS


@pytest.fixture
def table(songs: Path, cache: Path, tmp_path: Path) -> Callable[..., Result]:
    """Fills a table of AudioCNN after one epoch, as further options say."""
    options = [
        "table", "--data", songs / "clips.csv", "--cache", cache, "-m", "audiocnn", "--epochs", 1,
        "--results", tmp_path / "RESULTS.md", "--runs", tmp_path / "runs", *FAST_OPTIONS,
    ]  # fmt: skip
    return lambda *more: CliRunner().invoke(main, [*map(str, (*options, *more))])


def test_the_split_of_the_table_keeps_recordings_together(table: Callable[..., Result]):
    asked = []

    def split(clips: list[Any], *_: Any, recordings: list[int]) -> None:
        asked.append((len(clips), len(recordings)))
        sys.exit(9)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_table, "splits_from_protocol", split)
        result = table()
    assert result.exit_code == 9, result.output
    ((clips, recordings),) = asked
    assert clips == recordings > 0


def test_a_table_checks_and_says_what_a_training_does(
    table: Callable[..., Result], songs: Path, tmp_path: Path
):
    """Before anything is trained: 25 epochs of a recipe that cannot be would be lost."""
    listed = tmp_path / "clips.csv"
    text = (songs / "clips.csv").read_text()
    path, label, group = text.splitlines()[1].split(",")
    shutil.copy(songs / path, tmp_path / "copy.wav")
    for folder in ("calm", "tense"):
        text = text.replace(f"\n{folder}/", f"\n{songs}/{folder}/")
    listed.write_text(f"{text}copy.wav,{label},{group}\n")
    options = ["--data", listed, "--precision", "none"]
    for wrong, why in (
        ("audio.n_mels=1", "audiocnn cannot take images of 1 mels"),
        ("guard=9", "guard is for the head of a frozen network"),
        ("distill=0.5", "distill: there is no teacher to learn that from"),
    ):
        refused = table(*options, "--set", wrong)
        assert (refused.exit_code, why in refused.output) == (2, True), refused.output
    assert not (tmp_path / "runs").exists()
    result = table(*options)
    assert result.exit_code == 0, result.output
    assert "left out, a copy of another clip" in result.stderr
    assert "clips.csv: 40 clips, 2 labels: calm 20, tense 20" in result.stderr
    assert "audiocnn, best: grouped split by group: " in result.stderr


def test_the_table_goes_on_where_it_was(table: Callable[..., Result], tmp_path: Path):
    results = tmp_path / "docs" / "RESULTS.md"
    results.parent.mkdir()
    results.write_text("# Results\n\nWords before.\n")
    options = ["-m", "mobilenetv3", "--precision", "none", "--results", results]
    result = table(*options)
    assert result.exit_code == 0, result.output
    text = results.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| network", "| MobileNetV3-Small", "| AudioCNN (ours)"]
    assert text.startswith("# Results\n\nWords before.\n")
    assert (
        "`mer-train table --data clips.csv --epochs 1 --heavy-epochs 10 -m audiocnn -m mobilenetv3 --set "
        in text
    )
    assert "--precision none`, on " in text
    assert all("| too few clips |" in row for row in rows[1:])  # of eight songs an interval says nothing
    home = Path(os.environ["MER_HOME"]) / "models"
    assert {path.name for path in home.iterdir()} >= {
        "audiocnn.onnx",
        "audiocnn.safetensors",
        "audiocnn.json",
    }
    # A second call finds all done; a network that is not, or whose row is damaged, is said to be unfinished.
    (tmp_path / "runs" / "audiocnn" / "row.json").write_text('{"network": "audiocnn"}')
    real = results_table.train_split

    def killed(job: Job, *arguments: Any) -> FinishedRun:
        return sys.exit(9) if job.model == "audiocnn" else real(job, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_table, "train_split", killed)
        assert table(*options).exit_code == 9
    assert "| AudioCNN (ours) | trained, not yet scored |" in results.read_text()
    assert table(*options).exit_code == 0
    assert results.read_text() == text
    # A row of another recipe does not stand for this one's.
    other = table(*options, "--set", "mixup=0")
    assert other.exit_code == 1
    assert "mobilenetv3 holds another training" in other.output
    assert results.read_text() == text


def test_a_precision_that_a_row_lacks_is_made(
    table: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[list[str]] = []

    def converted(plan: Any, precisions: list[str], *_: Any) -> dict[str, str]:
        asked.append(precisions)
        return dict.fromkeys(precisions, "0.500")

    monkeypatch.setattr(results_table, "_converted", converted)

    def row(*precisions: str) -> str:
        result = table(*(word for name in precisions for word in ("--precision", name)))
        assert result.exit_code == 0, result.output
        lines = (tmp_path / "RESULTS.md").read_text().splitlines()
        return next(line for line in lines if line.startswith("| AudioCNN"))

    without = row("none")
    assert row("fp16", "int8") == f"{without} 0.500 | 0.500 |"
    assert row("fp16") == f"{without} 0.500 |"
    assert row("int8") == f"{without} 0.500 |"
    assert asked == [[], ["fp16", "int8"]]


def test_a_network_of_another_table_is_replaced_with_a_word_and_comes_back(
    table: Callable[..., Result], tmp_path: Path
):
    def filled(name: str, *more: str) -> Result:
        return table("--precision", "none", "--runs", tmp_path / name, *more)

    home = Path(os.environ["MER_HOME"]) / "models"
    onnx, copy = home / "audiocnn.onnx", home / "audiocnn.safetensors"
    said = f"replaces {onnx}, which this table did not write"
    assert said not in filled("one").output
    first = onnx.read_bytes(), copy.read_bytes()
    assert said in filled("two", "--set", "seed=1").output
    assert (onnx.read_bytes(), copy.read_bytes()) != first
    back = filled("one")
    assert (back.exit_code, said in back.output) == (0, True)
    assert (onnx.read_bytes(), copy.read_bytes()) == first
    run = tmp_path / "one" / "audiocnn"
    assert results_table._of_another(run, "audiocnn") is None
    copy.unlink()  # as where a file was put there by hand
    assert results_table._of_another(run, "audiocnn") == onnx
