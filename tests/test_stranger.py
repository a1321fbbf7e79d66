"""A stranger's data set with the faults of real ones, all at once: every command's figures must be true."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

_LABELS = ("sad", "romantic", "devotional", "party", "happy", "angry")
_RATE = 16_000


def _sound(label: int, artist: int, take: int, seconds: float = 4.0) -> np.ndarray:
    """Notes whose order is drawn for each clip: no two clips are alike."""
    rng = np.random.default_rng([label, artist, take])
    notes = 110.0 * (label + 1) * 2 ** (rng.integers(0, 12, 16) / 12)
    time = np.arange(int(seconds * _RATE / 16)) / _RATE
    melody = np.concatenate([np.sin(2 * np.pi * note * time) * np.exp(-6 * time) for note in notes])
    return (0.4 * melody + 0.02 * rng.standard_normal(len(melody))).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six labels of five artists with two clips each in a CSV, and what people's folders hold beside that."""
    folder = tmp_path_factory.mktemp("stranger")
    rows = []
    for number, label in enumerate(_LABELS):
        for artist in range(5):
            for take in range(2):
                name = f"{label}_{artist}_{take}.wav"
                soundfile.write(folder / name, _sound(number, artist, take), _RATE)
                # The same artist, as two people type the name.
                spelt = unicodedata.normalize("NFD" if take else "NFC", f"Ásha {label} {artist}") + " " * take
                rows.append((f"./{name}" if take else name, f"{label} " if take else label, spelt))
    copy = folder / "copy of party.wav"
    copy.write_bytes((folder / "party_0_0.wav").read_bytes())
    rows.append((copy.name, "party", "somebody else"))
    soundfile.write(folder / "again.mp3", _sound(1, 0, 0), _RATE)  # romantic_0_0 at another bitrate
    rows.append(("again.mp3", "romantic", "a collection"))
    soundfile.write(folder / "silent.wav", np.zeros(4 * _RATE, np.float32), _RATE)
    soundfile.write(folder / "short.wav", _sound(0, 9, 9)[:400], _RATE)
    (folder / "damaged.mp3").write_bytes(b"no audio at all" * 50)
    rows += [("silent.wav", "sad", "x"), ("short.wav", "sad", "y"), ("damaged.mp3", "happy", "z")]
    rows.append(rows[0])  # a row twice
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def trained(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("runs") / "run"
    done = _run(
        "training", "--model", "audiocnn", "--data", data, "--out", out, "--epochs", "1",
        "--set", "audio.window_samples=32000", "--set", "audio.frames=32", "--workers", "1",
    )  # fmt: skip
    return out, done


def _run(part: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"merkit.{part}.cli", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_training_names_what_it_leaves_out(
    data: Path, trained: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    out, done = trained
    said = done.stdout + done.stderr
    assert done.returncode == 4, said  # done, but some files failed
    for name in ("silent.wav", "short.wav", "damaged.mp3"):
        assert f"skipped {data.parent / name}" in said, said
    assert "copy of party.wav" in said
    metrics = _json(out / "metrics.json")
    assert len(metrics["skipped"]) == 3
    # 60 clips and the one at another bitrate; neither the copy nor the row that is there twice.
    split = metrics["split"]
    assert split["training"] + split["validation"] + split["test"] == 61
    assert sum(map(sum, metrics["confusion"])) == metrics["songs"] == split["test"]


def test_nothing_stands_on_both_sides(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, _ = trained
    with np.load(out / "logits.npz") as tested:
        names = set(tested["names"].tolist())
    # Both takes of an artist, however the name was typed; and the recording at both bitrates.
    for name in names - {"again.mp3"}:
        label, artist, _ = name.removesuffix(".wav").split("_")
        assert {f"{label}_{artist}_0.wav", f"{label}_{artist}_1.wav"} <= names
    assert ("again.mp3" in names) == ("romantic_0_0.wav" in names)


def test_every_command_scores_the_same_songs(
    data: Path, trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    out, done = trained
    songs = _json(out / "metrics.json")["songs"]
    assert f"on {songs} held-out songs" in done.stdout + done.stderr
    network = out / "audiocnn.onnx"
    exported = _run("export", network, "--fp16", "--format", "onnx", "--data", data, "--out", f"{tmp_path}/")
    assert exported.returncode == 0, exported.stderr
    assert f"{songs} held-out" in exported.stdout, exported.stdout
    measured = _run(
        "benchmarks", "--quick", "--models", out, "-m", f"{out.name}/audiocnn",
        "-r", "onnxruntime", "--data", data,
        "--scenario", "SingleStream", "--json", tmp_path / "o.json", "--logs", tmp_path / "logs",
        "--threads", "1",
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    scored = [row for row in _json(tmp_path / "o.json")["rows"] if row["source"] == "folder"]
    assert [sum(map(sum, row["confusion"])) for row in scored] == [songs]
