"""mer-train as it is called: its help, what it says, its exit codes, and what survives kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from generated import folder_of
from merkit.engine.artifact import open_artifact
from merkit.training import cli
from merkit.training.cli import main
from merkit.training.data import mer500_download as download
from merkit.training.runs.run_folder import Outcome
from merkit.training.runs.train_run import Job
from safetensors.torch import load_file

_SMALL = ["audio.window_samples=16000", "audio.hop_length=512", "audio.frames=32", "audio.n_mels=32"]
_SMALL += ["mask_mels=4", "mask_frames=6"]
_FAST = [
    part for text in [*_SMALL, "batch_size=12", "learning_rate=0.004", "ema=0.8"] for part in ("--set", text)
]


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("songs"), ("calm", "tense"), 10, 2, 2.0)


@pytest.fixture(scope="module")
def cache(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _options(songs: Path, cache: Path, out: Path, *more: object) -> list[str]:
    given = ["--data", songs / "clips.csv", "--cache", cache, "--out", out, "-m", "audiocnn", *_FAST, *more]
    return [str(argument) for argument in given]


def test_help_is_fast_and_needs_no_torch():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'sklearn', 'matplotlib', 'numpy']));"
        "from merkit.training.cli import main; main(['--help'])"
    )
    for command in ("", "'table', ", "'ensemble', "):
        began = time.perf_counter()
        text = subprocess.check_output(
            [sys.executable, "-c", code.replace("['--help']", f"[{command}'--help']")]
        )
        assert b"Usage:" in text
        assert time.perf_counter() - began < 5  # 0.15 s alone; CI's machines are busy


def test_folds_and_a_final_network(songs: Path, cache: Path, tmp_path: Path):
    folds = ["--folds", 2, "--final", "--validation", 0, "--epochs", 2]
    result = _run(*_options(songs, cache, tmp_path / "run", *folds))
    assert result.exit_code == 0, result.output
    assert "audiocnn on 40 held-out songs (grouped split): macro-F1 " in result.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    artifact = open_artifact(str(tmp_path / "run" / "final" / "audiocnn.onnx"))
    assert artifact.spec.temperature == metrics["temperature"]


def test_train_export_score_on_both_splits(songs: Path, cache: Path, tmp_path: Path):
    result = _run(*_options(songs, cache, tmp_path / "run", "--split", "both", "--epochs", 3))
    assert result.exit_code == 0, result.output
    assert "audiocnn, best: random split, as the papers made it: " in result.stderr
    assert "audiocnn, best: grouped split by group: " in result.stderr
    assert "gap, audiocnn: by window, random split 0." in result.stderr or "random split 1." in result.stderr
    metrics = json.loads((tmp_path / "run" / "grouped" / "metrics.json").read_text())
    artifact = open_artifact(str(tmp_path / "run" / "grouped" / "audiocnn.onnx"))
    assert artifact.spec.labels == ("calm", "tense")
    assert artifact.spec.temperature == metrics["temperature"]
    # The engine, from the files, scores as training did from its cache.
    assert f"through the engine: macro-F1 {metrics['macro_f1']:.3f}" in result.stderr


def test_all_networks_are_drawn_in_one_plot(songs: Path, cache: Path, tmp_path: Path):
    sets = [part for text in _SMALL[:3] for part in ("--set", text)]
    result = _run(
        "--data", songs, "--cache", cache, "--out", tmp_path / "run", "--protocol", "hindi-2022",
        "--weights", "none", "-m", "squeezenet", "-m", "mobilenetv3", "--epochs", 2, "--no-export", *sets,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "ours, since the paper leaves it open: the learning rate" in result.stderr
    assert "only the head is trained, over random weights" in result.stderr
    assert (tmp_path / "run" / "curves-random.png").exists()
    assert (tmp_path / "run" / "mobilenetv3" / "confusion.png").exists()


def test_killed_and_resumed_gives_the_same_network(songs: Path, cache: Path, tmp_path: Path):
    def command(out: str, *more: str) -> list[str]:
        arguments = _options(songs, cache, tmp_path / out, "--epochs", "6", "--no-export", *more)
        return [sys.executable, "-m", "merkit.training.cli", *arguments]

    subprocess.run(command("whole"), check=True, capture_output=True)
    killed = subprocess.Popen(command("killed"), stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert killed.stderr
    for line in killed.stderr:
        if line.startswith("epoch   3/6"):
            os.killpg(killed.pid, signal.SIGKILL)
            break
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "metrics.json").exists()
    refused = subprocess.run(command("killed"), capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.endswith("--resume goes on with it, --overwrite begins anew\n")
    resumed = subprocess.run(command("killed", "--resume"), check=True, capture_output=True, text=True)
    assert "goes on after epoch" in resumed.stderr
    assert "epoch   1/6" not in resumed.stderr
    whole, again = (load_file(tmp_path / out / "checkpoint.safetensors") for out in ("whole", "killed"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert (tmp_path / "whole" / "checkpoint.safetensors").read_bytes() == (
        tmp_path / "killed" / "checkpoint.safetensors"
    ).read_bytes()


def test_skipped_clips_are_counted_and_named(songs: Path, cache: Path, tmp_path: Path):
    text = (songs / "clips.csv").read_text()
    listed = tmp_path / "clips.csv"
    listed.write_text(text.replace("\ncalm/", f"\n{songs}/calm/").replace("\ntense/", f"\n{songs}/tense/"))
    with listed.open("a") as file:
        file.write("gone.wav,calm,nobody\n")
    given = _options(songs, cache, tmp_path / "run", "--epochs", 1, "--no-export")
    given[1] = str(listed)
    result = _run(*given)
    assert result.exit_code == 4, result.output
    assert f"skipped {tmp_path / 'gone.wav'}: cannot be read: No such file or directory" in result.stderr
    assert "1 clips could not be read and were left out" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ([], 2, "give --data FOLDER, or --download"),
        (["--data", "nowhere"], 1, "nowhere does not exist"),
        (["--data", "SONGS", "-m", "resnet9"], 2, "unknown backbone 'resnet9'"),
        (["--data", "SONGS", "--split", "grouped"], 2, "nothing is known of groups here"),
        (["--data", "SONGS", "--labels", "calm,happy"], 1, r"none of calm, happy: tense (20)"),
        (["--data", "SONGS", "--set", "speed=3"], 2, "--set speed: no such field; known: epochs"),
        (["--data", "SONGS", "--set", "mixup=much"], 2, "--set mixup=much: not a float"),
        (["--data", "SONGS", "--set", "loss=hinge"], 2, "--set loss=hinge: one of ce, bce"),
        (["--data", "SONGS", "--set", "audio.n_mels=0"], 1, "AudioSpec.n_mels must be above 0"),
        (["--data", "SONGS", "--preset", "mine"], 2, "unknown preset 'mine'"),
        (["--data", "SONGS", "--resume", "--overwrite"], 2, "contradict each other"),
        (["--data", "SONGS", "--final"], 2, "--final goes with --folds"),
        (["--data", "SONGS/calm"], 1, "holds no folders"),
        (["ensemble", "nothing.safetensors", "other.safetensors"], 2, "a checkpoint needs --data"),
    ],
)
def test_what_is_wrong_is_one_line(songs: Path, arguments: list[str], code: int, reason: str):
    result = _run(*(argument.replace("SONGS", str(songs)) for argument in arguments))
    assert result.exit_code == code
    assert reason in result.stderr
    assert "Traceback" not in result.output


def test_download_without_kagglehub_or_credentials(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    result = _run("--download")
    assert result.exit_code == 1
    assert "--download needs kagglehub: pip install 'merkit[download]'" in result.stderr

    class Kaggle:
        @staticmethod
        def dataset_download(name: str) -> str:
            raise RuntimeError("403 Client Error\nUser has no credentials")

    monkeypatch.setitem(sys.modules, "kagglehub", Kaggle)
    result = _run("--download")
    assert result.exit_code == 1
    assert (
        f"{download.DATASET} cannot be downloaded: 403 Client Error User has no credentials" in result.stderr
    )


def test_without_torch_it_says_what_to_install(songs: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(options: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(cli, "_protocol", missing)
    result = _run("--data", songs)
    assert result.exit_code == 1
    assert "training needs the package torch: pip install 'merkit[train]'" in result.stderr


def test_ctrl_c_is_130(songs: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_protocol", stop)
    result = _run("--data", songs)
    assert result.exit_code == 130
    assert "--resume goes on after the last whole epoch" in result.stderr


def test_the_table_goes_on_where_it_was(songs: Path, cache: Path, tmp_path: Path):
    results = tmp_path / "docs" / "RESULTS.md"
    results.parent.mkdir()
    results.write_text("# Results\n\nWords before.\n")
    given = [
        "table", "--data", songs / "clips.csv", "--cache", cache, "-m", "audiocnn", "-m", "mobilenetv3",
        "--epochs", 1, "--precision", "none", "--results", results, "--runs", tmp_path / "runs", *_FAST,
    ]  # fmt: skip
    result = _run(*given)
    assert result.exit_code == 0, result.output
    text = results.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| network", "| MobileNetV3-Small", "| AudioCNN (ours)"]
    assert text.startswith("# Results\n\nWords before.\n")
    assert "`mer-train table --data clips.csv --epochs 1" in text
    home = Path(os.environ["MER_HOME"]) / "models"
    assert {path.name for path in home.iterdir()} >= {
        "audiocnn.onnx",
        "audiocnn.safetensors",
        "audiocnn.json",
    }
    # A second call finds all done; a network that is not is said to be unfinished.
    (tmp_path / "runs" / "audiocnn" / "row.json").unlink()
    from merkit.training.runs import results_table as table

    real = table.train_split

    def killed(job: Job, *arguments: Any) -> Outcome:
        return sys.exit(9) if job.model == "audiocnn" else real(job, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "train_split", killed)
        assert _run(*given).exit_code == 9
    assert "| AudioCNN (ours) | trained, not yet scored |" in results.read_text()
    assert _run(*given).exit_code == 0
    assert results.read_text() == text
    # A row of another recipe does not stand for this one's.
    other = _run(*given, "--set", "mixup=0")
    assert other.exit_code == 1
    assert "mobilenetv3 holds another training" in other.output
    assert results.read_text() == text
