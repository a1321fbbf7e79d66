"""The second output of a graph, taken off before a conversion and put back after it.

It is computed from the images alone and stays FP32, so that it is the same in every precision and engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

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
    _keep(graph.node, _ancestors(graph.node, outputs))
    _keep(graph.output, list(map(_copy, outputs.values())))
    read = {name for node in graph.node for name in node.input}
    made = {name for node in graph.node for name in node.output}
    _keep(graph.initializer, [_copy(tensor) for tensor in graph.initializer if tensor.name in read])
    _keep(graph.value_info, [_copy(value) for value in graph.value_info if value.name in made])
    return model, evidence


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


def _keep(field: Any, items: list[Any]) -> None:
    del field[:]
    field.extend(items)
