"""mer-train as it is called: its help, what it says, its exit codes, and what survives kill -9."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from merkit.engine.artifact import known_models, open_artifact
from merkit.training.cli import _settled, main
from merkit.training.networks.checkpoint import network_from_checkpoint, save_checkpoint
from merkit.training.runs import session
from merkit.training.runs.run_folder import results_folder
from safetensors.torch import load_file
from small_training import FAST_OPTIONS, SMALL


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _options(songs: Path, cache: Path, out: Path, *more: object) -> list[str]:
    options = ["--data", songs / "clips.csv", "--cache", cache, "--out", out, "-m", "audiocnn"]
    return [str(option) for option in [*options, *FAST_OPTIONS, *more]]


def test_help_is_fast_and_needs_no_torch():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'sklearn', 'matplotlib', 'numpy']));"
        "from merkit.training.cli import main; main(['--help'])"
    )
    for command in ("", "'table', ", "'ensemble', ", "'queue', ", "'listen', ", "'curve', "):
        began = time.perf_counter()
        text = subprocess.check_output(
            [sys.executable, "-c", code.replace("['--help']", f"[{command}'--help']")]
        )
        assert b"Usage:" in text
        assert time.perf_counter() - began < 5  # 0.15 s alone; CI's machines are busy


@pytest.mark.parametrize(
    ("options", "end"),
    [("", "--weights accurate\n"), ("-m resnet18", " in place of --model\n"), ("--layers head", None)],
)
def test_few_clips_for_random_weights_are_told_of_trained_ones(
    songs: Path, tmp_path: Path, options: str, end: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(session, "run_session", lambda *_: ((), 0))
    result = _run("--data", songs / "clips.csv", "--out", tmp_path / "run", *options.split())
    assert result.exit_code == 0, result.output
    assert ("the network begins with random weights" in result.stderr) == (end is not None)
    assert end is None or result.stderr.endswith(end)


def test_folds_and_a_final_network(songs: Path, cache: Path, tmp_path: Path):
    folds = ["--folds", 2, "--final", "--validation", 0, "--epochs", 2]
    result = _run(*_options(songs, cache, tmp_path / "run", *folds))
    assert result.exit_code == 0, result.output
    assert "audiocnn on 40 held-out songs (grouped split): macro-F1 " in result.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    artifact = open_artifact(str(tmp_path / "run" / "final" / "audiocnn.onnx"))
    assert artifact.spec.temperature == metrics["temperature"]


def test_train_export_score_on_both_splits(songs: Path, cache: Path, tmp_path: Path):
    # Windows as long as the songs: of shorter ones the engine pads the edges, and the cache has the sound.
    whole = ["--set", "audio.window_samples=32000", "--set", "audio.frames=63"]
    result = _run(*_options(songs, cache, tmp_path / "run", "--split", "both", "--epochs", 3, *whole))
    assert result.exit_code == 0, result.output
    assert "audiocnn, best: random split, stratified: " in result.stderr
    assert "audiocnn, best: grouped split by group: " in result.stderr
    assert "gap, audiocnn: by window, random split 0." in result.stderr or "random split 1." in result.stderr
    metrics = json.loads((tmp_path / "run" / "grouped" / "metrics.json").read_text())
    artifact = open_artifact(str(tmp_path / "run" / "grouped" / "audiocnn.onnx"))
    assert artifact.spec.labels == ("calm", "tense")
    assert artifact.spec.temperature == metrics["temperature"]
    # The engine, from the files, scores as training did from its cache.
    assert f"through the engine: macro-F1 {metrics['macro_f1']:.3f}" in result.stderr


def test_all_networks_are_drawn_in_one_plot(songs: Path, cache: Path, tmp_path: Path):
    sets = [part for text in SMALL[:3] for part in ("--set", text)]
    result = _run(
        "--data", songs, "--cache", cache, "--out", tmp_path / "run", "--protocol", "hindi-2022",
        "--weights", "none", "-m", "squeezenet", "-m", "mobilenetv3", "--epochs", 2, "--no-export", "--split",
        "random", *sets,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "ours, since the paper leaves it open: the learning rate" in result.stderr
    assert "only the head is trained, over random weights" in result.stderr
    assert (tmp_path / "run" / "curves-random.png").exists()
    assert (tmp_path / "run" / "mobilenetv3" / "confusion.png").exists()


def test_killed_and_resumed_gives_the_same_network(songs: Path, cache: Path, tmp_path: Path):
    def options(out: str, *more: str) -> list[str]:
        return _options(songs, cache, tmp_path / out, "--epochs", "6", "--no-export", *more)

    assert _run(*options("whole")).exit_code == 0
    command = [sys.executable, "-m", "merkit.training.cli", *options("killed")]
    killed = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert killed.stderr
    for line in killed.stderr:
        if line.startswith("epoch   3/6"):
            os.killpg(killed.pid, signal.SIGKILL)
            break
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "metrics.json").exists()
    refused = _run(*options("killed"))
    assert refused.exit_code == 2
    assert refused.stderr.endswith("holds a training; resume it, or overwrite it\n")
    resumed = _run(*options("killed", "--resume"))
    assert resumed.exit_code == 0
    assert "goes on after epoch" in resumed.stderr
    assert "epoch   1/6" not in resumed.stderr
    whole, again = (load_file(tmp_path / out / "checkpoint.safetensors") for out in ("whole", "killed"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert (tmp_path / "whole" / "checkpoint.safetensors").read_bytes() == (
        tmp_path / "killed" / "checkpoint.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"layers": "head"}, "--layers"),
        ({"sets": ("mixup=0", "layers=head")}, "--set layers=head"),
        ({"sets": ("audio.n_mels=96",)}, "--set audio.n_mels=96"),
        ({"preset": "emotion4q"}, "--preset"),
        ({"teachers": ("musicnn-msd",)}, "--teacher"),
        ({"protocol": "icm-2020"}, "--protocol icm-2020"),
    ],
)
def test_what_leaves_no_plan_to_choose_is_named(asked: dict[str, object], said: str):
    options = {"sets": (), "preset": None, "layers": None, "teachers": (), "protocol": "best", "epochs": None}
    assert not _settled(options)
    assert _settled({**options, **asked}) == said


def test_skipped_clips_are_counted_and_named(songs: Path, cache: Path, tmp_path: Path):
    text = (songs / "clips.csv").read_text()
    listed = tmp_path / "clips.csv"
    listed.write_text(text.replace("\ncalm/", f"\n{songs}/calm/").replace("\ntense/", f"\n{songs}/tense/"))
    with listed.open("a") as file:
        file.write("gone.wav,calm,nobody\n")
    options = _options(songs, cache, tmp_path / "run", "--epochs", 1, "--no-export")
    options[1] = str(listed)
    result = _run(*options)
    assert result.exit_code == 4, result.output
    assert f"skipped {tmp_path / 'gone.wav'}: cannot be read" in result.stderr
    assert "1 clip was left out, for the reasons above" in result.stderr


def test_a_network_whose_training_was_stopped_is_trained_further_and_that_is_said(
    songs: Path, cache: Path, tmp_path: Path
):
    run = tmp_path / "stopped"
    assert _run(*_options(songs, cache, run, "--epochs", 1, "--no-export")).exit_code == 0
    further = ["--epochs", 1, "--no-export", "--plan", "all", "--weights", run]
    warning = f"warning: the training of {run} was stopped before its end: mer-train --resume finishes it"
    result = _run(*_options(songs, cache, tmp_path / "a", *further))
    assert (result.exit_code, warning in result.stderr) == (0, False), result.output
    assert "plan all:" not in result.stderr  # it was asked for
    network, spec = network_from_checkpoint(run / "checkpoint.safetensors")
    spec = dataclasses.replace(spec, provenance={**spec.provenance, "finished": False})
    save_checkpoint(network, spec, run / "checkpoint.safetensors")
    del further[3:5]  # --plan all
    result = _run(*_options(songs, cache, tmp_path / "b", *further))
    assert result.stderr.count(f"plan all: --set {SMALL[0]} is given\n") == 1
    assert (result.exit_code, result.stderr.splitlines().count(warning)) == (0, 1), result.output


def test_no_network_is_removed_before_it_is_read(songs: Path, cache: Path, tmp_path: Path):
    """Nor one that was put into the folder of the results to begin with."""
    run, mine = tmp_path / "run", tmp_path / "mine"
    mine.mkdir()
    (mine / "audiocnn.onnx").write_bytes(known_models()["audiocnn"].read_bytes())
    refused = _run(*_options(songs, cache, mine))
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert f"{mine / 'audiocnn.onnx'} is there, and no training in this folder wrote it" in refused.stderr
    assert _run(*_options(songs, cache, run, "--epochs", 1, "--no-export")).exit_code == 0
    for folder, weights in (
        (run, run),
        (run, run / "checkpoint.safetensors"),
        (mine, mine / "audiocnn.onnx"),
    ):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        for option in ("--weights", "--teacher"):
            for mode in ((), ("--overwrite",), ("--resume",)):
                refused = _run(*_options(songs, cache, folder, option, weights, *mode))
                assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
                assert f"{weights} is read, and lies in {folder}, where results go" in refused.stderr
        assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_one_training_at_a_time_in_a_folder(songs: Path, cache: Path, tmp_path: Path):
    out = tmp_path / "run"
    with results_folder(out, "fresh"):
        refused = _run(*_options(songs, cache, out, "--overwrite"))
    assert refused.exit_code == 1
    assert f"{out} is in use by another run" in refused.stderr
    assert not (out / "run.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ([], 2, "give --data FOLDER, or --download"),
        (["--data", "nowhere"], 1, "nowhere does not exist"),
        (["--data", "SONGS", "-m", "resnet9"], 2, "unknown backbone 'resnet9'"),
        (["--data", "SONGS", "--labels", "calm,happy"], 1, r"none of calm, happy: tense (20)"),
        (["--data", "SONGS", "--set", "speed=3"], 2, "speed: no such field; known: epochs"),
        (["--data", "SONGS", "--set", "mixup=much"], 2, "mixup=much: not a float"),
        (["--data", "SONGS", "--set", "loss=hinge"], 2, "loss=hinge: one of ce, bce"),
        (["--data", "SONGS", "--set", "audio.n_mels=0"], 2, "AudioSpec.n_mels must be"),
        (
            ["--data", "SONGS", "--epochs", "1", "--set", "epochs=3"],
            2,
            "--epochs and --set epochs=3 are the same",
        ),
        (["--data", "SONGS", "--seed", "0", "--set", "seed=3"], 2, "--seed and --set seed=3 are the same"),
        (
            ["--data", "SONGS", "--batch", "4", "--set", "batch_size=8"],
            2,
            "--batch and --set batch_size=8 are",
        ),
        (["--data", "SONGS", "--preset", "mine"], 2, "unknown preset 'mine'"),
        (["--data", "SONGS", "--resume", "--overwrite"], 2, "contradict each other"),
        (["--data", "SONGS", "--final"], 2, "--final goes with --folds"),
        (["--data", "SONGS/calm"], 1, "holds no folders"),
        (["--data", "SONGS", "--set", "learning_rate=nan"], 2, "learning_rate must be from 1e-09 to 10"),
        (["--data", "SONGS", "--validation", "nan"], 2, "nan is no finite number"),
        (["--data", "SONGS", "--labels", "calm,tense,calm"], 2, "calm"),
        (["--data", "SONGS", "--labels", ""], 2, "blank"),
        (["--data", "SONGS", "--out", "SONGS/clips.csv/run"], 2, "lies in the folder of the data"),
        (["--data", "SONGS/clips.csv", "--out", "SONGS/clips.csv"], 1, "cannot be made: File exists"),
        (["--data", "SONGS", "--weights", "gone.pth"], 2, "weights gone.pth: no such file"),
        (["--data", "SONGS", "--weights", ""], 2, "weights '': no such file"),
        (["--data", "SONGS", "-m", "audiocnn", "--weights", "imagenet"], 2, "no published weights"),
        (["--data", "SONGS/clips.csv", "--group-by", "mood"], 2, "no column 'mood'"),
        (["--data", "SONGS", "--out", "hindi5"], 2, "--model hindi5 would mean the model of that name"),
        (["--data", "SONGS", "--non-music", "gone"], 2, "gone is no folder of recordings"),
        (["--data", "SONGS", "--non-music", "."], 2, "no audio in . can be used, for there is none"),
        (["ensemble", "nothing.safetensors", "other"], 2, "nothing.safetensors: there is no such folder"),
        (["ensemble", "SONGS", "SONGS/calm"], 1, "SONGS holds no finished training"),
        (["ensemble", "SONGS", "SONGS"], 2, "SONGS is named twice"),
        (["ensemble", "SONGS", "SONGS/calm", "-o", "SONGS"], 2, "give a .json file in a folder that exists"),
        (["ensemble", "SONGS", "SONGS/calm", "-o", "/proc/x.json"], 2, "/proc/x.json cannot be written"),
        (["curve", "--data", "SONGS", "-o", "/proc/x.png"], 2, "/proc/x.png cannot be written: No such file"),
        (["table", "--data", "SONGS", "--results", "/proc/x.md"], 2, "/proc/x.md cannot be written: No such"),
        (["table", "--data", "SONGS", "--set", "epochs=3"], 2, "the table takes --epochs"),
        (["table", "--data", "SONGS", "--results", "SONGS"], 2, "give a file, this is a folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, reason: str
):
    monkeypatch.chdir(tmp_path)
    result = _run(*(argument.replace("SONGS", str(songs)) for argument in arguments))
    assert result.exit_code == code, result.output
    assert reason.replace("SONGS", str(songs)) in result.stderr
    assert "Traceback" not in result.output
    assert {path.name for path in tmp_path.iterdir()} <= {"mer-home"}  # no work was begun


def test_names_that_are_no_text(songs: Path, cache: Path, tmp_path: Path):
    """A folder and a broken file whose names are not UTF-8, which Linux allows."""
    root = Path(os.fsdecode(os.fsencode(tmp_path / "mus") + b"\xffik"))
    shutil.copytree(songs, root)
    (root / "calm" / os.fsdecode(b"bad\xff.wav")).write_bytes(b"no sound")
    options = ["--data", root, "--layout", "folder", "--cache", cache, "-m", "audiocnn", "--no-export"]
    out = tmp_path / "run"
    result = _run(*options, "--out", out, *FAST_OPTIONS, "--epochs", 1, "--folds", 2)
    assert result.exit_code == 4, result.output
    for run in (out, out / "fold-1"):
        ((path, _),) = json.loads((run / "metrics.json").read_text())["skipped"]
        assert path.endswith(r"mus\xffik/calm/bad\xff.wav")
    _, spec = network_from_checkpoint(out / "fold-1" / "checkpoint.safetensors")
    assert spec.provenance["data"]["name"] == r"mus\xffik"
