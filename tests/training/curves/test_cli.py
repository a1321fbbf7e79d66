"""mer-train curve as it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from audio_files import noise
from click.testing import CliRunner, Result
from labelled_files import write_files
from merkit.engine.data.labelled_audio import Clip
from merkit.engine.errors import MerError
from merkit.training.cli import main
from merkit.training.curves import few_clips, trainings
from merkit.training.curves.few_clips import Point, Table
from merkit.training.recipe import PROTOCOLS
from merkit.training.runs.settings import Session


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """48 clips by 12 artists; a network ``good`` tells their two labels apart, ``bad`` does not."""
    names = [f"{number}.wav" for number in range(48)]
    write_files(tmp_path, *names)
    rows = [f"{name},{'ab'[number % 2]},{number // 4}" for number, name in enumerate(names)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,artist", *rows]))
    rng = np.random.default_rng(0)

    def clip_embeddings(source: str, clips: Sequence[Clip], *_: object) -> list[object]:
        apart = {"good": 9, "bad": 0}[Path(source).name]
        vectors = [rng.standard_normal(3) + apart * (clip.label == "b") for clip in clips]
        return [
            MerError("damaged") if clip.path.stem == "7" else v
            for clip, v in zip(clips, vectors, strict=True)
        ]

    fake = SimpleNamespace(clip_embeddings=clip_embeddings)
    monkeypatch.setitem(sys.modules, "merkit.training.embeddings.embeddings", fake)
    monkeypatch.setattr(trainings, "check_unheard", lambda source, clips: f"{source} heard others")
    return tmp_path


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Method, start and folder of each curve of trainings; nothing is trained."""
    calls: list[tuple[str, str, str]] = []

    def session(method: str, start: str, audio: object, name: str, out: Path) -> Session:
        calls.append((method, start, out.name))
        return Session(audio, name, (start,), PROTOCOLS["best"], out)  # type: ignore[arg-type]

    monkeypatch.setattr(trainings, "session_from_method", session)
    monkeypatch.setattr(trainings, "curve_by_training", lambda *_: ([Point(2, (0.25, 0.5))], 0))
    return calls


def _run(data: Path, *arguments: object) -> Result:
    options = ["--data", data / "clips.csv", "--weights", "x/good", *arguments]
    return CliRunner().invoke(main, ["curve", *map(str, options)])


