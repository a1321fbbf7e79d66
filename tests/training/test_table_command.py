"""mer-train table writes its rows into a Markdown file, and into nothing that it reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from labelled_files import write_files
from merkit.engine.spec import MER500_LABELS
from merkit.training.cli import main
from merkit.training.runs import results_table, split_table
from merkit.training.runs.results_table import TablePlan
from merkit.training.runs.split_plan import SplitPlan


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


@pytest.mark.parametrize(
    ("artists", "splits"),
    [(("", "", "", "", ""), ["random"]), (("Unknown", "", "-", "", ""), ["random"]),
     (("", "Lata", "", "Asha", ""), ["random", "artist"])],
)  # fmt: skip
def test_a_column_that_says_nothing_is_no_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artists: tuple[str, ...], splits: list[str]
):
    """As in what listening writes, of files without tags."""
    plans: list[SplitPlan] = []
    monkeypatch.setattr(split_table, "fill_split_table", lambda plan, *_: plans.append(plan) or 0)
    write_files(tmp_path, *(f"{label}.wav" for label in MER500_LABELS))
    rows = [f"{label}.wav,{label},{name}" for label, name in zip(MER500_LABELS, artists, strict=True)]
    (tmp_path / "heard.csv").write_text("\n".join(["path,label,artist", *rows]))
    options = ["table", "--data", tmp_path / "heard.csv", "--results", tmp_path / "out.md"]
    result = CliRunner().invoke(main, [*map(str, [*options, "--runs", tmp_path / "runs"])])
    assert result.exit_code == 0, result.output
    assert list(plans[0].data) == splits
