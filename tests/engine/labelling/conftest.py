"""Songs of all kinds and a small model, for all backends."""

from __future__ import annotations

from pathlib import Path

import pytest
from audio_files import chirp, noise, write_audio
from gpu_on_cpu import SPEC
from merkit.engine.artifact import Artifact, open_artifact
from onnx_files import tiny_onnx


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "small.onnx"
    path.write_bytes(tiny_onnx(SPEC).SerializeToString())
    return open_artifact(str(path))


@pytest.fixture
def mixed_songs(tmp_path: Path) -> list[str]:
    """Nine paths: a few seconds in several formats, and three that give no sound."""
    paths = []
    for number, suffix in enumerate([".wav", ".flac", ".mp3", ".ogg", ".wav", ".m4a"]):
        seconds = 2 + number
        samples = chirp(seconds, 22_050) if number % 2 else noise(seconds, 22_050, number)
        paths.append(str(write_audio(tmp_path / f"{number}{suffix}", samples, 22_050)))
    for name, content in (("bad.mp3", b"no song"), ("empty.wav", b"")):
        (tmp_path / name).write_bytes(content)
        paths.insert(2, str(tmp_path / name))
    return [*paths, str(tmp_path / "missing.mp3")]
