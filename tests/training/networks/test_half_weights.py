"""Weights in FP16: half the bytes, nearly the same logits, and FP32 weights again where they are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from merkit.benchmarks.measure.cases import precision_of
from merkit.engine.artifact import open_artifact, path_from_model
from merkit.engine.runtimes import open_runtime
from merkit.export.graph_costs import workload_from_onnx
from merkit.export.plain_graph import plain_from_onnx
from merkit.export.source import open_source
from merkit.training.networks.half_weights import with_half_weights
from merkit.training.networks.onnx_weights import network_from_onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.onnx"
    onnx.save(with_half_weights(onnx.load(path_from_model("audiocnn"))), path)
    return path


def test_it_is_half_as_large_and_gives_the_logits(half: Path):
    whole = path_from_model("audiocnn")
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    spec = open_artifact(str(whole)).spec
    audio = spec.audio
    log_mels = np.random.default_rng(5).normal(0, 1, (2, 1, audio.n_mels, audio.frames)).astype(np.float32)
    outputs = []
    for path in (whole, half):
        with open_runtime(open_artifact(str(path)), "onnxruntime", 1) as runtime:
            outputs.append(runtime.infer(log_mels))
    assert outputs[0].dtype == outputs[1].dtype == np.float32
    assert 0 < np.abs(outputs[0] - outputs[1]).max() < 0.01
    # It can be trained further, and exported as any FP32 network.
    network, _ = network_from_onnx(half)
    with torch.inference_mode():
        logits = network(torch.from_numpy(log_mels)).numpy()
    assert np.allclose(logits, outputs[1][:, : len(spec.labels)], atol=1e-3)
    content = half.read_bytes()
    costs = [workload_from_onnx(onnx.load(path)) for path in (whole, half)]
    assert (costs[0].params, costs[0].macs) == (costs[1].params, costs[1].macs)
    assert costs[0].weight_bytes == costs[1].weight_bytes
    assert precision_of(content) == "fp32"
    kinds = {tensor.data_type for tensor in open_source(str(half)).model().graph.initializer}
    assert TensorProto.FLOAT16 not in kinds


def of_weights(weights: np.ndarray) -> ModelProto:
    """A linear layer."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", len(weights)])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weights.shape[1]])
    node = helper.make_node("MatMul", ["images", "weights"], ["logits"], "linear")
    initializer = numpy_helper.from_array(weights, "weights")
    graph = helper.make_graph([node], "graph", [images], [logits], [initializer])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@given(st.floats(-7, 7), st.integers(0, 2**32 - 1))
def test_weights_are_off_by_a_rounding_at_most(power: float, seed: int):
    weights = np.random.default_rng(seed).normal(0, 10.0**power, (64, 32)).astype(np.float32)
    back = plain_from_onnx(with_half_weights(of_weights(weights)))
    (tensor,) = back.graph.initializer
    assert tensor.name == "weights"
    assert [node.op_type for node in back.graph.node] == ["MatMul"]
    found = numpy_helper.to_array(tensor)
    assert found.dtype == np.float32
    if np.abs(weights).max() > 65_519:
        assert np.array_equal(found, weights)  # beyond FP16
    else:
        assert (np.abs(found - weights) <= np.maximum(np.abs(weights) * 2.0**-11, 2.0**-25)).all()


def test_small_weights_stay():
    weights = np.ones((4, 3), np.float32)
    assert with_half_weights(of_weights(weights)) == of_weights(weights)
