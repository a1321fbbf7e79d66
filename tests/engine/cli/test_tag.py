"""mer-label tag as a user runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from audio_files import noise, write_audio
from click.testing import CliRunner, Result
from label_folders import row_of, write_labels
from merkit.engine.cli.label import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["tag", *map(str, arguments)])


@pytest.fixture
def music(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir()
    for name in ("a\x1b[2J.flac", "b.flac"):
        write_audio(tmp_path / "music" / name, noise(1, 22_050), 22_050)
    return tmp_path / "music"


@pytest.fixture
def labels(music: Path, tmp_path: Path) -> Path:
    rows = [row_of(path) for path in sorted(music.iterdir())]
    return write_labels(
        tmp_path / "labels", [*rows, row_of(music / "gone.mp3"), row_of(music / "b.flac", None)]
    )


def test_where_nothing_is_to_be_tagged_no_option_does_it(tmp_path: Path) -> None:
    pytest.importorskip("mutagen")
    done = run(write_labels(tmp_path / "labels", [row_of("a.mp3", None), row_of("b.mp3", None)]))
    assert done.stderr.splitlines() == ["0 to tag", "2 without a label"]


def test_first_said_then_done_then_undone(labels: Path, music: Path) -> None:
    pytest.importorskip("mutagen")
    before = {path: path.read_bytes() for path in music.iterdir()}
    said = run(labels)
    assert said.exit_code == 4  # one is not there
    assert said.stdout.splitlines()[0] == f"{music}/a\\x1b[2J.flac\t\thappy"
    assert said.stdout.splitlines()[2] == f"{music}/gone.mp3\t\t(not there now)"
    assert said.stderr.splitlines() == [
        "2 to tag: --write does it",
        "1 without a label",
        "1 not there now",
    ]
    assert {path: path.read_bytes() for path in music.iterdir()} == before
    done = run(labels, "--write")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (4, "2 tagged")
    assert {path: path.read_bytes() for path in music.iterdir()} != before
    again = run(labels, "--write")
    touched = run(labels, "--write", "--touch")
    assert "2 tagged already: their times stay, unless --undo --write takes" in touched.stderr
    assert "2 tagged already" in again.stderr
    undo = run(labels, "--undo")
    assert (undo.exit_code, undo.stderr) == (0, "2 to restore: --write does it\n")
    undo = run(labels, "--undo", "--write")
    assert (undo.exit_code, undo.stderr) == (0, "2 restored\n")
    assert {path: path.read_bytes() for path in music.iterdir()} == before
    assert run(labels, "--undo").stderr == "nothing was tagged from these labels\n"


def test_what_cannot_be_undone_now_is_said(labels: Path, music: Path) -> None:
    pytest.importorskip("mutagen")
    run(labels, "--write")
    path = music / "b.flac"
    path.write_bytes(path.read_bytes() + b"more")
    write_labels(labels, [row_of(path, "sad")])
    run(labels, "--write")
    (music / "a\x1b[2J.flac").rename(music / "moved")
    said = run(labels, "--undo")
    assert said.exit_code == 4
    assert f"{path}\t\t(as before its last mood only)\n" in said.stdout
    assert said.stderr.splitlines() == [
        "1 not found: restored once they are back, or labelled where they are now, unless changed",
        "1 as before their last mood only: others changed them before it. Undo that, then these again",
    ]
    write_labels(labels, [row_of(path), row_of(music / "moved"), row_of(music / "a\x1b[2J.flac")])
    run(labels, "--undo", "--write")
    said = run(labels, "--undo")
    assert "(restored elsewhere; if it was moved there, mer-label --forget its old folder)" in said.stdout


def test_a_mood_that_the_labels_do_not_say_any_more(labels: Path, music: Path) -> None:
    pytest.importorskip("mutagen")
    run(labels, "--write")
    paths = sorted(music.iterdir())
    write_labels(labels, [row_of(paths[0], verdict="sure"), row_of(paths[1], "sad", verdict="unsure")])
    said = run(labels)
    assert said.stdout == f"{music}/b.flac\thappy\t(goes: these labels do not say it)\n"
    earlier = "1 with an earlier mood that these labels do not say"
    assert f"{earlier}: --write takes it away\n" in said.stderr
    assert f"{earlier}: it was taken away\n" in run(labels, "--write").stderr
    assert "not sure enough" in run(labels, "--write").stderr


def test_what_helps_songs_that_are_not_sure_enough(labels: Path, music: Path) -> None:
    pytest.importorskip("mutagen")
    write_labels(labels, [row_of(music / "b.flac", share=0.6)])
    lower = "1 not sure enough: --unsure takes those with that verdict, a lower --min-confidence takes"
    assert lower in run(labels, "--min-confidence", "0.9").stderr
    only = "1 not sure enough: a lower --min-confidence takes those below it\n"
    assert only in run(labels, "--min-confidence", "0.9", "--unsure").stderr


def test_without_mutagen_there_is_one_line(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mutagen", None)
    done = run(labels)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: tags are read and written by mutagen: pip install 'merkit[tags]'\n"


def test_undo_needs_no_mutagen(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mutagen", None)
    assert run(labels, "--undo").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ([], 2, "Missing argument 'LABELS'"),
        (["{music}"], 1, "is no folder of labels"),
        (["{music}/nowhere"], 1, "cannot be read: No such file"),
        (["{labels}", "--undo", "--replace"], 2, "--undo goes with --write alone"),
        (["{labels}", "--min-confidence", "2"], 2, "0<=x<=1"),
        (["{music}", "--undo"], 1, "is no folder of labels"),
        (["{labels}/part-000000.parquet"], 1, "is a file: a folder of labels is wanted"),
        (["{labels}/part-000000.parquet", "--undo"], 1, "is a file: a folder of labels is wanted"),
    ],
)
def test_what_is_refused(labels: Path, music: Path, arguments: list[str], code: int, reason: str) -> None:
    pytest.importorskip("mutagen")
    done = run(*(text.format(labels=labels, music=music) for text in arguments))
    assert done.exit_code == code
    assert reason in done.stderr
