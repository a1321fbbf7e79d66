"""FP32 ONNX to FP16, and to INT8 with FP16 between: precision lives in the graph, not in the builder's flags.

onnxconverter-common and ONNX Runtime rewrite the graph; this file decides which node gets which precision.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from ..engine.errors import MerError, UsageError
from .graph_edits import attribute
from .library_step import library_step

Ranges = Mapping[str, tuple[float, float]]
"""Tensor name to the (lowest, highest) value that INT8 must hold."""

FP16_MAX = 65_504.0
_FP16_LEAST = 2**-14  # smaller ones lose digits, and the converter raises those below 1e-7 to that

# A global mean sums thousands of values before it divides: in FP16 the sum may overflow.
_ALWAYS_FP32 = ["ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2"]
_ALWAYS_FP32 += ["GlobalAveragePool", "Softmax", "LogSoftmax"]
_QUANTIZED_OPS = ("Conv", "Gemm")
_LAYERS = (*_QUANTIZED_OPS, "ConvTranspose", "MatMul")
_KINDS: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.INT8: "int8"}


class UnknownLayerError(UsageError):
    """A layer is named that the graph does not have."""


def fp16_from_onnx(model: ModelProto, keep_fp32: Collection[str] = ()) -> ModelProto:
    """A graph in FP16, except its input, its output, softmax and the reductions that could overflow.

    Nodes with weights beyond FP16's range stay FP32 too, and layers with too small ones. All names are kept.

    Args:
        model: FP32, or FP32 with QuantizeLinear and DequantizeLinear; it is not changed.
        keep_fp32: names of nodes to leave in FP32.

    Raises:
        UnknownLayerError: ``keep_fp32`` names a node that is not there.
        MerError: onnxconverter-common is not installed, or cannot convert the graph.
    """
    try:
        from onnxconverter_common import float16
    except ModuleNotFoundError as error:
        raise MerError(f'{error.name} is not installed: pip install "merkit[export]"') from None
    check_layers(model, keep_fp32)
    copy = ModelProto()
    copy.CopyFrom(model)
    operators = {*float16.DEFAULT_OP_BLOCK_LIST, *_ALWAYS_FP32}
    # It would leave a Cast's target as it is and take the output for FP16.
    casts = [node.name for node in model.graph.node if node.op_type == "Cast"]
    nodes = {*keep_fp32, *casts, *_nodes_beyond_fp16(model)}
    _separate_weights(copy, [n for n in copy.graph.node if n.op_type in operators or n.name in nodes])
    with _quiet(), library_step("the conversion to FP16"):
        converted = float16.convert_float_to_float16(
            copy,
            max_finite_val=FP16_MAX,
            keep_io_types=True,
            op_block_list=list(operators),
            node_block_list=list(nodes),
            check_fp16_ready=False,
        )
    _make_outputs_fp32(converted)
    with library_step("the check of the FP16 graph"):
        onnx.checker.check_model(converted)
    return converted


def int8_from_onnx(
    model: ModelProto, ranges: Ranges, keep_fp16: Collection[str] = (), keep_fp32: Collection[str] = ()
) -> ModelProto:
    """Explicit INT8: Q and DQ around Conv and Gemm as TensorRT fuses them, the rest as ``fp16_from_onnx``.

    Weights are symmetric int8 with one scale an output channel, activations symmetric int8 with one
    scale a tensor. Biases, depthwise convolutions, squeeze-excite and all operators but Conv and Gemm
    are not quantized.

    Args:
        model: FP32; it is not changed.
        ranges: of every tensor in ``tensors_to_quantize(model, layers_to_quantize(model))``.
        keep_fp16: layers to leave in FP16.
        keep_fp32: nodes to leave in FP32.

    Raises:
        UsageError: nothing is left to quantize, or (``UnknownLayerError``) a name is not there.
        MerError: a range is missing or not finite.
    """
    quantized = qdq_from_onnx(model, ranges, [*keep_fp16, *keep_fp32])
    return fp16_from_onnx(quantized, keep_fp32)


def qdq_from_onnx(model: ModelProto, ranges: Ranges, keep: Collection[str] = ()) -> ModelProto:
    """The QDQ half of ``int8_from_onnx``: all layers that are not quantized stay FP32.

    Raises:
        UsageError: nothing is left to quantize, or (``UnknownLayerError``) a name is not there.
        MerError: a range is missing or not finite.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    check_layers(model, keep)
    layers = [name for name in layers_to_quantize(model) if name not in set(keep)]
    if not layers:
        raise UsageError("no layer is left to quantize: this would be FP16 under the name of INT8")
    tensors = tensors_to_quantize(model, layers)
    bad = [name for name in tensors if name not in ranges or not np.isfinite(ranges[name]).all()]
    if bad:
        raise MerError(f"calibration gave no finite range for {', '.join(bad[:3])}")
    limits: Any = {name: tuple(np.float32(v) for v in ranges[name]) for name in tensors}
    with _quiet(), library_step("the conversion to INT8"):
        quantizer = QDQQuantizer(
            _with_shapes(model),  # the quantizer copies it, through a file
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
            nodes_to_quantize=layers,
            nodes_to_exclude=[],
            op_types_to_quantize=list(_QUANTIZED_OPS),
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                # It fits weights' scales to int32 biases, here none, and fails on those that are no vector.
                "QDQDisableWeightAdjustForInt32Bias": True,
                # A Q there would stand between a convolution and the ReLU or Add it is fused with.
                "OpTypesToExcludeOutputQuantization": list(_QUANTIZED_OPS),
            },
        )
        for name in tensors:
            quantizer.quantize_activation_tensor(name)
        quantized = quantizer.quantize_model()
        _read_unquantized(quantized)
        quantizer.model.topological_sort()
        onnx.checker.check_model(quantized)
    return quantized


