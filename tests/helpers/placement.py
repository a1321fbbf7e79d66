"""Node by node: is a QDQ graph what TensorRT fuses, and is everything else left alone?"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

FP32_OPS = {"ReduceMean"}


def types_of(model: ModelProto) -> dict[str, int]:
    """Tensor name to element type, as shape inference finds it."""
    shaped = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    values = [*shaped.graph.value_info, *shaped.graph.input, *shaped.graph.output]
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


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
    """The placement that export/precision.py promises; gives the number of quantized layers."""
    makers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    types = types_of(model)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(source).graph.value_info
    }

    def dequantized(name: str) -> onnx.NodeProto | None:
        maker = makers.get(name)
        return maker if maker is not None and maker.op_type == "DequantizeLinear" else None

    layers = 0
    originals = {node.name: node for node in source.graph.node}
    for node in model.graph.node:
        fed = [dequantized(name) for name in node.input]
        if node.op_type in ("Conv", "Gemm"):
            group = next((a.i for a in node.attribute if a.name == "group"), 1)
            made = originals[node.name].output[0]
            squeezed = node.op_type == "Conv" and shapes.get(made, [0, 0, 0, 0])[2:] == [1, 1]
            if group > 1 or squeezed:
                assert not any(fed), f"{node.name} is depthwise or squeeze-excite, yet quantized"
                continue
            data, weight = fed[0], fed[1]
            assert data is not None, f"{node.name}: its data is not quantized"
            assert weight is not None, f"{node.name}: its weights are not quantized"
            layers += 1
            stored = constants[weight.input[0]]
            assert stored.dtype == np.int8, f"{node.name}: weights are stored as {stored.dtype}"
            scale, zero = constants[weight.input[1]], constants[weight.input[2]]
            axis = next(a.i for a in weight.attribute if a.name == "axis")
            transposed = node.op_type == "Conv" or any(a.name == "transB" and a.i for a in node.attribute)
            assert axis == (0 if transposed else 1)
            assert scale.shape == (stored.shape[axis],), f"{node.name}: not one scale an output channel"
            assert not zero.any(), f"{node.name}: weights are not symmetric"
            assert (scale.astype(np.float64) > 0).all()
            quantize = makers[data.input[0]]
            assert quantize.op_type == "QuantizeLinear"
            assert constants[data.input[1]].shape == ()
            assert not constants[data.input[2]].any(), f"{node.name}: activations are not symmetric"
            assert types[quantize.output[0]] == TensorProto.INT8
            assert len(fed) < 3 or fed[2] is None, f"{node.name}: its bias is quantized"
            bias = node.input[2:]
            assert not bias or types[bias[0]] == TensorProto.FLOAT16, f"{node.name}: its bias is FP32"
        elif node.op_type == "Add" and any(makers[n].op_type == "Conv" for n in node.input if n in makers):
            # Only residual adds: VGG16's adaptive pooling is exported as slices and Adds too.
            assert [each is not None for each in fed].count(True) == 1, f"{node.name}: not fusable"
        else:
            assert not any(fed) or node.op_type in ("QuantizeLinear",), (
                f"{node.op_type} {node.name} reads int8"
            )
    kinds = types_of(model)
    for node in model.graph.node:
        if node.op_type in FP32_OPS:
            assert {kinds[node.output[0]], kinds[node.input[0]]} == {TensorProto.FLOAT}
        elif node.op_type not in ("Cast", "QuantizeLinear"):
            assert kinds[node.output[0]] != TensorProto.FLOAT, f"{node.op_type} {node.name} is FP32"
    assert types["images"] == types["logits"] == TensorProto.FLOAT
    return layers
