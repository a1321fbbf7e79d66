"""mer-label diff as a user runs it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from label_folders import row_of, write_labels
from merkit.engine.cli.label import main

NAMES = ("धूप.mp3", "b\x1b[2J.mp3", "=c.mp3", "d.mp3")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["diff", *map(str, arguments)])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Of four songs three change; a fifth is in the second folder only."""
    old = [
        row_of(name, emotion) for name, emotion in zip(NAMES, ("sad", "sad", "happy", "calm"), strict=True)
    ]
    new = [
        row_of(name, emotion, share)
        for name, emotion, share in zip(
            NAMES, ("happy", "happy", None, "calm"), (0.6, 0.9, 0, 0.7), strict=True
        )
    ]
    return write_labels(tmp_path / "old", old), write_labels(tmp_path / "new", new, [row_of("e", "sad")])


def test_what_changed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "changed.csv"
    done = run(*folders, "--csv", table)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "3 of 4 songs have another label (75.0 %)",
        "       2  sad -> happy",
        "       1  happy -> (no label)",
        "",
        r"   0.900  sad -> happy  b\x1b[2J.mp3",
        "   0.600  sad -> happy  धूप.mp3",
        "       -  happy -> (no label)  =c.mp3",
    ]
    assert done.stderr == f"1 song is in {folders[1]} only\n"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [NAMES[1], NAMES[0], "'=c.mp3"]
    assert rows[0] == {
        "path": NAMES[1], "before": "sad", "confidence_before": "0.7", "after": "happy", "confidence": "0.9",
    }  # fmt: skip
    quiet = run(*folders, "--limit", 1, "--csv", table)
    assert "not named" not in quiet.stderr  # all stand in the table
    few = run(*folders, "--limit", 1)
    assert (len(few.stdout.splitlines()), "2 more songs are not named" in few.stderr) == (5, True)


def test_nothing_changed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    again = write_labels(tmp_path / "again", [row_of(NAMES[3], "calm")])
    done = run(folders[0], again)
    assert (done.exit_code, done.stdout) == (0, "0 of 1 song has another label (0.0 %)\n")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("sad", "party", "happy"), "only happy, sad are in both"),
        (("calm",), "only calm is in both"),
        (("party", "love"), "none is in both"),
        (("calm", "sad", "tense", "happy"), None),
    ],
)
def test_models_with_other_labels(
    folders: tuple[Path, Path], tmp_path: Path, labels: tuple[str, ...], said: str | None
) -> None:
    other = write_labels(tmp_path / "other", [row_of(NAMES[0], None)], labels=labels)
    done = run(folders[0], other)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stderr.splitlines() if "other labels" in line]
    assert lines == ([f"the models have other labels: {said}"] if said else [])


def test_what_is_wrong_is_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = folders
    other = write_labels(tmp_path / "other", [row_of("z", "sad")])
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    for arguments, code, text in (
        ((old,), 2, "Missing argument 'NEW'"),
        ((old, old), 2, "are one folder"),
        ((old, other), 1, "have no song in common"),
        ((old, tmp_path / "nothing"), 1, "No such file"),
        ((old, new, "--csv", new / "x.csv"), 2, "which other programs read as a whole"),
        ((old, new, "--csv", old / "x.csv"), 2, "which other programs read as a whole"),
        ((old, new, "--csv", other / "x.csv"), 2, "which other programs read as a whole"),
        ((old, new, "--csv", tmp_path / "loop.csv"), 2, "loop.csv cannot be written: "),
        ((old, tmp_path / "loop.csv"), 1, "loop.csv cannot be read: "),
        ((old, new, "--csv", ""), 2, "an empty name"),
        ((old, new, "--csv", tmp_path / "song.mp3"), 2, "does not end in .csv"),
        ((old, new, "--csv", tmp_path / "no" / "d.csv"), 2, "d.csv: there is no folder"),
        ((old, new / "part-000000.parquet"), 1, "is a file: a folder of labels is wanted"),
    ):
        done = run(*arguments)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert (done.exit_code, len(errors)) == (code, 1), done.output
        assert text in errors[0]


def test_a_table_of_somebody_else_stays(folders: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("path,label\na.mp3,sad\n")
    done = run(*folders, "--csv", table)
    assert (done.exit_code, "not of this command's making" in done.stderr, done.stdout) == (2, True, "")
    assert table.read_text() == "path,label\na.mp3,sad\n"
