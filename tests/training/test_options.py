"""The choices of mer-train's options are the library's, and the data is one folder or a download."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from merkit.engine.data.labelled_audio import LAYOUTS
from merkit.engine.spec import AudioSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.training.options import (
    OPTION_OF_FIELD,
    check_outside,
    chosen_fields,
    data_options,
    recipe_options,
    root_from_options,
    teacher_options,
)
from merkit.training.recipe import PROTOCOLS


def _choices(decorate, name: str) -> set[str]:
    command = click.command()(decorate(lambda **options: None))
    (option,) = (parameter for parameter in command.params if parameter.name == name)
    assert isinstance(option.type, click.Choice)
    return set(option.type.choices)


def test_choices_are_the_librarys():
    # Written out in options.py, since --help must not import the libraries.
    assert _choices(recipe_options, "protocol") == set(PROTOCOLS)
    assert _choices(data_options, "layout") == {"auto", *LAYOUTS}


def test_defaults_in_the_help_are_the_protocols():
    best = PROTOCOLS["best"]
    defaults = {
        **{option: getattr(best.recipe, field) for field, option in OPTION_OF_FIELD.items()},
        "validation": best.validation_share,
        "test": best.test_share,
        "split_seed": best.split_seed,
    }
    command = click.command()(recipe_options(lambda **options: None))
    helps = {option.name: option.help for option in command.params if isinstance(option, click.Option)}
    for name, value in defaults.items():
        assert f"of best {value}]" in (helps[name] or "")
    assert best.audio == PRESETS["emotion4q"]
    assert "of best emotion4q]" in (helps["preset"] or "")


def test_a_folder_or_a_download():
    assert root_from_options({"data": Path("songs"), "download": False}) == Path("songs")
    for options in ({"data": None, "download": False}, {"data": Path("songs"), "download": True}):
        with pytest.raises(click.UsageError, match="give --data FOLDER, or --download"):
            root_from_options(options)


def test_what_the_user_chose():
    none: dict[str, object] = {"sets": (), "epochs": None, "loss": None, "batch": None}
    assert chosen_fields({**none, "sets": ("mixup=0", "ema=0.9")}) == {"mixup", "ema"}
    assert chosen_fields({**none, "epochs": 5, "loss": "bce", "batch": 4}) == {"epochs", "loss", "batch_size"}
    zero = {"seed": 0, "validation": 0.0, "layers": "head"}
    assert chosen_fields({**none, **zero}) == {"seed", "validation_share", "layers"}
    preset = chosen_fields({**none, "preset": "emotion4q"})
    assert preset == {f"audio.{field.name}" for field in dataclasses.fields(AudioSpec)}


def test_a_teacher_that_is_named_twice_teaches_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    heard: list[tuple[str, ...]] = []
    command = click.command()(teacher_options(lambda teachers, **options: heard.append(teachers)))
    sources = ["musicnn-msd", "run", "other", "musicnn-msd", "./run/", str(tmp_path / "run")]
    arguments = [part for source in sources for part in ("--teacher", source)]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert CliRunner().invoke(command, []).exit_code == 0
    assert heard == [("musicnn-msd", "run", "other"), ()]


def test_results_lie_outside_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Results in a data folder would be one more label the next time."""
    songs, listed = tmp_path / "songs", tmp_path / "clips.csv"
    (songs / "happy").mkdir(parents=True)
    listed.write_text("path,label")
    (tmp_path / "link").symlink_to(songs)
    for out in (songs, songs / "runs", tmp_path / "link" / "runs", songs / "happy" / ".." / "runs"):
        with pytest.raises(click.UsageError, match="lies in the folder of the data"):
            check_outside(songs, None, out)
    monkeypatch.chdir(songs)
    with pytest.raises(click.UsageError, match="name a folder elsewhere"):
        check_outside(Path("."), Path("runs"), None)
    check_outside(songs, tmp_path / "songs2", tmp_path)
    check_outside(listed, tmp_path / "runs", None)
