"""What several steps do to a graph: names of tensors, parts that stay, attributes of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from onnx import GraphProto, NodeProto, helper


def tensor_names(graph: GraphProto) -> set[str]:
    """Every name that a tensor of the graph has; "" too, where an input of a node is left out."""
    values = (*graph.input, *graph.output, *graph.initializer)
    return {value.name for value in values} | {
        name for node in graph.node for name in (*node.input, *node.output)
    }


def free_name(base: str, taken: set[str]) -> str:
    """The name itself or with a number, whichever is free first; it is taken then."""
    names = (f"{base}_{i}" if i else base for i in count())
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


def rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Gives tensors other names, all at once, so that two may change theirs.

    The names in ``graph.output`` stay.
    """
    for node in graph.node:
        for ends in (node.input, node.output):
            for i, name in enumerate(ends):
                ends[i] = names.get(name, name)
    for each in (*graph.input, *graph.initializer, *graph.value_info):
        each.name = names.get(each.name, each.name)


def keep(field: Any, items: list[Any]) -> None:
    """Removes the others from a repeated field."""
    if len(items) != len(field):
        del field[:]
        field.extend(items)


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
