"""An ensemble's lines: a missing interval, skipped clips and the data's notes are said; names are escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from merkit.training.cli import main
from merkit.training.runs import ensemble
from merkit.training.runs.ensemble import Member
from small_training import drawn_predictions

_FIGURES = {"macro_f1": 0.5, "accuracy": 0.625, "calibration_error": 0.1, "songs": 12}
_METRICS = {
    "a\x1b[2J": {**_FIGURES, "macro_f1_interval": None},
    "b": {
        **_FIGURES,
        "macro_f1_interval": [0.25, 0.75],
        "against_first": {"gain": 0.1, "interval": [-0.05, 0.2]},
    },
    "ensemble": {**_FIGURES, "macro_f1_interval": None, "against_first": {"gain": -0.01, "interval": None}},
}


@pytest.fixture
def two_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of two checkpoints that share a clip that cannot be read."""
    predictions = drawn_predictions()

    def member(path: Path, data: Any, *_: object) -> Member:
        assert data is not None
        data(("calm", "tense"))
        skipped = ((Path("gone\r.wav"), "cannot be read"),)
        return Member(path.stem, predictions, predictions.by_song(), skipped)

    monkeypatch.setattr(ensemble, "member_from_path", member)
    monkeypatch.setattr(ensemble, "ensemble_metrics", lambda members: _METRICS)
    return ["ensemble", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]


def test_it_says_its_version():
    result = CliRunner().invoke(main, ["ensemble", "--version"])
    assert (result.exit_code, "version" in result.stdout) == (0, True)


def test_a_member_is_no_ensemble_with_itself(two_members: list[str], songs: Path, tmp_path: Path):
    """However it is spelt."""
    (tmp_path / "link").symlink_to(tmp_path / "a.safetensors")
    for again in (
        tmp_path / "a.safetensors",
        tmp_path / "." / ".." / tmp_path.name / "a.safetensors",
        tmp_path / "link",
    ):
        result = CliRunner().invoke(main, [*two_members, str(again), "--data", str(songs / "clips.csv")])
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{tmp_path}/a.safetensors is named twice" in result.stderr


def test_lines_of_an_ensemble(two_members: list[str], songs: Path, tmp_path: Path):
    listed = tmp_path / "clips.csv"
    lines = [line for line in (songs / "clips.csv").read_text().splitlines() if line]
    rows = [lines[0], *(f"{songs}/{line}" for line in lines[1:])]
    listed.write_text("\n".join([*rows, rows[1]]) + "\n")  # a repeated row, which the data's notes name
    result = CliRunner().invoke(main, [*two_members, "--data", str(listed), "-o", str(tmp_path / "m.json")])
    assert result.exit_code == 4, result.output
    assert result.stdout.splitlines() == [
        "a\\x1b[2J\tmacro-F1 0.500 (too few songs for an interval)\taccuracy 0.625"
        "\tcalibration error 0.100\t12 songs",
        "b\tmacro-F1 0.500 (0.250 to 0.750)\taccuracy 0.625\tcalibration error 0.100\t12 songs"
        "\t+10.0 points (-5.0 to +20.0)",
        "ensemble\tmacro-F1 0.500 (too few songs for an interval)\taccuracy 0.625"
        "\tcalibration error 0.100\t12 songs\t-1.0 points",
    ]
    *notes, skipped = result.stderr.splitlines()
    assert skipped == "skipped gone\\r.wav: cannot be read"  # once, though both members could not read it
    assert len(notes) == len(set(notes)) >= 1
    before = (tmp_path / "m.json").read_bytes()
    result = CliRunner().invoke(main, [*two_members, "--data", str(listed), "-o", str(tmp_path / "m.json")])
    assert (result.exit_code, (tmp_path / "m.json").read_bytes()) == (4, before)  # its own it replaces


def test_what_is_read_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A network, its metrics or a song would be lost."""
    monkeypatch.chdir(tmp_path)
    for name in ("A/checkpoint.safetensors", "A/metrics.json", "B/metrics.json", "songs/x/1.mp3", "c.csv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("kept")
    Path("link.json").symlink_to("B/metrics.json")
    Path("hard.json").hardlink_to("c.csv")
    Path("package.json").write_text('{"name": "mine"}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    in_a = "A/metrics.json lies in A, which the run reads; name another file"
    for members, data, out, reason in (
        ("A B", None, "A/checkpoint.safetensors", "give a .json file in a folder that exists"),
        ("A B", "songs", "songs/x/1.mp3", "give a .json file in a folder that exists"),
        ("A B", None, "A/metrics.json", in_a),
        ("A/checkpoint.safetensors B", "songs", "A/metrics.json", in_a),
        ("A B", None, "link.json", "link.json lies in B, which the run reads"),
        ("A B", "songs", "songs/x/new.json", "songs/x/new.json lies in songs, which the run reads"),
        ("A B", "c.csv", "hard.json", "hard.json is what the run reads"),
        ("A B", None, "package.json", "package.json is there and not of this command's making"),
    ):
        given = ["--data", data] if data else []
        result = CliRunner().invoke(main, ["ensemble", *members.split(), *given, "-o", out])
        assert (result.exit_code, result.stdout) == (2, "")
        assert reason in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_spectrograms_are_not_kept_where_they_would_be_read_as_a_label(
    two_members: list[str], songs: Path, tmp_path: Path
):
    result = CliRunner().invoke(main, [*two_members, "--data", str(songs), "--cache", str(songs / "kept")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is to be written to and lies in the folder of the data" in result.stderr
