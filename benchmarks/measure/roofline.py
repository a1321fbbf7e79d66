"""What a network costs by its graph, and how close to the machine's own limits it runs.

The roofline of Williams, Waterman and Patterson (2009): nothing runs faster than its arithmetic at the
machine's peak, nor than its traffic at the memory's bandwidth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

# They rename, or are folded into what they stand at.
_FREE = {
    "Cast", "Constant", "DequantizeLinear", "Dropout", "Flatten", "Identity", "QuantizeLinear", "Reshape",
    "Shape", "Squeeze", "Unsqueeze",
}  # fmt: skip
# Computed in registers at the end of the layer before: only what else they read costs traffic.
_FUSED = {
    "Add", "BatchNormalization", "Clip", "Div", "HardSigmoid", "HardSwish", "Max", "Min", "Mul", "Relu",
    "Sigmoid", "Softmax", "Sub", "Tanh",
}  # fmt: skip
_NUMBERS = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT8
)  # fmt: skip
_OVERHEAD = 0.1  # of the roofline: below it neither arithmetic nor memory is what takes the time


@dataclass(frozen=True)
class Layer:
    """One node: multiply-adds and activation bytes of one image, its weights' bytes."""

    name: str
    op: str
    macs: int
    weight_bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class Workload:
    """A network's costs for one image. ``params`` counts the graph's weights, batch norms folded in.

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

    def bytes_an_image(self, batch: int = 1) -> float:
        """Weights are read once a batch, activations for every image."""
        return self.weight_bytes / batch + self.activation_bytes


def workload_from_onnx(model: ModelProto) -> Workload:
    """Counts one image's costs in the types that the graph has: FP16 and INT8 weigh less.

    The model is not changed; its batch may be dynamic.

    Raises:
        ValueError: a layer's shape cannot be inferred.
    """
    shaped = _at_batch_one(model)
    weights = {tensor.name: tensor for tensor in shaped.graph.initializer}
    # The layer behind a DequantizeLinear reads the int8 numbers before it.
    stored = {
        node.output[0]: node.input[0] for node in shaped.graph.node if node.op_type == "DequantizeLinear"
    }
    values = [*shaped.graph.value_info, *shaped.graph.input, *shaped.graph.output]
    tensors = {value.name: _Tensor.of_value(value) for value in values}
    tensors |= {name: _Tensor(tuple(tensor.dims), tensor.data_type) for name, tensor in weights.items()}
    used: set[str] = set()
    layers = []
    for node in shaped.graph.node:
        if node.op_type in _FREE:
            continue
        inputs = [stored.get(name, name) for name in node.input if name]
        mine = [name for name in inputs if name in weights and weights[name].data_type in _NUMBERS]
        used.update(name for name in mine if tensors[name].shape)
        read = [name for name in inputs if name not in weights]
        try:
            layers.append(
                Layer(
                    node.name,
                    node.op_type,
                    _macs(node, [tensors[name] for name in node.input[:2] if name], tensors[node.output[0]]),
                    sum(tensors[name].bytes for name in mine),
                    _traffic(node, [tensors[name] for name in read], tensors[node.output[0]]),
                )
            )
        except KeyError as error:
            raise ValueError(
                f"the shape of {error} at {node.name} ({node.op_type}) cannot be inferred"
            ) from None
    return Workload(sum(tensors[name].count for name in used), tuple(layers))


def share_of_roofline(
    workload: Workload, machine: Mapping[str, Any], precision: str, batch: int, throughput: float
) -> tuple[float, str]:
    """The share of what the machine allows, and what binds: "compute", "memory" or "overhead".

    Traffic is the least there can be: weights once a batch and no activation that fits the last-level
    cache; weights that fit stay there too.
    """
    cache = machine.get("cache_mib", 0) * 2**20
    weights = workload.weight_bytes / batch if workload.weight_bytes > cache else 0
    spilled = sum(
        layer.activation_bytes for layer in workload.layers if layer.activation_bytes * batch > cache
    )
    peak = machine["gemm_int8_gops"] if precision == "int8" else machine["gemm_gflops"]
    compute_s = 2 * workload.macs / (peak * 1e9)
    memory_s = (weights + spilled) / (machine["bandwidth_gbs"] * 1e9)
    share = max(compute_s, memory_s) * throughput
    if share < _OVERHEAD:
        return share, "overhead"
    return share, "compute" if compute_s >= memory_s else "memory"


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    kind: int

    @classmethod
    def of_value(cls, value: onnx.ValueInfoProto) -> _Tensor:
        kind = value.type.tensor_type
        # A size that depends on the data (none in a CNN's layers) counts as one.
        return cls(tuple(dim.dim_value or 1 for dim in kind.shape.dim), kind.elem_type)

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.count * helper.tensor_dtype_to_np_dtype(self.kind).itemsize


def _macs(node: NodeProto, inputs: list[_Tensor], output: _Tensor) -> int:
    if node.op_type == "Conv":  # the weights are [outs, ins / group, *kernel]
        return output.count * math.prod(inputs[1].shape[1:])
    if node.op_type in ("Gemm", "MatMul"):
        shape = inputs[0].shape
        turned = node.op_type == "Gemm" and _attribute(node, "transA")
        return output.count * shape[0 if turned else -1]
    return 0


def _traffic(node: NodeProto, read: list[_Tensor], output: _Tensor) -> int:
    sizes = sorted(tensor.bytes for tensor in read)
    if node.op_type not in _FUSED:
        return sum(sizes) + output.bytes
    if len(sizes) < 2:
        return 0
    if sizes[0] < sizes[-1]:  # a gate a channel: known only when the whole image is, so all is read again
        return sizes[-1] + output.bytes
    return 0 if node.op_type == "Mul" else sizes[0]  # x * sigmoid(x) reads nothing; a residual its shortcut


def _attribute(node: NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)


def _at_batch_one(model: ModelProto) -> ModelProto:
    """A copy without the big weights' values: shapes need only their sizes."""
    made = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    made.graph.CopyFrom(
        onnx.GraphProto(
            name="costs", node=model.graph.node, input=model.graph.input, output=model.graph.output
        )
    )
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) < 1_024:
            made.graph.initializer.append(tensor)
        else:
            made.graph.initializer.append(
                TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
            )
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return onnx.shape_inference.infer_shapes(made, data_prop=True)
