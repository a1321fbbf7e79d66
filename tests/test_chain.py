"""The whole road on the papers' own labels: a data set's folders to a network, an engine and rows."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_files import Samples
from merkit.engine.artifact import open_artifact
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.labelling.song_label import song_probabilities
from merkit.training.networks.checkpoint import network_from_checkpoint

pytestmark = pytest.mark.timeout(900)  # a minute of CPU each, on machines that may be busy

_SHORT = "audio.window_samples=11264", "audio.frames=23", "audio.n_mels=32"


def _command(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a user calls it, with one thread for its small network."""
    module = {"train": "training", "export": "export", "label": "engine", "bench": "benchmarks"}[name]
    words = [sys.executable, "-m", f"merkit.{module}.cli", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def _sets(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--set", text)]


def _tones(pitches: np.ndarray, seconds: float, rate: int, seed: int, beat_s: float = 0.5) -> Samples:
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * pitch * times + rng.uniform(0, 6)) for pitch in pitches)
    struck = np.exp(-2 * (times % beat_s) / beat_s)
    return (0.1 * sound * struck + 0.01 * rng.standard_normal(len(times))).astype(np.float32)


def _mer500(root: Path) -> Path:
    """Five classes as the Kaggle archive unpacks, each with a register and a pace of its own."""
    for place, name in enumerate(("Sad", "Romantic", "Devotional", "Party", "Happy")):
        folder = root / name / name
        folder.mkdir(parents=True)
        for i in range(5):
            pitches = 150.0 * 2**place * (1 + 0.02 * i) * np.asarray([1, 1.25, 1.5])
            sound = _tones(pitches, 1.5, 16_000, i, 1 / (1 + place))
            soundfile.write(folder / f"{name.lower()}{i}.wav", sound, 16_000)
    return root


def _jumusemodb(root: Path) -> Path:
    """Recordings each with pitches of its own, and labels drawn by lot: nothing to learn but by heart."""
    rng = np.random.default_rng(5)
    for i in range(24):
        folder = root / ("Happy", "Sad")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        sound = _tones(rng.uniform(200, 6_000, 3), 3.0, 44_100, i)
        soundfile.write(folder / f"raga{i}.wav", sound, 44_100)
    return root


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def _exported(checkpoint: Path, out: Path, labels: tuple[str, ...]) -> Path:
    """The FP16 ONNX of a checkpoint, beside the engine that TensorRT for RTX compiled for Ada."""
    _command("export", checkpoint, "--fp16", "--builder", "rtx", "--gpu", "ada", "-o", f"{out}/")
    (engine,) = out.glob("*_ada_fp16.engine")
    assert engine.stat().st_size > 100_000
    assert json.loads(engine.with_suffix(".json").read_text())["model_spec"]["labels"] == list(labels)
    (onnx,) = out.glob("*_fp16.onnx")
    assert open_artifact(str(onnx)).spec.labels == labels
    return onnx


