"""The ends of a foreign graph: the order in which it takes an image, and a softmax that it makes itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import (
    ModelProto,
    NodeProto,
    TensorShapeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)

from ..engine.errors import ArtifactError
from ..engine.spec import AudioSpec
from .foreign_opset import opset_of
from .graph_edits import free_name, rename, tensor_names

_OURS = "1mf"
_ORDERS = (_OURS, "mf1", "mf", "1fm", "fm1", "fm")  # Keras has the channel last, others none
_AXES = {"1": "1", "m": "mels", "f": "frames"}
_MELS = re.compile("mel|freq|band|bin", re.I)  # names of axes
_FRAMES = re.compile("time|frame|step|^t$", re.I)
_SOFTMAX_OF_ONE_AXIS = 13  # an opset
_KEEPS_VALUES = ("Identity", "Flatten", "Squeeze", "Unsqueeze", "Reshape", "Clip")  # of probabilities


def take_our_images(model: ModelProto, audio: AudioSpec) -> str:
    """Lets a graph take ``[batch, 1, mels, frames]`` that takes the same image in another order.

    Sizes that the graph leaves open fit any axis: see ``_order_of``. A graph whose input is of no such shape
    stays as it is.

    Returns:
        The order that it took, in words; empty where nothing was changed.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        return ""
    (value,) = inputs
    dims, sizes = value.type.tensor_type.shape.dim, {"1": 1, "m": audio.n_mels, "f": audio.frames}
    order = _order_of(list(dims)[1:], sizes)
    if order == _OURS:
        return ""
    name, taken = value.name, tensor_names(graph)
    theirs = free_name(f"{name} in their order", taken)
    rename(graph, {name: theirs})
    value.name = name
    with_channel = order if "1" in order else f"1{order}"
    turned = theirs if with_channel == order else free_name(f"{name} turned", taken)
    perm = [0, *(1 + _OURS.index(axis) for axis in with_channel)]
    nodes = [helper.make_node("Transpose", [name], [turned], perm=perm)]
    if turned != theirs:
        shape = free_name(f"{name} without channel", taken)
        value_of_shape = numpy_helper.from_array(np.array([0, *(sizes[axis] for axis in order)], np.int64))
        nodes.append(helper.make_node("Constant", [], [shape], value=value_of_shape))
        nodes.append(helper.make_node("Reshape", [turned, shape], [theirs]))
    nodes.extend(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    del dims[1:]
    for axis in _OURS:
        dims.add().dim_value = sizes[axis]
    return f"[batch, {', '.join(_AXES[axis] for axis in order)}]"


def _order_of(dims: Sequence[TensorShapeProto.Dimension], sizes: Mapping[str, int]) -> str:
    """The order of an image's axes, ours if none fits.

    Where the mels and the frames may each come first, an axis that alone is open is the frames, then its
    name counts, and else the mels come first.
    """
    fitting = [
        dict(zip(order, dims, strict=True))
        for order in _ORDERS
        if len(order) == len(dims)
        and all(dim.dim_value in (0, sizes[axis]) for axis, dim in zip(order, dims, strict=True))
    ]

    def likelihood(axes: Mapping[str, TensorShapeProto.Dimension]) -> tuple[int, int]:
        mels, frames = axes["m"], axes["f"]
        is_open = bool(mels.dim_value) - bool(frames.dim_value)
        return is_open, bool(_MELS.search(mels.dim_param)) + bool(_FRAMES.search(frames.dim_param))

    return "".join(max(fitting, key=likelihood, default=dict.fromkeys(_OURS)))  # the first of equal ones


def without_softmax(model: ModelProto) -> bool:
    """Takes off a softmax over the labels at the end, since the engine makes one; whether one was there.

    Between it and the output may stand what changes the shape alone, and a Clip, which goes with it.

    Raises:
        ArtifactError: the end is a sigmoid of each label.
    """
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    for output in graph.output:
        node, clips = producers.get(output.name), []
        while node is not None and node.op_type in _KEEPS_VALUES and node.domain in ("", "ai.onnx"):
            if node.op_type == "Clip":
                clips.append(node)
            node = producers.get(node.input[0]) if readers[node.input[0]] == 1 else None
        if node is None or node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "Sigmoid":
            raise ArtifactError(
                "it ends in a sigmoid of each label; the logits of one softmax over all labels are needed"
            )
        if node.op_type == "Softmax" and _is_over_labels(model, node, output):
            for each in (node, *clips):
                each.op_type = "Identity"
                del each.attribute[:], each.input[1:]
            return True
    return False


def _is_over_labels(model: ModelProto, softmax: NodeProto, output: ValueInfoProto) -> bool:
    """Whether a softmax's axis is the labels': beside it there is the batch alone."""
    tensor = output
    if softmax.output[0] != output.name:
        inferred = shape_inference.infer_shapes(model).graph.value_info
        tensor = next((value for value in inferred if value.name == softmax.output[0]), None)
    dims = tensor.type.tensor_type.shape.dim if tensor is not None else ()
    if len(dims) < 2:
        return False
    # Without the attribute it is the last axis, and before opset 13 all from the second on.
    default = 1 if opset_of(model) < _SOFTMAX_OF_ONE_AXIS else -1
    axis = next((each.i for each in softmax.attribute if each.name == "axis"), default) % len(dims)
    return axis > 0 and all(dim.dim_value == 1 for i, dim in enumerate(dims) if i not in (0, axis))
