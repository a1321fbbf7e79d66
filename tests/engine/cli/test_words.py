from __future__ import annotations

import importlib
import os
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from label_folders import row_of, write_labels
from merkit.engine.cli.label import main
from merkit.engine.cli.words import ANY_PATH, WORDS


@pytest.mark.parametrize("word", WORDS)
def test_a_word_wins_over_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir(word)
    helped = CliRunner().invoke(main, [word, "--help"], prog_name="mer-label")
    assert helped.exit_code == 0
    assert f"mer-label {word} [OPTIONS]" in helped.stdout
    done = CliRunner().invoke(main, [f"./{word}", "--hop", "3"])
    assert "--hop goes with --windows all" in done.stderr  # what labelling says, and no other command


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("pages", "did you mean mer-label page? A path of that name is ./pages"),
        ("tags", "did you mean mer-label tag?"),
        ("playlists", "did you mean mer-label playlist?"),
        ("Playlist", "did you mean mer-label playlist?"),
        ("dif", "did you mean mer-label diff?"),
        ("label", "no word is needed to label: mer-label PATH"),
        ("lable", "mer-label PATH"),
        ("help", "mer-label --help"),
        ("version", "mer-label --version"),
    ],
)
def test_what_is_near_a_word_is_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [typed, "labels/"], prog_name="mer-label")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Error: {typed}: no such file; " in done.stderr
    assert said in done.stderr
    os.mkdir(typed)
    done = CliRunner().invoke(main, [typed, "--hop", "3"])
    assert "--hop goes with --windows all" in done.stderr  # a path of that name is one


@pytest.mark.parametrize(
    "typed", ["music", "tag.mp3", "tag*", "tango", "songs", "./pages", "live", "s3://bucket/tags", "--help"]
)
def test_what_is_near_no_word_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [typed, "--hop", "3"])
    assert "no such file" not in done.stderr


def test_the_help_names_the_words() -> None:
    helped = CliRunner().invoke(main, ["--help"])
    assert all(f"{word} ..." in helped.stdout for word in WORDS)
    assert "./tag" in helped.stdout


@pytest.mark.parametrize(
    ("typed", "incomplete", "expected"),
    [
        ([], "pl", ["playlist"]),
        ([], "./ta", [":file"]),
        ([], "ta", [":file"]),  # the folder tango is there
        ([], "", [":file"]),
        (["song.mp3"], "pl", [":file"]),
        ([], "--pl", ["--plot"]),
        (["tag"], "--un", ["--undo", "--unsure"]),
        (["page", "labels"], "--ti", ["--title"]),
        (["playlist", "labels", "lists", "--format"], "n", ["nsp"]),
        (["pages"], "x", [":file"]),  # mistyped, which is said once it is run
    ],
)
def test_words_and_their_options_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], incomplete: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("tango")
    shell = ShellComplete(main, {}, "mer-label", "_MER_LABEL_COMPLETE")
    found = shell.get_completions(typed, incomplete)
    assert sorted(":file" if item.type == "file" else item.value for item in found) == expected


@pytest.mark.parametrize("name", ["label", *WORDS])
def test_no_path_is_refused_by_click(name: str) -> None:
    """One that cannot be read costs its row, or has a line that says why."""
    main = importlib.import_module(f"merkit.engine.cli.{name}").main
    paths = [param for param in main.params if isinstance(param.type, click.Path)]
    assert paths
    assert not any(param.type.readable for param in paths)


@pytest.mark.parametrize(
    "arguments",
    [["tag", ""], ["page", ""], ["playlist", "", "x"], ["diff", "", "."], ["--from", "", "-o", "x.csv"]],
)
def test_an_empty_name_is_not_the_folder_that_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """It is that of a variable that is not set, in a script."""
    monkeypatch.chdir(write_labels(tmp_path / "labels", [row_of("gone.mp3")]))
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, "an empty name" in done.stderr) == (2, True), done.output


def test_a_path_that_cannot_be_read_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may read all
    assert ANY_PATH.convert(str(tmp_path), None, None) == str(tmp_path)
