"""mer-train table writes its rows into a Markdown file, and into nothing that it reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from merkit.training.cli import main
from merkit.training.runs import results_table
from merkit.training.runs.results_table import TablePlan


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ("clips.csv", "name ends in .md"),
        ("calm.wav", "name ends in .md"),
        ("link.md", "is what the run reads"),
    ],
)
def test_data_does_not_get_the_rows(songs: Path, tmp_path: Path, results: str, says: str):
    """Markdown at its end, the CSV could not be read afterwards."""
    shutil.copy(songs / "clips.csv", data := tmp_path / "clips.csv")
    (tmp_path / "link.md").symlink_to(data)
    before = data.read_bytes()
    options = ["table", "--data", str(data), "--results", str(tmp_path / results)]
    result = CliRunner().invoke(main, [*options, "--runs", str(tmp_path / "runs")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert data.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"clips.csv", "link.md"}  # no work was begun


def test_a_second_head_is_learnt_and_named_and_never_written_to(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plans: list[TablePlan] = []
    monkeypatch.setattr(results_table, "fill_table", lambda plan, progress: plans.append(plan) or 0)
    (other := tmp_path / "other").mkdir()
    options = ["table", "--data", str(songs), "--second-head", str(other), "-m", "audiocnn"]
    options += ["--results", str(tmp_path / "out.md")]
    result = CliRunner().invoke(main, [*options, "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 0, result.output
    assert plans[0].session.second == (other,)
    assert "--second-head other" in plans[0].command
    for wrong, says in (
        (["--runs", str(other / "runs")], "lies in the folder of the data"),
        (["--runs", str(tmp_path / "runs"), "--split", "random"], "--second-head and --split exclude"),
    ):
        result = CliRunner().invoke(main, [*options, *wrong])
        assert result.exit_code == 2, result.output
        assert says in result.stderr.replace("\n", " ")
    assert not list(other.iterdir())