def test_mer500_to_an_engine_and_rows(tmp_path: Path):
    pytest.importorskip("tensorrt_rtx")
    data, run = _mer500(tmp_path / "mer500"), tmp_path / "run"
    _command(
        "train", "--data", data, "--protocol", "hindi-2022", "--weights", "none", "--layers", "all",
        "-m", "resnet18", "--epochs", 3, "--no-export", "--out", run, *_sets(*_SHORT, "batch_size=5"),
    )  # fmt: skip
    labels = ("sad", "romantic", "devotional", "party", "happy")
    onnx = _exported(run / "checkpoint.safetensors", tmp_path / "models", labels)
    _command("label", data, "--model", onnx, "--windows", 1, "--out", tmp_path / "labels.csv")

    rows = _rows(tmp_path / "labels.csv")
    columns = [f"p_{label}" for label in labels]
    assert [name for name in rows[0] if name.startswith("p_")] == columns
    assert len(rows) == 25
    assert {row["status"] for row in rows} == {"ok"}
    said = {Path(row["path"]).stem: np.asarray([float(row[name]) for name in columns]) for row in rows}
    assert all(abs(p.sum() - 1) < 1e-4 for p in said.values())
    # The FP16 file gives each row what the checkpoint gives for the same window's log-mel, up to rounding.
    network, spec = network_from_checkpoint(run / "checkpoint.safetensors")
    for path in sorted(data.rglob("*.wav")):
        log_mel = log_mels_from_file(str(path), WindowOptions(spec.audio, windows=1)).log_mels
        with torch.inference_mode():
            logits = network(torch.from_numpy(log_mel)).numpy()
        expected = song_probabilities(logits, spec.temperature)
        np.testing.assert_allclose(said[path.stem], expected, atol=0.005)
    with np.load(run / "logits.npz") as kept:
        # Training heard of its test clips what labelling hears.
        assert len(set(kept["ids"].tolist())) == len(kept["logits"]) == 5
        for name, logits in zip(kept["names"].tolist(), kept["logits"], strict=True):
            expected = song_probabilities(logits[None], spec.temperature)
            np.testing.assert_allclose(said[Path(name).stem], expected, atol=0.005)
    right = sum(Path(row["path"]).stem.rstrip("01234") == row["emotion"] for row in rows)
    assert right > 12  # chance is 5; a network that says the same of everything has 5

    # The table of that folder: the FP16 file measured and scored on the same clips.
    out = tmp_path / "results.json"
    _command(
        "bench", "--models", onnx.parent, "--model", onnx.stem, "--runtime", "onnxruntime", "--quick",
        "--data", data, "--songs", data, "--logs", tmp_path / "logs", "--json", out,
        "--html", tmp_path / "report.html",
    )  # fmt: skip
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["status"], row["precision"], row["labels"]) == ("ok", "fp16", list(labels)), row["reason"]
    assert row["throughput"] > 0
    assert sum(map(sum, row["confusion"])) == 5  # the clips it was not trained on
    assert onnx.stem in (tmp_path / "report.html").read_text()


def test_jumusemodb_at_random_reads_what_it_knows_by_heart(tmp_path: Path):
    pytest.importorskip("tensorrt_rtx")
    data, run = _jumusemodb(tmp_path / "jumusemodb"), tmp_path / "run"
    done = _command(
        "train", "--data", data, "--protocol", "icm-2020", "--weights", "none", "-m", "resnet18",
        "--epochs", 6, "--test", 0.25, "--no-export", "--out", run,
        *_sets("audio.window_samples=11264", "audio.frames=23", "audio.n_mels=32"),
    )  # fmt: skip
    assert "random split, as the papers made it" in done.stderr
    assert "grouped split by recording" in done.stderr
    # Labels drawn by lot cannot be heard in an unheard recording; a random split of pieces hides that.
    gap = re.search(
        r"gap, resnet18: by window, random split (\S+) accuracy .* grouped (\S+) and", done.stderr
    )
    assert gap, done.stderr
    assert float(gap[1]) > float(gap[2]) + 0.2
    onnx = _exported(run / "grouped" / "checkpoint.safetensors", tmp_path / "models", ("happy", "sad"))
    _command("label", data, "--model", onnx, "--out", tmp_path / "labels.csv")
    rows = _rows(tmp_path / "labels.csv")
    assert len(rows) == 24
    assert {row["status"] for row in rows} == {"ok"}
    assert [name for name in rows[0] if name.startswith("p_")] == ["p_happy", "p_sad"]

    out = tmp_path / "results.json"
    _command(
        "bench", "--models", onnx.parent, "--model", onnx.stem, "--runtime", "onnxruntime", "--quick",
        "--data", data, "--songs", data, "--logs", tmp_path / "logs", "--json", out,
    )  # fmt: skip
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["status"], row["labels"]) == ("ok", ["happy", "sad"]), row["reason"]
    assert row["throughput"] > 0
    assert sum(map(sum, row["confusion"])) == 6  # a quarter of the recordings
