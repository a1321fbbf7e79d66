"""Does a graph stay within FP16's range? A CPU hides that it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from ..engine.arrays import Float32
from .checks import GateError
from .library_step import library_step
from .onnx_session import open_session
from .precision import FP16_MAX

FP16_WARN = 32_768.0
"""Half of FP16's range: louder music than the music that was tried may need the rest."""


@dataclass(frozen=True)
class Fp16Range:
    """The largest magnitude that each FP16 node returned, the largest first; infinite where it overflowed."""

    peaks: tuple[tuple[str, float], ...]
    windows: int

    @property
    def over(self) -> list[str]:
        """Names of the nodes that overflow FP16, the worst first."""
        return [name for name, peak in self.peaks if not peak <= FP16_MAX]

    @property
    def near(self) -> list[str]:
        """Names of the nodes that use more than half of FP16's range, the largest first."""
        return [name for name, peak in self.peaks if FP16_WARN < peak <= FP16_MAX]

    def to_json(self) -> dict[str, Any]:
        """The five largest peaks as plain JSON values."""
        top = [{"layer": name, "peak": peak} for name, peak in self.peaks[:5]]
        return {"largest": top, "limit": FP16_MAX, "windows": self.windows}


def fp16_range(
    model: ModelProto, log_mels: Float32, source: Callable[[], ModelProto] | None = None
) -> Fp16Range:
    """Runs a graph with every FP16 node's output exposed, window by window.

    ONNX Runtime on a CPU computes FP16 nodes in FP32, so values that overflow on a GPU stay finite
    inside; only outputs of the graph are really rounded to FP16.

    Args:
        log_mels: float32 ``[windows, 1, mels, frames]``.
        source: gives the FP32 graph, whose own infinities (masks of attention) are no overflow.
    """
    exposed, nodes = _with_all_outputs(model)
    session = open_session(exposed.SerializeToString())
    names = [output.name for output in session.get_outputs() if output.type == "tensor(float16)"]
    if not names:
        return Fp16Range((), len(log_mels))
    peaks = dict.fromkeys(names, 0.0)
    exact: Any = None
    for i in range(len(log_mels)):
        images = np.ascontiguousarray(log_mels[i : i + 1])
        with library_step("computing the FP16 graph"):
            values: dict[str, Any] = dict(zip(names, session.run(names, {"images": images}), strict=True))
        infinite = [name for name, value in values.items() if np.isinf(value).any()]
        if infinite and source is not None:
            exact = exact or open_session(_with_all_outputs(source())[0].SerializeToString())
            values |= _without_own_infinities(exact, {name: values[name] for name in infinite}, images)
        for name, value in values.items():
            # Python's max() passes over a NaN, which must count as beyond the range.
            low, high = float(value.min()), float(value.max())
            peak = max(-low, high) if low == low and high == high else np.inf
            peaks[name] = max(peaks[name], peak)
    ranked = sorted(((nodes[name], peak) for name, peak in peaks.items()), key=lambda item: -item[1])
    return Fp16Range(tuple(ranked), len(log_mels))


def _without_own_infinities(
    exact: Any, values: Mapping[str, np.ndarray[Any, Any]], images: Float32
) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors that the FP32 graph has too, with zeros where it has the same infinity."""
    names = [output.name for output in exact.get_outputs() if output.name in values]
    with library_step("computing the FP32 graph"):
        own: Any = exact.run(names, {"images": images}) if names else []
    return {
        name: np.where(np.isinf(values[name]) & (values[name] == each), 0, values[name])
        for name, each in zip(names, own, strict=True)
    }


def check_range(measured: Fp16Range, to_keep: Callable[[Sequence[str]], Sequence[str]] = list) -> None:
    """Refuses a graph that overflows FP16.

    Args:
        to_keep: the layers to leave in FP32 where these nodes overflow: see ``layers_to_keep``.

    Raises:
        GateError: nodes are beyond FP16's range; it names them.
    """
    over = measured.over
    if over:
        more = f" and at {len(over) - 1} more layers" if len(over) > 1 else ""
        raise GateError(
            f"FP16 overflows at {over[0]}{more} (beyond {FP16_MAX:,.0f}): leave them in FP32",
            to_keep(over),
            "fp32",
        )


def layers_to_keep(nodes: Sequence[str], source: ModelProto, converted: ModelProto) -> list[str]:
    """The source's layers that keep these nodes of the converted graph out of FP16, in the same order.

    A Cast that the conversion made is none of them: those that read from it are.
    """
    layers = {node.name for node in source.graph.node}
    makers = {name: node.name for node in converted.graph.node for name in node.output}
    keep: dict[str, list[str]] = {name: [name] for name in layers}
    for node in converted.graph.node:
        for maker in (makers.get(name, "") for name in node.input if node.name in layers):
            if maker not in layers:
                keep.setdefault(maker, []).append(node.name)
    return list(dict.fromkeys(layer for node in nodes for layer in keep.get(node, ())))


def _with_all_outputs(model: ModelProto) -> tuple[ModelProto, dict[str, str]]:
    """A copy in which every node's output is one of the graph's, and the node's name for each of them."""
    copy = ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    nodes: dict[str, str] = {}
    for node in model.graph.node:
        if not constants.issuperset(filter(None, node.input)):  # a weight's DequantizeLinear sees no data
            nodes.update({name: node.name for name in node.output if name and name not in outputs})
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in nodes)
    return copy, nodes