def layers_to_quantize(model: ModelProto) -> list[str]:
    """Names of the Conv and Gemm nodes that INT8 makes faster, in the graph's order.

    Depthwise and grouped convolutions are left out since memory bounds them, those of squeeze-excite
    since they see one number a channel, and layers whose weights the graph computes or FP16 cannot hold.
    """
    beyond = set(_nodes_beyond_fp16(model))
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = _shapes(_with_shapes(model))
    layers = []
    for node in model.graph.node:
        if node.name in beyond or not constants.issuperset(filter(None, node.input[1:])):
            continue
        spatial = shapes.get(node.output[0], [])[2:] if node.output else []
        if node.op_type == "Gemm" or (
            node.op_type == "Conv" and attribute(node, "group", 1) == 1 and spatial != [1, 1]
        ):
            layers.append(node.name)
    return layers


def tensors_to_quantize(model: ModelProto, layers: Collection[str]) -> list[str]:
    """Names of the activations that get a Q and a DQ: every layer's input, one side of each residual Add.

    TensorRT fuses Conv and Add, and writes int8, only if the Add's other side comes out of a DQ. A
    plain shortcut does already, since the block's first layer reads the same tensor; the output of a
    convolution in the shortcut is added here.
    """
    by_name = {node.name: node for node in model.graph.node}
    producers = {name: node for node in model.graph.node for name in node.output}
    readers = Counter(name for node in model.graph.node for name in node.input)
    constants = {tensor.name for tensor in model.graph.initializer}

    def is_shortcut(name: str) -> tuple[bool, bool]:
        """The block's first layer reads it too, or a convolution computes it from that layer's input."""
        producer = producers.get(name)
        return readers[name] > 1, producer is not None and readers[producer.input[0]] > 1

    tensors = dict.fromkeys(by_name[layer].input[0] for layer in layers)
    for node in model.graph.node:
        if node.op_type != "Add" or constants.intersection(node.input):
            continue
        main, shortcut = sorted(node.input, key=is_shortcut)
        producer = producers.get(main)
        # The sum of two branches' Gemms is no residual: nothing is fused there, and a Q would only round.
        joins = any(is_shortcut(shortcut))
        if joins and producer is not None and producer.op_type == "Conv" and producer.name in layers:
            tensors[shortcut] = None
    return list(tensors)


