"""An ONNX graph computed by torch, node by node, on whatever device its weights are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

from ....export.plain_graph import plain_from_onnx

Precision = Literal["fp32", "fp16"]

# Those whose arithmetic a GPU's tensor cores do; FP16 is for them, and for what takes what they give.
_TENSOR_CORE = frozenset({"Conv", "Gemm", "MatMul"})
# As mer-export leaves them in float32: sums over many values, and what leaves FP16's range.
_FLOAT32 = frozenset(
    {"ReduceMean", "ReduceMax", "GlobalAveragePool", "AveragePool", "BatchNormalization"}
    | {"Pow", "Sqrt", "Log", "Div", "Softmax"}
)
_Attributes = Mapping[str, Any]
_Operator = Callable[..., torch.Tensor]


class OnnxInTorch:
    """A network of an .onnx file; calling it computes on the current stream and waits for nothing.

    Args:
        content: an .onnx file with one input; its weights are copied to ``device``.
        precision: "fp16" computes convolutions and products in FP16, sums and means in FP32.

    Raises:
        NotImplementedError: it has an operator that is not here.
    """

    def __init__(self, content: bytes, device: str, precision: Precision = "fp32") -> None:
        graph = plain_from_onnx(onnx.load_from_string(content)).graph
        unknown = {node.op_type for node in graph.node} - set(_OPERATORS)
        if unknown:
            raise NotImplementedError(f"operators that are not here: {', '.join(sorted(unknown))}")
        self._half = precision == "fp16"
        self._device = device
        self._nodes = [
            (node, {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute})
            for node in graph.node
        ]
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        # Shapes, axes and starts are read by Python: kept on the host, where no stream must be waited for.
        indices = {node.input[1] for node in graph.node if node.op_type == "GatherND"}
        paddings = {name for node in graph.node if node.op_type == "Pad" for name in node.input[1:]}
        on_device = {name for name, array in arrays.items() if array.dtype.kind in "fb"} | indices
        self._weights = {
            name: torch.from_numpy(np.array(array)).to(device if name in on_device - paddings else "cpu")
            for name, array in arrays.items()
        }
        if self._half:
            self._halve_weights()
        (self.input,) = (value.name for value in graph.input if value.name not in self._weights)
        self.outputs = {value.name: value.type.tensor_type.shape.dim[1].dim_value for value in graph.output}
        self._last_use = {name: at for at, (node, _) in enumerate(self._nodes) for name in node.input}

    def _halve_weights(self) -> None:
        """Weights of products and convolutions, once; the layout is the one in which FP16 is fastest."""
        for node, _ in self._nodes:
            if node.op_type in _TENSOR_CORE:
                for name in set(node.input) & set(self._weights):
                    weight = self._weights[name].half()
                    if weight.ndim == 4:
                        weight = weight.contiguous(memory_format=torch.channels_last)
                    self._weights[name] = weight

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """float32 ``[n, 1, mels, frames]`` to float32 ``[n, columns]`` by name."""
        values: dict[str, torch.Tensor] = {**self._weights, self.input: images}
        for at, (node, attributes) in enumerate(self._nodes):
            inputs = [values[name] if name else None for name in node.input]
            values[node.output[0]] = _OPERATORS[node.op_type](attributes, *self._cast(node.op_type, inputs))
            for name in set(node.input) - set(self.outputs):
                if self._last_use[name] == at and name not in self._weights:
                    del values[name]  # else a batch keeps the activations of all layers
        return {name: values[name].float() for name in self.outputs}

    def _cast(self, operator: str, inputs: list[torch.Tensor | None]) -> list[torch.Tensor | None]:
        if not self._half or not (operator in _TENSOR_CORE or operator in _FLOAT32):
            return inputs
        dtype = torch.float16 if operator in _TENSOR_CORE else torch.float32
        return [
            value.to(dtype) if value is not None and value.is_floating_point() else value for value in inputs
        ]


def _pads(attributes: _Attributes, axes: int) -> list[int]:
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise NotImplementedError(f"auto_pad {attributes['auto_pad']!r}")
    return list(attributes.get("pads", [0] * 2 * axes))


def _padded(x: torch.Tensor, pads: list[int], value: float = 0.0) -> torch.Tensor:
    """ONNX lists the pads before all axes, then those behind; torch wants pairs, the last axis first."""
    axes = len(pads) // 2
    pairs = [pads[axis + side * axes] for axis in reversed(range(axes)) for side in (0, 1)]
    return F.pad(x, pairs, value=value) if any(pads) else x


def _pad(a: _Attributes, x: torch.Tensor, pads: torch.Tensor, value: Any = None, axes: Any = None) -> Any:
    if a.get("mode", b"constant") != b"constant" or axes is not None:
        raise NotImplementedError("Pad by anything but a value, or of some axes")
    return _padded(x, _numbers(pads), 0.0 if value is None else float(value))


def _conv(a: _Attributes, x: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> torch.Tensor:
    axes = weight.ndim - 2
    pads = _pads(a, axes)
    even = pads[:axes] == pads[axes:]
    x = x if even else _padded(x, pads)
    convolve = {1: F.conv1d, 2: F.conv2d}[axes]
    return convolve(
        x,
        weight,
        bias,
        stride=tuple(a.get("strides", [1] * axes)),
        padding=tuple(pads[:axes]) if even else 0,
        dilation=tuple(a.get("dilations", [1] * axes)),
        groups=a.get("group", 1),
    )


def _max_pool(a: _Attributes, x: torch.Tensor) -> torch.Tensor:
    x = _padded(x, _pads(a, len(a["kernel_shape"])), -float("inf"))
    return F.max_pool2d(
        x,
        tuple(a["kernel_shape"]),
        tuple(a.get("strides", [1, 1])),
        dilation=tuple(a.get("dilations", [1, 1])),
        ceil_mode=bool(a.get("ceil_mode", 0)),
    )


def _average_pool(a: _Attributes, x: torch.Tensor) -> torch.Tensor:
    pads = _pads(a, len(a["kernel_shape"]))
    if any(pads) and not a.get("count_include_pad", 0):
        raise NotImplementedError("an average that leaves the padding out")
    return F.avg_pool2d(
        _padded(x, pads),
        tuple(a["kernel_shape"]),
        tuple(a.get("strides", [1, 1])),
        0,
        bool(a.get("ceil_mode")),
    )


def _gemm(
    a: _Attributes, left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    left, right = (left.T if a.get("transA") else left), (right.T if a.get("transB") else right)
    product = a.get("alpha", 1.0) * (left @ right)
    return product if bias is None else product + a.get("beta", 1.0) * bias


def _numbers(tensor: torch.Tensor | None, default: list[int] | None = None) -> list[int]:
    return list(default or []) if tensor is None else [int(number) for number in tensor.reshape(-1).tolist()]


def _reduced(
    reduce: Callable[..., torch.Tensor],
) -> Callable[[_Attributes, torch.Tensor, torch.Tensor | None], torch.Tensor]:
    def operator(a: _Attributes, x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
        over = _numbers(axes) or list(a.get("axes", range(x.ndim)))
        return reduce(x, dim=tuple(over), keepdim=bool(a.get("keepdims", 1)))

    return operator


def _slice(
    _: _Attributes, x: torch.Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None
) -> Any:
    places = _numbers(axes, list(range(len(starts))))
    strides = _numbers(steps, [1] * len(starts))
    cuts = [slice(None)] * x.ndim
    for axis, start, end, step in zip(places, _numbers(starts), _numbers(ends), strides, strict=True):
        cuts[axis] = slice(start, end, step)
    return x[tuple(cuts)]


def _reshape(a: _Attributes, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    sizes = _numbers(shape)
    if not a.get("allowzero"):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _clip(a: _Attributes, x: torch.Tensor, low: Any = None, high: Any = None) -> torch.Tensor:
    low = a.get("min") if low is None else low.to(x.dtype)
    high = a.get("max") if high is None else high.to(x.dtype)
    return x if low is None and high is None else torch.clamp(x, low, high)


def _gather(a: _Attributes, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    if index.ndim:
        raise NotImplementedError("Gather of several places")
    return x.select(a.get("axis", 0), int(index))


def _gather_nd(a: _Attributes, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """How PyTorch exports adaptive means, in AlexNet and VGG."""
    if a.get("batch_dims"):
        raise NotImplementedError("GatherND within a batch")
    return x[tuple(indices.unbind(-1))]


def _batch_norm(a: _Attributes, x: torch.Tensor, *parts: torch.Tensor) -> torch.Tensor:
    scale, shift, mean, variance = parts
    return F.batch_norm(x, mean, variance, scale, shift, eps=a.get("epsilon", 1e-5))


def _unsqueeze(_: _Attributes, x: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    for axis in sorted(axis % (x.ndim + axes.numel()) for axis in _numbers(axes)):
        x = x.unsqueeze(axis)
    return x


_OPERATORS: Mapping[str, _Operator] = {
    "Abs": lambda a, x: torch.abs(x),
    "Add": lambda a, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Conv": _conv,
    "Div": lambda a, x, y: x / y,
    "Exp": lambda a, x: torch.exp(x),
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "HardSigmoid": lambda a, x: torch.clamp(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1),
    "HardSwish": lambda a, x: F.hardswish(x),
    "Identity": lambda a, x: x,
    "Log": lambda a, x: torch.log(x),
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "Neg": lambda a, x: -x,
    "Pad": _pad,
    "Pow": lambda a, x, y: x**y,
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "Relu": lambda a, x: F.relu(x),
    "Reshape": _reshape,
    "Sigmoid": lambda a, x: torch.sigmoid(x),
    "Slice": _slice,
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "Sqrt": lambda a, x: torch.sqrt(x),
    "Squeeze": lambda a, x, axes: x.squeeze(tuple(_numbers(axes))),
    "Sub": lambda a, x, y: x - y,
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda a, condition, x, y: torch.where(condition, x, y),
}
