"""Graphs in torch give ONNX Runtime's logits: the bundled networks, and one with every kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from merkit.engine.artifact import known_models
from onnx import TensorProto, helper, numpy_helper
from small_networks import AUDIO, small_network

torch = pytest.importorskip("torch")


def both(content: bytes, images: np.ndarray, precision: str = "fp32") -> tuple[np.ndarray, np.ndarray]:
    """Logits by torch, and by ONNX Runtime; further outputs stand beside them."""
    from merkit.benchmarks.experiments.gpu_checks.onnx_in_torch import OnnxInTorch

    network = OnnxInTorch(content, "cpu", "fp16" if precision == "fp16" else "fp32")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    ours = network(torch.from_numpy(images))
    assert list(ours) == [output.name for output in session.get_outputs()]
    assert network.outputs == {name: value.shape[1] for name, value in ours.items()}
    expected = [np.asarray(each) for each in session.run(None, {"images": images})]
    return np.hstack([value.numpy() for value in ours.values()]), np.hstack(expected)


@pytest.mark.parametrize("name", sorted(known_models()))
def test_the_bundled_networks(name: str) -> None:
    content = known_models()[name].read_bytes()
    shape = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim
    images = np.random.default_rng(0).standard_normal((2, *(dim.dim_value for dim in shape[1:])))
    ours, expected = both(content, images.astype(np.float32))
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_every_structure_of_a_small_network() -> None:
    content = small_network().SerializeToString()
    images = np.random.default_rng(1).standard_normal((3, 1, AUDIO.n_mels, AUDIO.frames)).astype(np.float32)
    ours, expected = both(content, images)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    half, _ = both(content, images, "fp16")
    assert not np.array_equal(half, ours)  # it was computed in FP16
    np.testing.assert_allclose(half, expected, atol=0.02 * np.abs(expected).max())


def graph_of(
    operator: str,
    images: list[int],
    weights: dict[str, np.ndarray],
    order: tuple[str, ...] = (),
    **attributes: Any,
) -> onnx.ModelProto:
    """One operator, its result summed to two columns by a product."""
    nodes = [
        helper.make_node(operator, order or ["images", *weights], ["x"], **attributes),
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("ReduceMean", ["flat", "axes"], ["mean"], keepdims=1),
        helper.make_node("MatMul", ["mean", "columns"], ["logits"]),
    ]
    tensors = {**weights, "axes": np.array([1]), "columns": np.array([[1.0, -2.0]], np.float32)}
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *images])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


KERNEL = np.random.default_rng(2).standard_normal((4, 1, 3, 3)).astype(np.float32)
CASES: dict[str, Callable[[], onnx.ModelProto]] = {
    "uneven pads": lambda: graph_of("Conv", [1, 9, 9], {"w": KERNEL}, pads=[0, 1, 2, 1], strides=[2, 1]),
    "a pad": lambda: graph_of(
        "Pad", [1, 8, 8], {"p": np.array([0, 0, 0, 1, 0, 0, 2, 0]), "v": np.array(-10, np.float32)}
    ),
    "dilation": lambda: graph_of("Conv", [1, 9, 9], {"w": KERNEL}, dilations=[2, 2]),
    "max, rounded up": lambda: graph_of(
        "MaxPool", [1, 8, 8], {}, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
    ),
    "max, padded": lambda: graph_of("MaxPool", [1, 8, 8], {}, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "mean": lambda: graph_of("AveragePool", [1, 8, 8], {}, kernel_shape=[2, 4], strides=[2, 2]),
    "part": lambda: graph_of(
        "Slice", [1, 8, 8], {name: np.array([at]) for name, at in (("s", 1), ("e", -1), ("a", 3), ("t", 2))}
    ),
    "limits": lambda: graph_of(
        "Clip", [1, 8, 8], {"low": np.array(-0.5, np.float32), "high": np.array(0.25, np.float32)}
    ),
    "one place": lambda: graph_of("Gather", [1, 8, 8], {"i": np.array(3)}, axis=2),
    "places": lambda: graph_of("GatherND", [1, 8, 8], {"i": np.array([[[1, 0, 3]], [[0, 0, 7]]])}),
    "choice": lambda: graph_of(
        "Where",
        [1, 8, 8],
        {"c": np.arange(8) % 3 == 0, "zero": np.array(0, np.float32)},
        order=("c", "zero", "images"),
    ),
    "shape": lambda: graph_of("Reshape", [1, 8, 8], {"shape": np.array([0, 4, -1])}),
}


@pytest.mark.parametrize("case", CASES)
def test_operators(case: str) -> None:
    model = CASES[case]()
    sizes = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    images = np.random.default_rng(3).standard_normal((2, *sizes)).astype(np.float32)
    ours, expected = both(model.SerializeToString(), images)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_an_operator_that_is_not_here() -> None:
    with pytest.raises(NotImplementedError, match="LRN"):
        both(graph_of("LRN", [1, 8, 8], {}, size=3).SerializeToString(), np.zeros((1, 1, 8, 8), np.float32))
