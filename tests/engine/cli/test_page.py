"""mer-label page as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from label_folders import row_of, write_labels
from merkit.engine.cli.label import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["page", *map(str, arguments)])


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "गीत.mp3").write_bytes(b"x")
    rows = [row_of(tmp_path / "गीत.mp3"), row_of(tmp_path / "gone.mp3")]
    return write_labels(tmp_path / "labels", rows)


def test_the_page_and_what_is_left_out(labels: Path) -> None:
    done = run(labels)
    assert (done.exit_code, done.stdout) == (4, "catalogue.html\n")
    assert done.stderr.startswith("1 song, ")
    assert "1 left out: their files are not there now (--missing shows them)" in done.stderr
    done = run(labels, "--missing", "--title", "<b>मेरा</b>", "-o", "all.html")
    assert (done.exit_code, done.stdout) == (4, "all.html\n")
    assert "left out" not in done.stderr
    assert "<title>&lt;b&gt;मेरा&lt;/b&gt;</title>" in Path("all.html").read_text(encoding="utf-8")


def test_where_a_page_may_not_be(labels: Path) -> None:
    Path("loop.html").symlink_to("loop.html")
    other = write_labels(labels.parent / "other", [row_of("z", "sad")])
    for out, reason in (
        ("गीत.mp3", "must end in .html"),
        (labels / "x.html", "is inside"),
        (other / "x.html", "is inside"),
        ("loop.html", "loop.html cannot be written: "),
        ("loop.html/x.html", "there is no folder loop.html"),
        ("", "an empty name"),
    ):
        done = run(labels, "-o", out)
        assert (done.exit_code, reason in done.stderr) == (2, True), done.output
    assert Path("गीत.mp3").read_bytes() == b"x"
    assert not (labels / "x.html").exists()


def test_a_page_of_somebody_else_stays(labels: Path) -> None:
    assert run(labels).exit_code == run(labels).exit_code == 4  # our own is replaced
    Path("catalogue.html").write_text("<title>my catalogue</title>")
    done = run(labels)
    said = "Error: catalogue.html is there and not of this command's making: name another file\n"
    assert (done.exit_code, done.stderr) == (2, said)
    assert Path("catalogue.html").read_text() == "<title>my catalogue</title>"


def test_no_labels(tmp_path: Path) -> None:
    done = run(tmp_path / "nothing")
    assert (done.exit_code, done.stderr.startswith("Error: ")) == (1, True)
    assert run().exit_code == 2
    rows = write_labels(tmp_path / "labels", [row_of("gone.mp3")]) / "part-000000.parquet"
    done = run(rows, "-o", tmp_path / "x.html")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "is a file: a folder of labels is wanted, from 'mer-label --out FOLDER/'" in done.stderr
