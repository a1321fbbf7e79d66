from __future__ import annotations

import importlib
import os
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
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


def test_a_path_that_cannot_be_read_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may read all
    assert ANY_PATH.convert(str(tmp_path), None, None) == str(tmp_path)
