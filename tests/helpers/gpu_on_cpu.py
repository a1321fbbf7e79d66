"""The GPU's way of labelling, on DALI's CPU backend and ONNX Runtime."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from merkit.engine.artifact import Artifact
from merkit.engine.labelling.file_windows import WindowOptions
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.labelling.song_label import SongLabel
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import AudioSpec, ModelSpec
from merkit.engine.spectrogram.dali import DaliLogMel
from reading import OnCpu, labels_of

SPEC = ModelSpec(
    "tiny",
    ("happy", "tense", "sad", "calm"),
    AudioSpec(window_samples=16_000, frames=32, n_mels=32, n_fft=1_024),
)


def on_cpu(artifact: Artifact, number: int = 0, batch: int = 32) -> GpuPipeline:
    """What ``open_gpu_pipeline`` opens, without a GPU."""
    runtime = OnCpu(open_runtime(artifact, "onnxruntime", 1), batch)
    return GpuPipeline(runtime, lambda size: DaliLogMel(artifact.spec.audio, size, "cpu"))


def by_pipeline(
    paths: list[str],
    artifact: Artifact,
    batch: int = 32,
    stop: threading.Event | None = None,
    **made: Any,
) -> list[SongLabel]:
    """Labels by ``on_cpu``."""
    options = WindowOptions(SPEC.audio, **made)
    return labels_of(paths, artifact, options, network=on_cpu(artifact, batch=batch), stop=stop)


def by_reference(paths: list[str], artifact: Artifact, **made: Any) -> list[SongLabel]:
    """Labels by NumPy's log-mels and ONNX Runtime."""
    return labels_of(paths, artifact, WindowOptions(SPEC.audio, **made))


def assert_close(found: list[SongLabel], wanted: list[SongLabel]) -> None:
    """The same rows, up to float32's rounding in DALI."""
    assert [row.path for row in found] == [row.path for row in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.error, ours.emotion, ours.duration_s) == (
            theirs.error,
            theirs.emotion,
            theirs.duration_s,
        )
        assert [start for start, _ in ours.windows] == [start for start, _ in theirs.windows]
        for (_, p), (_, q) in zip(ours.windows, theirs.windows, strict=True):
            np.testing.assert_allclose(p, q, atol=1e-4)
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
