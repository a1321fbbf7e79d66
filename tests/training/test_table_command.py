"""mer-train table writes its rows into a Markdown file, and into nothing that it reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from merkit.training.cli import main


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
