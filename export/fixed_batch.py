"""The batch that a graph was made for, where reshapes and first states inside hold it too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from .graph_edits import attribute, free_name, keep, tensor_names

_RECURRENT = ("RNN", "GRU", "LSTM")
_FIRST_STATES = (5, 6)  # places among their inputs


def open_batch(graph: GraphProto, batch: int) -> None:
    """Lets reshapes to a constant shape with ``batch`` in it give any batch, and recurrent layers take any.

    The shapes inside that say it too, which conversions would believe, are forgotten.
    PyTorch's exporter writes ``flatten`` of a fixed batch so. Whether that number was the batch, only a trial
    with several batches tells. Where the shape leaves another size open, the first is the input's. A first
    state of zeros is left out: it is what a recurrent layer begins with.
    """
    del graph.value_info[:]
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and (value := attribute(node, "value", None)) is not None:
            shapes[node.output[0]] = value
    _leave_out_first_states(graph, shapes)
    taken = tensor_names(graph)
    heard = {value.name for value in graph.input} - shapes.keys()  # what follows from it; weights stay
    for node in graph.node:
        if not heard.intersection(node.input):
            continue
        heard.update(node.output)
        tensor = shapes.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) > 1 else None
        opened = _opened(node, tensor, batch) if tensor is not None else None
        if opened is not None:
            node.input[1] = free_name(f"{node.input[1]} of any batch", taken)  # others may read the old one
            graph.initializer.append(numpy_helper.from_array(opened, node.input[1]))


def _leave_out_first_states(graph: GraphProto, constants: Mapping[str, TensorProto]) -> None:
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        for place in _FIRST_STATES if node.op_type in _RECURRENT else ():
            name = node.input[place] if place < len(node.input) else ""
            while (made := producers.get(name)) is not None and made.op_type in ("Expand", "Identity"):
                name = made.input[0]
            state = constants.get(name)
            if state is not None and not numpy_helper.to_array(state).any():
                node.input[place] = ""
    _drop_unread(graph)


def _drop_unread(graph: GraphProto) -> None:
    """Removes nodes that nothing reads: ONNX Runtime computes them, and they still want the fixed batch."""
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        kept = [node for node in graph.node if not read.isdisjoint(node.output)]
        if len(kept) == len(graph.node):
            return
        keep(graph.node, kept)


def _opened(reshape: NodeProto, shape: TensorProto, batch: int) -> np.ndarray | None:
    """The shape with the batch open; None where it is of something else or cannot be opened.

    The batch is its first size, else the only size of that number in a shape that leaves none open: one of
    them must be.
    """
    if shape.data_type != TensorProto.INT64 or shape.external_data:
        return None
    sizes = numpy_helper.to_array(shape).copy()
    if sizes.ndim != 1 or not sizes.size:
        return None
    if sizes[0] != batch:
        if sizes.min() < 1 or np.count_nonzero(sizes == batch) != 1:
            return None
        sizes[sizes == batch] = -1
    elif -1 not in sizes:
        sizes[0] = -1
    elif 0 not in sizes or not attribute(reshape, "allowzero", 0):
        sizes[0] = 0
        keep(reshape.attribute, [each for each in reshape.attribute if each.name != "allowzero"])
    else:
        return None
    return sizes
