"""Which layers get which precision: FP16's limits, and what stands beside the layers that are int8."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from merkit.export.precision import (
    fp16_from_onnx,
    int8_from_onnx,
    layers_to_quantize,
    precision_by_op,
    qdq_from_onnx,
    tensors_to_quantize,
)
from onnx import ModelProto, TensorProto, helper, numpy_helper
from small_networks import AUDIO, Net, small_network


@pytest.mark.parametrize(("factor", "kinds"), [(-1e6, {"fp16": 8, "fp32": 1}), (-3e4, {"fp16": 9})])
def test_weights_are_as_large_as_they_were(factor: float, kinds: dict[str, int]) -> None:
    """All of a layer are negative here: their size counts as well."""
    model = small_network()
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == "res_1.weight")
    weights = numpy_helper.to_array(tensor)
    weights = (factor * (1 + np.abs(weights) / np.abs(weights).max())).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    converted = fp16_from_onnx(model)
    assert precision_by_op(converted)["Conv"] == kinds
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in converted.graph.initializer}
    (layer,) = [node for node in converted.graph.node if node.name == "res_1"]
    np.testing.assert_allclose(stored[layer.input[1]].astype(np.float32), weights, rtol=1e-3)


@pytest.mark.parametrize(
    "operator",
    ["ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "GlobalAveragePool", "Softmax", "LogSoftmax"],
)
def test_sums_of_many_values_stay_fp32(operator: str) -> None:
    """A CPU would not show that they overflow."""
    net = Net(0)
    total = net.op(operator, "total", net.conv("conv", "images", 1, 8, 3))
    table = precision_by_op(fp16_from_onnx(model_of(net, total)))
    assert (table[operator], table["Conv"]) == ({"fp32": 1}, {"fp16": 1})


def model_of(net: Net, last: str) -> ModelProto:
    net.nodes.append(helper.make_node("Relu", [last], ["logits"], name="last"))
    shape = ["batch", 1, AUDIO.n_mels, AUDIO.frames]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(net.nodes, "sums", [images], [logits], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1,), (1, 1), ()])
def test_a_gemm_is_quantized_with_a_bias_of_any_shape(shape: tuple[int, ...]) -> None:
    """Keras writes a row, and simplifiers fold scalars."""
    model = small_network()
    (bias,) = [tensor for tensor in model.graph.initializer if tensor.name == "head.bias"]
    values = np.broadcast_to(np.float32(30), shape)
    bias.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values).reshape(shape), bias.name))
    model = onnx.shape_inference.infer_shapes(model)
    ranges = dict.fromkeys(tensors_to_quantize(model, layers_to_quantize(model)), (-4.0, 4.0))
    converted = int8_from_onnx(model, ranges)
    assert precision_by_op(converted)["Gemm"] == {"int8": 1}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in converted.graph.initializer}
    np.testing.assert_array_equal(stored["head.bias"], values)


def test_a_layer_whose_bias_is_computed_is_not_quantized() -> None:
    model = small_network()
    (layer,) = [node for node in model.graph.node if node.name == "res_1"]
    model.graph.node.insert(0, helper.make_node("Neg", [layer.input[2]], ["computed"], name="bias"))
    layer.input[2] = "computed"
    assert "res_1" not in layers_to_quantize(onnx.shape_inference.infer_shapes(model))


def test_a_residual_is_one_in_either_order() -> None:
    model = small_network()
    layers = layers_to_quantize(model)
    tensors = tensors_to_quantize(model, layers)
    for node in model.graph.node:
        if node.op_type == "Add":
            node.input[0], node.input[1] = node.input[1], node.input[0]
    assert tensors_to_quantize(model, layers) == tensors


def test_beside_a_layer_that_is_kept_no_shortcut_is_quantized() -> None:
    """Nothing would be fused there."""
    model = small_network()
    layers = layers_to_quantize(model)
    without = tensors_to_quantize(model, [layer for layer in layers if layer != "res_2"])
    assert "res_down_out" in tensors_to_quantize(model, layers)
    assert "res_down_out" not in without


@pytest.mark.parametrize("operator", ["Concat", "Add"])
def test_what_no_layer_is_fused_with_reads_the_tensor_itself(operator: str) -> None:
    """int8 would only round there."""
    net = Net(0)
    first = net.op("Relu", "relu_1", net.conv("conv_1", "images", 1, 8, 3))
    second = net.op("Relu", "relu_2", net.conv("conv_2", first, 8, 8, 3))
    attributes = {"axis": 1} if operator == "Concat" else {}
    joined = net.op(operator, "joined", first, second, **attributes)
    model = model_of(net, net.conv("conv_3", joined, 16 if attributes else 8, 8, 3))
    ranges = dict.fromkeys(tensors_to_quantize(model, layers_to_quantize(model)), (-1.0, 1.0))
    nodes = {node.name: node for node in qdq_from_onnx(model, ranges).graph.node}
    assert list(nodes["joined"].input) == [first, second]
    assert nodes["conv_2"].input[0] != first
