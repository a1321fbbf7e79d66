"""Node by node: is a QDQ graph what TensorRT fuses, and is everything else left alone?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

FP32_OPS = {"ReduceMean"}


def types_of(model: ModelProto) -> dict[str, int]:
    """Tensor name to element type, by shape inference."""
    shaped = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    values = [*shaped.graph.value_info, *shaped.graph.input, *shaped.graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def check_fp16(model: ModelProto) -> None:
    """FP32 in and out; Conv and Gemm wholly FP16; global means FP32; nothing else FP32 but casts."""
    types = types_of(model)
    assert types["images"] == types["logits"] == TensorProto.FLOAT
    for node in model.graph.node:
        kinds = {types[name] for name in (*node.input, *node.output) if name}
        if node.op_type in ("Conv", "Gemm"):
            assert kinds == {TensorProto.FLOAT16}, node.name
        elif node.op_type in FP32_OPS:
            assert TensorProto.FLOAT16 not in kinds, node.name
        elif node.op_type != "Cast":
            assert TensorProto.FLOAT not in kinds, (node.name, node.op_type)


def check_int8(model: ModelProto, source: ModelProto) -> int:
    """Asserts the placement that export/precision.py promises; returns the number of quantized layers."""
    types = types_of(model)
    assert types["images"] == types["logits"] == TensorProto.FLOAT
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    left_out = _left_out(source)
    layers = 0
    for node in model.graph.node:
        dequantized = [
            producers[name] if name in producers and producers[name].op_type == "DequantizeLinear" else None
            for name in node.input
        ]
        if node.op_type in ("Conv", "Gemm"):
            if node.name in left_out:
                assert not any(dequantized), f"{node.name} is depthwise or squeeze-excite, yet quantized"
                continue
            _check_layer(node, dequantized, producers, constants, types)
            layers += 1
        elif node.op_type == "Add" and any(
            producers[n].op_type == "Conv" for n in node.input if n in producers
        ):
            # Only residual adds: VGG16's adaptive pooling is exported as slices and Adds too.
            assert sum(side is not None for side in dequantized) == 1, f"{node.name}: not fusable"
        else:
            assert not any(dequantized) or node.op_type in ("QuantizeLinear",), (
                f"{node.op_type} {node.name} reads int8"
            )
    for node in model.graph.node:
        _check_type(node, types)
    return layers


def _left_out(source: ModelProto) -> set[str]:
    """Names of the depthwise convolutions and of those in squeeze-excite."""
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(source).graph.value_info
    }
    convolutions = [node for node in source.graph.node if node.op_type == "Conv"]
    return {
        node.name
        for node in convolutions
        if _attribute(node, "group", 1) > 1 or shapes.get(node.output[0], [0, 0, 0, 0])[2:] == [1, 1]
    }


def _check_layer(
    node: NodeProto,
    dequantized: Sequence[NodeProto | None],
    producers: Mapping[str, NodeProto],
    constants: Mapping[str, np.ndarray[Any, Any]],
    types: Mapping[str, int],
) -> None:
    """One Conv or Gemm: symmetric int8 data and weights, one scale an output channel, an FP16 bias."""
    data, weight = dequantized[:2]
    assert data is not None, f"{node.name}: its data is not quantized"
    assert weight is not None, f"{node.name}: its weights are not quantized"
    stored = constants[weight.input[0]]
    assert stored.dtype == np.int8, f"{node.name}: weights are stored as {stored.dtype}"
    scale, zero = constants[weight.input[1]], constants[weight.input[2]]
    axis = _attribute(weight, "axis", None)
    transposed = node.op_type == "Conv" or _attribute(node, "transB", 0)
    assert axis == (0 if transposed else 1)
    assert scale.shape == (stored.shape[axis],), f"{node.name}: not one scale an output channel"
    assert not zero.any(), f"{node.name}: weights are not symmetric"
    assert (scale.astype(np.float64) > 0).all()
    quantize = producers[data.input[0]]
    assert quantize.op_type == "QuantizeLinear"
    assert constants[data.input[1]].shape == ()
    assert not constants[data.input[2]].any(), f"{node.name}: activations are not symmetric"
    assert types[quantize.output[0]] == TensorProto.INT8
    assert len(dequantized) < 3 or dequantized[2] is None, f"{node.name}: its bias is quantized"
    bias = node.input[2:]
    assert not bias or types[bias[0]] == TensorProto.FLOAT16, f"{node.name}: its bias is FP32"


def _check_type(node: NodeProto, types: Mapping[str, int]) -> None:
    if node.op_type in FP32_OPS:
        assert {types[node.output[0]], types[node.input[0]]} == {TensorProto.FLOAT}
    elif node.op_type not in ("Cast", "QuantizeLinear"):
        assert types[node.output[0]] != TensorProto.FLOAT, f"{node.op_type} {node.name} is FP32"


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)
