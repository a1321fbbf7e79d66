"""ONNX Runtime: the reference that the others are compared with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from merkit.engine.artifact import open_artifact
from merkit.engine.errors import ArtifactError
from merkit.engine.runtimes import open_runtime
from merkit.engine.runtimes.onnxruntime import OnnxRuntime
from merkit.engine.spec import ModelSpec
from onnx import helper, numpy_helper
from onnx_files import tiny_onnx


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


def test_its_own_log_stays_silent(tmp_path: Path, spec: ModelSpec, capfd: pytest.CaptureFixture[str]) -> None:
    """It would print names out of the file as they are; the error, which has them, is escaped when shown."""
    model = tiny_onnx(spec)
    model.graph.node[-1].output[0] = "plain"
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["images"], ["windows"], end=1),
            helper.make_node("Sub", ["windows", "three"], ["beyond"]),
            helper.make_node("Div", ["three", "beyond"], ["quotient"], name="\x1b]0;owned\x07"),
            helper.make_node("Cast", ["quotient"], ["scalar"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Add", ["plain", "scalar"], ["logits"]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([3]), "three"))
    path = tmp_path / "names.onnx"
    path.write_bytes(model.SerializeToString())
    with OnnxRuntime(open_artifact(str(path)), threads=1) as runtime:
        runtime.infer(log_mels(spec, 2))
        with pytest.raises(ArtifactError, match="division by zero"):
            runtime.infer(log_mels(spec, 3))
    assert capfd.readouterr() == ("", "")