def _read_unquantized(model: ModelProto) -> None:
    """Who gains nothing by INT8 reads the tensor before the Q: clipping and rounding are for layers alone.

    That is an Add or Concat that no layer is fused with, and whatever reads the graph's input beside a layer:
    statistics of a log-mel are taken from all its values.
    """
    inputs = {value.name for value in model.graph.input}
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        makers = [producers.get(name) for name in node.input]
        fused = node.op_type == "Add" and any(maker and maker.op_type in _QUANTIZED_OPS for maker in makers)
        unfused = node.op_type in ("Add", "Concat") and not fused
        for i, maker in enumerate(makers):
            if maker is None or maker.op_type != "DequantizeLinear" or maker.input[0] not in producers:
                continue  # a weight's DQ has no Q before it
            before = producers[maker.input[0]].input[0]
            if unfused or (before in inputs and node.op_type not in _QUANTIZED_OPS):
                node.input[i] = before


def precision_by_op(model: ModelProto) -> dict[str, dict[str, int]]:
    """Counts nodes by operator and precision, by the graph's types; a node fed by DQs counts as int8."""
    shaped = _with_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in shaped.graph.value_info}
    kinds |= {value.name: value.type.tensor_type.elem_type for value in shaped.graph.output}
    from_int8 = {
        name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    table: dict[str, Counter[str]] = {}
    for node in model.graph.node:
        fed = [name in from_int8 for name in node.input[:2]]
        if node.op_type in _QUANTIZED_OPS and len(fed) == 2 and all(fed):
            precision = "int8"
        else:
            precision = _KINDS.get(kinds.get(node.output[0], 0), "other")
        table.setdefault(node.op_type, Counter())[precision] += 1
    return {op: dict(counts) for op, counts in sorted(table.items())}


def _make_outputs_fp32(model: ModelProto) -> None:
    """The converter makes an output FP16, despite ``keep_io_types``, if the node before it stays FP32."""
    outputs = {value.name: value.type.tensor_type for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.output[0] in outputs:
            outputs[node.output[0]].elem_type = TensorProto.FLOAT
            for attribute in node.attribute:
                if attribute.name == "to":
                    attribute.i = TensorProto.FLOAT


def _nodes_beyond_fp16(model: ModelProto) -> list[str]:
    """Names of the nodes with a weight beyond FP16's range, and of layers whose weights are all below it."""
    tensors = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    arrays = ((tensor.name, numpy_helper.to_array(tensor)) for tensor in tensors)
    peaks = {name: max(array.max(initial=0), -array.min(initial=0)) for name, array in arrays}
    big = {name for name, peak in peaks.items() if peak > FP16_MAX}
    small = {name for name, peak in peaks.items() if 0 < peak < _FP16_LEAST}
    nodes = model.graph.node
    return [n.name for n in nodes if big & {*n.input} or (n.op_type in _LAYERS and small & {*n.input[:2]})]


def _separate_weights(model: ModelProto, fp32_nodes: Collection[NodeProto]) -> None:
    """Gives nodes that stay FP32 weights of their own: the converter keeps those that such a node reads."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in fp32_nodes:
        names = {name: f"{name} of {node.name}" for name in node.input if name in weights}
        for name, own in names.items():  # one that is read twice is copied once
            model.graph.initializer.append(weights[name])
            model.graph.initializer[-1].name = own
        node.input[:] = [names.get(name, name) for name in node.input]


def check_layers(model: ModelProto, names: Collection[str]) -> None:
    """Raises UnknownLayerError for names that no node has."""
    missing = set(names).difference(node.name for node in model.graph.node)
    if missing:
        raise UnknownLayerError(f"no layer {', '.join(sorted(missing))} in the graph")


def _with_shapes(model: ModelProto) -> ModelProto:
    """The model itself if it holds its tensors' shapes already, as exported ones do; else such a copy."""
    if len(model.graph.value_info) >= len(model.graph.node) - len(model.graph.output):
        return model
    return onnx.shape_inference.infer_shapes(model)


def _shapes(model: ModelProto) -> dict[str, list[int | str]]:
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    shapes = {value.name: value.type.tensor_type.shape.dim for value in values}
    return {name: [dim.dim_value or dim.dim_param for dim in dims] for name, dims in shapes.items()}


@contextmanager
def _quiet() -> Any:
    """Both libraries warn about what is intended here, through ``warnings`` and the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
