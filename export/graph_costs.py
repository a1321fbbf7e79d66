"""What one input of a network costs by its graph: multiply-adds, weights, memory traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from .graph_edits import attribute

# These only rename a tensor, or a runtime folds them into the layer beside them.
_FREE = {
    "Cast", "Constant", "DequantizeLinear", "Dropout", "Flatten", "Identity", "QuantizeLinear", "Reshape",
    "Shape", "Squeeze", "Unsqueeze",
}  # fmt: skip
# A runtime computes these in registers at the end of the layer before: only their other inputs cost traffic.
_FUSED = {
    "Add", "BatchNormalization", "Clip", "Div", "HardSigmoid", "HardSwish", "Max", "Min", "Mul", "Relu",
    "Sigmoid", "Softmax", "Sub", "Tanh",
}  # fmt: skip
_NUMBERS = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT8
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One node: multiply-adds and activation bytes for one input, and the bytes of its weights."""

    name: str
    op: str
    macs: int
    weight_bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class Workload:
    """A network's costs for one input. ``params`` counts the graph's weights, batch norms folded in.

    ``macs`` are the multiply-adds of Conv, Gemm and MatMul, 2 FLOPs each. ``activation_bytes`` is
    what the layers read and write, elementwise operators fused into the layer before them.
    """

    params: int
    layers: tuple[Layer, ...]

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)


def workload_from_onnx(model: ModelProto) -> Workload:
    """Counts the costs of one input in the types that the graph has: FP16 and INT8 weigh less.

    The model is not changed; its batch may be dynamic.

    Raises:
        ValueError: a layer's shape cannot be inferred.
    """
    shaped = _at_batch_one(model)
    weights = {tensor.name: tensor for tensor in shaped.graph.initializer}
    for node in shaped.graph.node:
        if node.op_type == "Cast" and node.input[0] in weights:  # once, when the graph is loaded
            dims = weights[node.input[0]].dims
            weights[node.output[0]] = TensorProto(dims=dims, data_type=attribute(node, "to", 0))
    # The layer behind a DequantizeLinear reads the int8 numbers before it.
    stored = {
        node.output[0]: node.input[0] for node in shaped.graph.node if node.op_type == "DequantizeLinear"
    }
    values = [*shaped.graph.value_info, *shaped.graph.input, *shaped.graph.output]
    tensors = {value.name: _Tensor.from_value_info(value) for value in values}
    tensors |= {name: _Tensor(tuple(tensor.dims), tensor.data_type) for name, tensor in weights.items()}
    used: set[str] = set()
    layers = []
    for node in shaped.graph.node:
        if node.op_type in _FREE:
            continue
        inputs = [stored.get(name, name) for name in node.input if name]
        own_weights = [name for name in inputs if name in weights and weights[name].data_type in _NUMBERS]
        used.update(name for name in own_weights if tensors[name].shape)
        activations = [name for name in inputs if name not in weights]
        try:
            layers.append(
                Layer(
                    node.name,
                    node.op_type,
                    _macs(node, [tensors[name] for name in node.input[:2] if name], tensors[node.output[0]]),
                    sum(tensors[name].bytes for name in own_weights),
                    _traffic(node, [tensors[name] for name in activations], tensors[node.output[0]]),
                )
            )
        except KeyError as error:
            raise ValueError(
                f"the shape of {error} at {node.name} ({node.op_type}) cannot be inferred"
            ) from None
    return Workload(sum(tensors[name].count for name in used), tuple(layers))


@dataclass(frozen=True)
class _Tensor:
    """A tensor's shape and its ONNX element type."""

    shape: tuple[int, ...]
    element_type: int

    @classmethod
    def from_value_info(cls, value: onnx.ValueInfoProto) -> _Tensor:
        tensor = value.type.tensor_type
        # A size that depends on the data (none in a CNN's layers) counts as one.
        return cls(tuple(dim.dim_value or 1 for dim in tensor.shape.dim), tensor.elem_type)

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.count * helper.tensor_dtype_to_np_dtype(self.element_type).itemsize


def _macs(node: NodeProto, inputs: list[_Tensor], output: _Tensor) -> int:
    if node.op_type == "Conv":  # the weights are [outs, ins / group, *kernel]
        return output.count * math.prod(inputs[1].shape[1:])
    if node.op_type in ("Gemm", "MatMul"):
        shape = inputs[0].shape
        transposed = node.op_type == "Gemm" and attribute(node, "transA", 0)
        return output.count * shape[0 if transposed else -1]
    return 0


def _traffic(node: NodeProto, activations: list[_Tensor], output: _Tensor) -> int:
    """Bytes of activations that a node reads from memory and writes to it."""
    sizes = sorted(tensor.bytes for tensor in activations)
    if node.op_type not in _FUSED:
        return sum(sizes) + output.bytes
    if len(sizes) < 2:
        return 0
    if sizes[0] < sizes[-1]:
        # A gate with one value a channel depends on the whole input, which is therefore read a second time.
        return sizes[-1] + output.bytes
    # x * sigmoid(x) reads nothing more; a residual Add reads its shortcut.
    return 0 if node.op_type == "Mul" else sizes[0]


def _at_batch_one(model: ModelProto) -> ModelProto:
    """A copy at batch 1 with inferred shapes, without the values of big weights: shapes do not need them."""
    copy = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    copy.graph.CopyFrom(
        onnx.GraphProto(
            name="costs", node=model.graph.node, input=model.graph.input, output=model.graph.output
        )
    )
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) < 1_024:
            copy.graph.initializer.append(tensor)
        else:
            copy.graph.initializer.append(
                TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
            )
    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return onnx.shape_inference.infer_shapes(copy, data_prop=True)
