"""ONNX Runtime: the reference that the others are compared with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from half_transformer import half_transformer
from merkit.engine.artifact import known_models, open_artifact
from merkit.engine.errors import ArtifactError
from merkit.engine.runtimes import open_runtime
from merkit.engine.runtimes.onnxruntime import OnnxRuntime, passes_to_leave_out
from merkit.engine.runtimes.trial import check_by_trial
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
        for count in (0, 1, 5):
            batch = log_mels(spec, count)
            (expected,) = session.run(["logits"], {"images": batch})
            logits = runtime.infer(batch)
            assert logits.shape == (count, len(spec.labels))
            assert logits.dtype == np.float32
            np.testing.assert_allclose(logits, np.asarray(expected), rtol=1e-5, atol=1e-6)
        runtime.close()  # and again at the end


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
            helper.make_node("Gather", ["three", "windows"], ["picked"], name="\x1b]0;owned\x07"),
            helper.make_node("Add", ["plain", "picked"], ["logits"]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "three"))
    path = tmp_path / "names.onnx"
    path.write_bytes(model.SerializeToString())
    with OnnxRuntime(open_artifact(str(path)), threads=1) as runtime:
        runtime.infer(log_mels(spec, 2))
        with pytest.raises(ArtifactError, match="out of data bounds"):
            runtime.infer(log_mels(spec, 3))
    assert capfd.readouterr() == ("", "")


def test_a_transformer_in_fp16_is_computed(tmp_path: Path) -> None:
    """In a child process first, which a crash would end."""
    path = tmp_path / "half.onnx"
    path.write_bytes(half_transformer().SerializeToString())
    artifact = open_artifact(str(path))
    check_by_trial(artifact, "onnxruntime")
    batch, options = log_mels(artifact.spec, 3), onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    as_written = onnxruntime.InferenceSession(artifact.content, options, providers=["CPUExecutionProvider"])
    with open_runtime(artifact) as runtime:
        expected = np.asarray(as_written.run(None, {"images": batch})[0])
        np.testing.assert_allclose(runtime.infer(batch), expected, rtol=1e-2, atol=1e-2)


def stored_in_fp16(as_constants: bool) -> onnx.ModelProto:
    """Weights that are FP16 in the file and FP32 in every operator, which the loader folds."""
    model = half_transformer()
    half = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    model.graph.node[0].op_type = "Identity"
    del model.graph.node[0].attribute[:]
    for node in model.graph.node:
        node.input[:] = [f"{name} in FP32" if name in half else name for name in node.input]
    for name in reversed(half):
        cast = helper.make_node("Cast", [name], [f"{name} in FP32"], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
    if as_constants:
        for name, tensor in half.items():
            model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
            model.graph.initializer.remove(tensor)
    onnx.checker.check_model(model)
    return model


def without_transpose(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        if node.op_type == "Transpose":
            node.op_type = "Identity"
            del node.attribute[:]
    return model


def test_only_graphs_that_could_crash_lose_the_pass_that_makes_convolutions_fast() -> None:
    models = [half_transformer(), *map(stored_in_fp16, (False, True)), without_transpose(half_transformer())]
    left_out = [passes_to_leave_out(model.SerializeToString()) for model in models]
    assert left_out == [["NchwcTransformer"], [], [], []]
    bundled = [path for path in known_models().values() if path.parent.parent.name == "engine"]
    assert len(bundled) >= 5
    assert [passes_to_leave_out(path.read_bytes()) for path in bundled] == [[]] * len(bundled)
