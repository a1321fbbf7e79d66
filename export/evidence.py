"""The second output of a graph, taken off before a conversion and put back after it.

It is computed from the images alone and stays FP32, so that it is the same in every precision and engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from .graph_edits import attribute, keep

NAME = "evidence"

_INPUT = "images"


@dataclass(frozen=True)
class Evidence:
    """The part of a graph that computes ``evidence`` from ``images``; its names begin with "evidence/"."""

    nodes: tuple[NodeProto, ...]
    weights: tuple[TensorProto, ...]
    output: ValueInfoProto

    def added_to(self, model: ModelProto) -> ModelProto:
        """The graph with this part and its output; ``model`` is changed and returned."""
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(self.weights)
        model.graph.output.append(self.output)
        return model


def without_evidence(model: ModelProto) -> tuple[ModelProto, Evidence | None]:
    """A graph as it is but for its output ``evidence``, and the part that computes that.

    What both outputs are computed from is in both. ``model`` is changed and returned.
    """
    graph = model.graph
    outputs = {value.name: value for value in graph.output}
    output = outputs.pop(NAME, None)
    if output is None:
        return model, None
    nodes = _ancestors(graph.node, [NAME])
    read = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    evidence = Evidence(
        tuple(map(_renamed_node, nodes)),
        tuple(_copy(tensor, name=_renamed(tensor.name)) for tensor in weights),
        _copy(output),
    )
    keep(graph.node, _ancestors(graph.node, outputs))
    keep(graph.output, list(map(_copy, outputs.values())))
    read = {name for node in graph.node for name in node.input}
    made = {name for node in graph.node for name in node.output}
    keep(graph.initializer, [_copy(tensor) for tensor in graph.initializer if tensor.name in read])
    keep(graph.value_info, [_copy(value) for value in graph.value_info if value.name in made])
    return model, evidence


def products_as_sums(model: ModelProto) -> ModelProto:
    """The graph with each MatMul and Gemm of ``evidence`` as a Mul and a ReduceSum.

    For Turing, whose kernels in TensorRT for RTX have no FP32 product of matrices: here they are small, but
    must stay FP32. ``model`` is changed and returned.
    """
    nodes = []
    for node in model.graph.node:
        product = node.op_type in ("MatMul", "Gemm") and node.name.startswith(f"{NAME}/")
        nodes += _sum(node, model.graph.initializer) if product else [_copy(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _sum(node: NodeProto, weights: Any) -> list[NodeProto]:
    """A MatMul, or a Gemm as torch writes one (a linear layer), of factors that are no vectors."""
    name, (left, right, *bias), nodes = node.output[0], node.input, []
    transposed = attribute(node, "transB", 0)

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], f"{NAME}/{output}", **attributes))
        return output

    for axis in (-1, -2, -3):
        weights.append(numpy_helper.from_array(np.array([axis]), f"{name} axis {axis}"))
    if transposed:
        right = add("Transpose", [right], f"{name} right", perm=[1, 0])
    left = add("Unsqueeze", [left, f"{name} axis -1"], f"{name} rows")
    right = add("Unsqueeze", [right, f"{name} axis -3"], f"{name} columns")
    parts = add("Mul", [left, right], f"{name} parts")
    total = f"{name} sum" if bias else name
    add("ReduceSum", [parts, f"{name} axis -2"], total, keepdims=0)
    if bias:
        add("Add", [total, *bias], name)
    return nodes


def _ancestors(nodes: Iterable[NodeProto], names: Iterable[str]) -> list[NodeProto]:
    """Copies of the nodes that these tensors are computed by, in the order in which they stand."""
    all_nodes, needed, kept = list(nodes), set(names), []
    for node in reversed(all_nodes):  # a node stands after those that it reads from
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(_copy(node))
    return kept[::-1]


def _renamed_node(node: NodeProto) -> NodeProto:
    node = _copy(node, name=_renamed(node.name))
    for names in (node.input, node.output):
        for place, name in enumerate(names):
            names[place] = _renamed(name)
    return node


def _renamed(name: str) -> str:
    return name if name in ("", _INPUT, NAME) or name.startswith(f"{NAME}/") else f"{NAME}/{name}"


def _copy(message: Any, **fields: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy
