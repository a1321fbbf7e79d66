"""An argument that is not there: another reading of it is named where that is there, and else nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_labels import MODEL, OPTIONS, FakeBackend
from merkit.engine.catalogue.expand import Sources
from merkit.engine.catalogue.hints import hint_of
from merkit.engine.catalogue.run import CatalogueRun
from merkit.engine.errors import MerError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "My Music").mkdir()
    (tmp_path / "My Music" / "गीत.wav").write_text("happy title")
    (tmp_path / "list.csv").write_text("path\n")
    return tmp_path


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("~/My Music", "{home}/My Music"),
        ("'~/My Music'", "{home}/My Music"),
        ('"My Music"', "My Music"),
        ("“My Music”", "My Music"),
        (" My Music", "My Music"),
        ("My Music \n", "My Music"),
        (r"My\ Music", "My Music"),
        (r"~/My\ Music/गीत.wav", "{home}/My Music/गीत.wav"),
        ("~/My Music/*.wav", "{home}/My Music/*.wav"),
        ("file://{home}/My%20Music", "{home}/My Music"),
        ("file://localhost{home}/My%20Music", "{home}/My Music"),
        ("~/list.csv", "{home}/list.csv"),
    ],
)
def test_another_reading_is_named(home: Path, argument: str, meant: str) -> None:
    argument, meant = argument.format(home=home), meant.format(home=home)
    assert hint_of(argument) == f"; did you mean {meant}?"
    try:
        with CatalogueRun(Sources([argument]), MODEL, FakeBackend(), OPTIONS) as run:
            (label,) = run.labels()
        said = label.error or ""
    except MerError as error:  # of a table, which is read first
        said = str(error)
    assert said.endswith(f"; did you mean {meant}?")


@pytest.mark.parametrize(
    "argument", ["", "~nobody/x", "My Music", "gone", " gone ", "~/gone", "~/*.flac", r"a\b", "file:///gone"]
)
def test_no_other_reading_is_there(argument: str) -> None:
    assert hint_of(argument) == ""


def test_nothing_is_there_for_a_folder_of_labels() -> None:
    with pytest.raises(
        MerError, match=r"^no such file: ~/My Music; did you mean .*\?, x; no row was written$"
    ):
        CatalogueRun(Sources(["~/My Music", "x"]), MODEL, FakeBackend(), OPTIONS, "labels/")


def test_the_name_of_a_model_that_is_no_file() -> None:
    assert hint_of("hindi5") == "; hindi5 is a model: --model goes before each name"
    Path("hindi5").mkdir()
    assert hint_of("hindi5") == ""
