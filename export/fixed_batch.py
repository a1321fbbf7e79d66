"""The batch that a graph was made for, where reshapes inside hold it too."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from .graph_edits import attribute, free_name, keep, tensor_names


def open_batch(graph: GraphProto, batch: int) -> None:
    """Lets reshapes to a constant shape that begins with ``batch`` give any batch.

    The shapes inside that say it too, which conversions would believe, are forgotten.
    PyTorch's exporter writes ``flatten`` of a fixed batch so. Whether that number was the batch, only a trial
    with several batches tells. Where the shape leaves another size open, the first is the input's.
    """
    del graph.value_info[:]
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and (value := attribute(node, "value", None)) is not None:
            shapes[node.output[0]] = value
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


def _opened(reshape: NodeProto, shape: TensorProto, batch: int) -> np.ndarray | None:
    """The shape with its first size open; None where it is of something else or cannot be opened."""
    if shape.data_type != TensorProto.INT64 or shape.external_data:
        return None
    sizes = numpy_helper.to_array(shape).copy()
    if sizes.ndim != 1 or not sizes.size or sizes[0] != batch:
        return None
    if -1 not in sizes:
        sizes[0] = -1
    elif 0 not in sizes or not attribute(reshape, "allowzero", 0):
        sizes[0] = 0
        keep(reshape.attribute, [each for each in reshape.attribute if each.name != "allowzero"])
    else:
        return None
    return sizes
