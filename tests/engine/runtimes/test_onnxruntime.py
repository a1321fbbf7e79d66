"""ONNX Runtime: the reference that the others are compared with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import ArtifactError
from merkit.engine.runtimes import open_runtime
from merkit.engine.runtimes.onnxruntime import OnnxRuntime
from merkit.engine.spec import ModelSpec


def log_mels(spec: ModelSpec, count: int) -> np.ndarray:
    shape = (count, 1, spec.audio.n_mels, spec.audio.frames)
    return np.random.default_rng(count).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("spinning", [False, True])
def test_the_graphs_logits(tiny_model: Path, spec: ModelSpec, spinning: bool) -> None:
    session = onnxruntime.InferenceSession(tiny_model.read_bytes(), providers=["CPUExecutionProvider"])
    with OnnxRuntime(open_artifact(str(tiny_model)), threads=1, spinning=spinning) as runtime:
        assert runtime.name == "onnxruntime"
        for count in (1, 5):
            batch = log_mels(spec, count)
            (expected,) = session.run(["logits"], {"images": batch})
            logits = runtime.infer(batch)
            assert logits.shape == (count, len(spec.labels))
            assert logits.dtype == np.float32
            np.testing.assert_allclose(logits, np.asarray(expected), rtol=1e-5, atol=1e-6)


def test_a_graph_that_it_does_not_know(tiny_model: Path) -> None:
    artifact = open_artifact(str(tiny_model))
    with pytest.raises(ArtifactError, match="ONNX Runtime refuses it"):
        open_runtime(dataclasses.replace(artifact, content=b"no graph"))
