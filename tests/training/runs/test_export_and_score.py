"""A run is exported and its multiply-adds are counted; the engine scores it from audio files."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
from merkit.engine.data.labelled_audio import labelled_audio
from merkit.engine.errors import MerError
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.training.networks.backbones import build_backbone
from merkit.training.networks.checkpoint import save_checkpoint
from merkit.training.runs.export_and_score import export_and_score, export_run, score_artifact
from merkit.training.runs.run_folder import CHECKPOINT, METRICS
from small_training import Trained


@pytest.mark.xdist_group("trained")
def test_export_and_score(trained: Trained, songs: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(trained.run.folder, folder)
    data = labelled_audio(songs / "clips.csv")
    exported, scored = export_and_score(folder, data)
    assert exported.startswith(f"exported {folder / 'audiocnn.onnx'} (")
    metrics = json.loads((folder / METRICS).read_text())
    assert re.fullmatch(
        r"through the engine: macro-F1 \d.\d{3}, accuracy \d.\d{3}, calibration error \d.\d{3} "
        f"on {len(trained.split.test)} held-out songs",
        scored,
    )
    before = dict(trained.run.metrics)
    assert metrics == {**json.loads(json.dumps(before)), "macs": metrics["macs"]}
    assert metrics["macs"] > 1e6
    relabelled = dataclasses.replace(data, labels=data.labels[::-1])
    with pytest.raises(MerError, match="says calm, tense; the data has tense, calm"):
        score_artifact(folder / "audiocnn.onnx", relabelled)
    others = dataclasses.replace(data, clips=tuple(data.clips[i] for i in trained.split.training))
    assert score_artifact(folder / "audiocnn.onnx", others) is None


def test_multiply_adds_of_a_known_network(tmp_path: Path):
    labels = tuple(f"label {i}" for i in range(1_000))
    audio = AudioSpec(n_mels=224, frames=224, window_samples=223 * 1_024)
    save_checkpoint(
        build_backbone("mobilenetv3", 1_000), ModelSpec("mobilenetv3", labels, audio), tmp_path / CHECKPOINT
    )
    (tmp_path / METRICS).write_text("{}")
    export_run(tmp_path, tmp_path / "net.onnx")
    # torchvision: 0.06 GMACs with three channels.
    assert json.loads((tmp_path / METRICS).read_text())["macs"] == pytest.approx(56e6, rel=0.1)