def test_a_curve_for_each_network_and_one_for_all(data: Path):
    result = _run(data, "--weights", "bad", "--clips", "8,2,999", "--draws", 3, "-o", data / "curve.png")
    assert result.exit_code == 4  # one clip gave no sound
    head, _, two, eight = result.stdout.splitlines()
    assert head == "| clips a label | good | bad | together |"
    assert (two[:4], eight[:4]) == ("| 2 ", "| 8 ")
    good, bad = (float(cell.split("+-")[0]) for cell in eight.split("|")[2:4])
    assert good > 0.95 > bad + 0.2
    assert "7.wav: damaged" in result.stderr
    assert "left out: 999 clips a label, for no label has so many to give in every draw" in result.stderr
    assert (data / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_embeddings_lie_where_those_of_a_training_do(data: Path, monkeypatch: pytest.MonkeyPatch):
    """Clips that ``mer-train`` heard with the same --cache are not heard again."""
    fake, places = sys.modules["merkit.training.embeddings.embeddings"], []
    heard = fake.clip_embeddings

    def clip_embeddings(source: str, clips: Sequence[Clip], cache: Path, *_: object) -> list[object]:
        places.append(cache)
        return heard(source, clips)

    monkeypatch.setattr(fake, "clip_embeddings", clip_embeddings)
    assert _run(data, "--clips", 2, "--draws", 2, "--cache", data / "cache").exit_code == 4
    assert places == [data / "cache/embeddings"]


def test_networks_of_one_name_have_a_curve_each(data: Path, begun: list[tuple[str, str, str]]):
    methods = ["--method", "frozen", "--method", "fine-tune"]
    result = _run(data, "--weights", "y/good", "--weights", "bad", *methods, "--clips", "2", "--draws", 2)
    assert result.stdout.splitlines()[0] == (
        "| clips a label | x/good | y/good | bad | together | x/good, fine-tune | y/good, fine-tune "
        "| bad, fine-tune |"
    )
    assert [call[1:] for call in begun] == [
        ("x/good", "fine-tune-good"), ("y/good", "fine-tune-good-2"), ("bad", "fine-tune-bad"),
    ]  # fmt: skip


def test_a_choice_beside_chance(data: Path):
    result = _run(data, "--choice", "--clips", "4,12", "--draws", 2)
    assert result.stdout.splitlines()[0] == "| clips in all | good, chosen | good, at random |"


def test_other_data_beside(data: Path):
    write_files(data, *(f"other/{label}/{number}.wav" for label in "xy" for number in range(3)))
    result = _run(data, "--beside", data / "other", "--clips", "5", "--draws", 2)
    assert result.stdout.splitlines()[0] == "| clips a label | good |"


def test_other_data_is_grouped_as_the_curve_s_where_it_can_be(data: Path, monkeypatch: pytest.MonkeyPatch):
    tables: list[Sequence[Table]] = []

    def curve(table: Table, sizes: object, draws: object, beside: Sequence[Table]) -> list[Point]:
        tables.append(beside)
        return [Point(2, (0.25, 0.5))]

    monkeypatch.setattr(few_clips, "curve_by_label", curve)
    write_files(data, "other/1.wav", "other/2.wav")
    (data / "clips.csv").write_text("path,label,person\n1.wav,a,Ann\n2.wav,b,Bob\n")
    for name, column in (("both", "Person"), ("artists", "artist")):
        rows = f"path,label,{column}\nother/1.wav,x,Cid\nother/2.wav,y,Dan\n"
        (data / f"{name}.csv").write_text(rows)
        result = _run(data, "--group-by", "person", "--beside", data / f"{name}.csv", "--clips", "2")
        assert result.exit_code == 0, result.output
        assert (": its groups are by artist" in result.stderr) == (name == "artists")
    assert [beside.groups for (beside,) in tables] == [("Cid", "Dan")] * 2


def test_a_curve_for_each_method(data: Path, begun: list[tuple[str, str, str]]):
    methods = ["--method", "frozen", "--method", "fine-tune", "--method", "scratch"]
    result = _run(data, *methods, "--model", "resnet18", "--clips", "2", "--draws", 2)
    head, _, two = result.stdout.splitlines()
    assert head == "| clips a label | good | good, fine-tune | resnet18, scratch |"
    assert two.endswith("| 0.375 +- 0.125 | 0.375 +- 0.125 |")
    assert begun == [("fine-tune", "x/good", "fine-tune-good"), ("scratch", "resnet18", "scratch-resnet18")]
    assert "x/good heard others" in result.stderr


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize(("lost", "code"), [(0, 0), (1, 4)])
def test_a_curve_of_trainings_says_what_its_weights_and_its_clips_are(
    data: Path, monkeypatch: pytest.MonkeyPatch, lost: int, code: int
):
    monkeypatch.setattr(trainings, "curve_by_training", lambda *_: ([Point(2, (0.25, 0.5))], lost))
    result = _run(data, "--method", "fine-tune", "--clips", "2", "--draws", 2)
    assert result.exit_code == code, result.output
    assert result.stderr.splitlines().count("x/good heard others") == 1


def test_near_copies_never_stand_on_both_sides(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By all methods, and in other data beside."""
    for name in ("own/{}/{}.wav", "own/{}/{}-copy.wav", "other/{}/{}-again.wav"):
        for number in range(8):
            path = tmp_path / name.format("ab"[number % 2], number)
            path.parent.mkdir(parents=True, exist_ok=True)
            level = 0.5 if "-" in name else 1.0
            soundfile.write(path, level * noise(4, 16_000, seed=number), 16_000)
    tables, sessions = [], []

    def curve(table: Table, sizes: object, draws: object, beside: Sequence[Table]) -> list[Point]:
        tables.append((table, *beside))
        return [Point(2, (0.25, 0.5))]

    def training(session: Session, *_: object) -> tuple[list[Point], int]:
        sessions.append(session)
        return [Point(2, (0.25, 0.5))], 0

    monkeypatch.setattr(few_clips, "curve_by_label", curve)
    monkeypatch.setattr(trainings, "curve_by_training", training)
    own = ["curve", "--data", tmp_path / "own", "--clips", "2", "--cache", cache, "--weights", "x/good"]
    methods = ["--method", "frozen", "--method", "scratch"]
    result = CliRunner().invoke(main, [*map(str, [*own, *methods])], catch_exceptions=False)
    assert result.exit_code == 4  # "7" gives no sound
    assert "8 near copies of other clips, the first 0.wav (of 0-copy.wav)" in result.stderr.replace("a/", "")
    groups = {clip.path.stem: clip.group for clip in sessions[0].data.clips}
    assert all(groups[str(number)] == groups[f"{number}-copy"] for number in range(8))
    assert sorted(tables[0][0].groups) == sorted(group for stem, group in groups.items() if stem != "7")
    CliRunner().invoke(main, [*map(str, [*own, "--beside", tmp_path / "other"])], catch_exceptions=False)
    table, beside = tables[1]
    assert [bool({*table.groups} & touched) for touched in beside.touched] == [True] * 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--clips", "0"], "whole numbers above 0"), (["--clips", "5,x"], "whole numbers above 0"),
     (["--choice", "--beside", "x"], "exclude each other"),
     (["--choice", "--method", "fine-tune"], "with --method frozen alone"),
     (["--method", "scratch"], "--weights goes with --method frozen and fine-tune"),
     (["-o", "curve.jpg"], "give a .png file"), (["-o", "none/curve.png"], "give a .png file")],
)  # fmt: skip
def test_wrong_input_is_one_line(data: Path, arguments: list[str], message: str):
    result = _run(data, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]


def test_frozen_needs_a_network(data: Path):
    result = CliRunner().invoke(main, ["curve", "--data", str(data / "clips.csv")])
    assert (result.exit_code, "give --weights SOURCE" in result.stderr) == (2, True)


@pytest.mark.parametrize("option", ["--runs", "--cache"])
@pytest.mark.parametrize("place", ["own", "beside"])
def test_nothing_is_kept_where_it_would_be_read_as_a_label(tmp_path: Path, option: str, place: str):
    write_files(tmp_path, *(f"{name}/{label}/1.wav" for name in ("own", "beside") for label in "ab"))
    own = ["curve", "--data", tmp_path / "own", "--beside", tmp_path / "beside", "--weights", "x/good"]
    result = CliRunner().invoke(main, [*map(str, [*own, option, tmp_path / place / "kept"])])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is to be written to and lies in the folder of the data" in result.stderr
    assert not (tmp_path / place / "kept").exists()
