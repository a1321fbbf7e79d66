"""The table of bundled networks is followed, and their files are what a session left."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from merkit.engine import models
from merkit.training import bundled
from merkit.training.bundled import BUNDLED, Recipe, main
from merkit.training.recipe import PROTOCOLS, protocol_for, with_overrides
from merkit.training.runs import session as session_module
from merkit.training.runs.session import Session


@pytest.mark.parametrize("name", BUNDLED)
def test_every_row_is_a_training_that_can_be_made(name: str):
    recipe = BUNDLED[name]
    protocol = with_overrides(PROTOCOLS["best"], [*recipe.sets])
    chosen = {text.partition("=")[0] for text in recipe.sets}
    assert protocol_for(protocol, recipe.model, chosen, bool(recipe.teachers)).name == "best"


def test_every_bundled_network_has_a_row():
    shipped = {path.stem for path in Path(models.__file__).parent.glob("*.onnx")}
    assert shipped
    assert shipped <= {*BUNDLED}


def test_files_are_what_the_session_left(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Session] = []

    def run(session: Session, observer: object) -> None:
        asked.append(session)
        (session.out / "final").mkdir(parents=True, exist_ok=True)
        (session.out / "final" / "audiocnn.onnx").write_bytes(b"network")
        (session.out / "final" / "card.md").write_text("card")

    monkeypatch.setattr(session_module, "run_session", run)
    data = tmp_path / "data"
    data.mkdir()
    (data / "songs").symlink_to(songs)
    row = Recipe("audiocnn", "songs", ("epochs=3",), ("ears/a.safetensors", "musicnn-msd"), ("more",))
    monkeypatch.setattr(bundled, "BUNDLED", {"mine": row, "other": row})
    out = tmp_path / "out"
    done = CliRunner().invoke(main, [str(data), str(out), "mine", "--non-music", str(tmp_path / "doors")])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [f"made {out / 'mine.onnx'}", f"made {out / 'mine.md'}"]
    assert (out / "mine.onnx").read_bytes() == b"network"
    (session,) = asked
    assert session.teachers == (str(data / "ears/a.safetensors"), "musicnn-msd")
    assert session.unlabelled == (data / "more",)
    assert session.non_music == (tmp_path / "doors",)
    assert (session.folds, session.final, session.mode) == (5, True, "resume")
    assert (session.protocol.recipe.epochs, session.protocol.validation_share) == (3, 0.0)
    assert session.chosen == {"epochs"}


def test_wrong_names_and_places(tmp_path: Path):
    (tmp_path / "data").mkdir()
    unknown = CliRunner().invoke(main, [str(tmp_path / "data"), str(tmp_path / "out"), "vgg"])
    assert unknown.exit_code == 2
    assert "no bundled network is called 'vgg': audioset" in unknown.stderr
    inside = CliRunner().invoke(main, [str(tmp_path / "data"), str(tmp_path / "data" / "out")])
    assert inside.exit_code == 2
    missing = CliRunner().invoke(main, [str(tmp_path / "data"), str(tmp_path / "out")])
    assert missing.exit_code == 1
    assert "emotion4q does not exist" in missing.stderr


@pytest.mark.parametrize("where", ["out", "cache"])
def test_nothing_is_written_into_the_data(songs: Path, tmp_path: Path, where: str):
    places = {"out": tmp_path / "out", "cache": tmp_path / "cache"} | {where: songs / "kept"}
    done = CliRunner().invoke(main, [str(songs), str(places["out"]), "--cache", str(places["cache"])])
    assert done.exit_code == 2
    assert "lies in the folder of the data" in done.stderr
