"""A run is exported and its multiply-adds are counted; the engine scores it from audio files."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from merkit.engine.artifact import open_artifact
from merkit.engine.data.labelled_audio import LabelledAudio, labelled_audio
from merkit.engine.errors import MerError
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.training.networks.backbones import build_backbone
from merkit.training.networks.checkpoint import save_checkpoint
from merkit.training.runs import export_and_score as module
from merkit.training.runs.export_and_score import export_and_score, export_run, score_artifact
from merkit.training.runs.run_folder import CHECKPOINT, METRICS
from reading import labels_of
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


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run's folder with its .onnx."""
    folder = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(trained.run.folder, folder)
    export_run(folder, folder / "audiocnn.onnx")
    return folder


@pytest.mark.xdist_group("trained")
def test_the_file_says_of_whole_clips_what_training_said(exported: Path, trained: Trained, songs: Path):
    artifact = open_artifact(str(exported / "audiocnn.onnx"))
    kept = trained.run.predictions
    assert kept is not None
    labels = labels_of([str(songs / name) for name in kept.names], artifact)
    said = np.asarray([label.probabilities for label in labels])
    np.testing.assert_allclose(said, kept.by_song(artifact.spec.temperature), atol=1e-3)
    assert {len(logits) for logits in kept.logits} == {3}


def _changed(data: LabelledAudio, clips: dict[str, Path]) -> LabelledAudio:
    """The data with other files in the place of these clips, which keep their ids, as if read before."""
    moved = []
    for clip in data.clips:
        if clip.name in clips:
            identity = clip.id
            clip = dataclasses.replace(clip, path=clips[clip.name])
            object.__setattr__(clip, "id", identity)
        moved.append(clip)
    return dataclasses.replace(data, clips=tuple(moved))


@pytest.mark.xdist_group("trained")
def test_what_the_engine_refuses_is_left_out_and_said(
    exported: Path, trained: Trained, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = labelled_audio(songs / "clips.csv")
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(32_000, np.float32), 16_000)
    names = [trained.run.predictions.names[0]] if trained.run.predictions else []
    changed = _changed(data, dict.fromkeys(names, silent))
    score = score_artifact(exported / "audiocnn.onnx", changed)
    assert score is not None
    assert score.songs == len(trained.split.test) - 1
    ((path, reason),) = score.failed
    assert path == str(silent)
    assert "silent" in reason
    monkeypatch.setattr(module, "export_run", lambda *_: None)
    _, left_out, figures = export_and_score(exported, changed)
    assert left_out == f"left out, since the engine refuses it: {path}: {reason}"
    assert figures.endswith(f"on {score.songs} held-out songs")
    everything = dict.fromkeys((clip.name for clip in data.clips), silent)
    with pytest.raises(MerError, match=r"no clip that was held out .* can be labelled: .*silent"):
        score_artifact(exported / "audiocnn.onnx", _changed(data, everything))


@pytest.mark.xdist_group("trained")
def test_file_names_that_repeat_in_every_folder(
    exported: Path, trained: Trained, songs: Path, tmp_path: Path
):
    """calm/00.wav and tense/00.wav: a clip is its bytes, not its name."""
    for label in ("calm", "tense"):
        (tmp_path / label).mkdir()
        for number, path in enumerate(sorted((songs / label).iterdir())):
            shutil.copy(path, tmp_path / label / f"{number:02}.wav")
    repeated = score_artifact(exported / "audiocnn.onnx", labelled_audio(tmp_path))
    usual = score_artifact(exported / "audiocnn.onnx", labelled_audio(songs / "clips.csv"))
    assert repeated is not None
    assert usual is not None
    assert repeated.songs == usual.songs == len(trained.split.test)
    assert repeated.macro_f1 == usual.macro_f1


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
