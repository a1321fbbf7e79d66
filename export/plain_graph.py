"""A valid ONNX graph in the one form that the conversions expect, whatever tool wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..engine.errors import ArtifactError, UsageError
from .graph_edits import free_name, keep, rename, tensor_names
from .library_step import kind_and_message, library_step
from .onnx_session import open_session

_IR_VERSION = 10  # that of the bundled networks; every ONNX Runtime that is supported reads it
_PART_IN_INT8 = re.compile("(.+)_(?:scale|zero_point|quantized|(?:Q|Deq)uantizeLinear_Output)")
# They only move or retype a weight. Operators that can make much out of little stay in the graph.
_MOVES = frozenset(("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"))


def plain_from_onnx(model: ModelProto) -> ModelProto:
    """The same network with everything said in one way; a graph that is so already stays as it is.

    Every node and every output of one has a name of its own. Weights are initializers, also those of Constant
    nodes and those that are reshaped, transposed or cast; every layer adds a bias of its own, once. No
    initializer is an input, and no output is read inside the graph. No tensor has another's name with what
    the conversion to INT8 appends. ONNX's own domain has one name, all tensors have a type, and the IR
    version is no newer than the opset needs.

    Args:
        model: a graph that ``check_graph`` lets pass; it is not changed.

    Raises:
        ArtifactError: it is not valid.
    """
    plain = ModelProto()
    plain.CopyFrom(model)
    plain.ClearField("training_info")
    _lower_ir_version(plain)
    for item in (*plain.opset_import, *plain.graph.node):
        if item.domain == "ai.onnx":  # another name of ONNX's own, which its checker does not know
            item.domain = ""
    try:
        onnx.checker.check_model(plain)
    except Exception as error:  # ValueError beside ValidationError: a graph of more than 2 GB
        raise ArtifactError(f"the graph is not valid ONNX: {kind_and_message(error)}") from None
    domains = {"", *(node.domain for node in plain.graph.node)}
    keep(plain.opset_import, [opset for opset in plain.opset_import if opset.domain in domains])
    _initializers_from_constants(plain)
    _initializers_from_moves(plain)
    _separate_biases(plain)
    _drop_unused(plain)
    _separate_outputs(plain)
    _name_tensors(plain)
    _name_nodes(plain)
    _name_outputs(plain)
    return _typed(plain)


def check_dense(model: ModelProto) -> None:
    """Refuses sparse weights before a conversion that passes over them.

    Raises:
        UsageError: the graph has some.
    """
    if model.graph.sparse_initializer:
        raise UsageError(
            "the graph keeps weights as sparse tensors, which stay FP32 here: use --fp32, or write them dense"
        )


def _lower_ir_version(model: ModelProto) -> None:
    if model.ir_version > onnx.IR_VERSION and any(_unknown_fields(model)):
        raise ArtifactError(
            f"the graph has fields of an ONNX newer than {onnx.__version__}, which is installed"
        )
    needed = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = max(needed, min(model.ir_version, _IR_VERSION))


def _unknown_fields(message: Any) -> Iterator[bool]:
    """Whether each message below this one has fields that a newer ONNX defines."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    messages = [message]
    while messages:
        message = messages.pop()
        yield len(UnknownFieldSet(message)) > 0
        for field, value in message.ListFields():
            if field.message_type is not None:
                messages += [value] if hasattr(value, "ListFields") else list(value)


def _initializers_from_constants(model: ModelProto) -> None:
    graph = model.graph
    values = [(node, _value_of_constant(node)) for node in graph.node]
    for node, value in values:
        if value is not None:
            value.name = node.output[0]
            graph.initializer.append(value)
    keep(graph.node, [node for node, value in values if value is None])
    weights = {tensor.name for tensor in graph.initializer}
    keep(graph.input, [value for value in graph.input if value.name not in weights])


def _value_of_constant(node: NodeProto) -> TensorProto | None:
    """A Constant's tensor; None for other nodes, and for what no weight is: strings and sparse tensors."""
    if node.op_type != "Constant" or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(value)
        return tensor
    kinds = {"float": np.float32, "floats": np.float32, "int": np.int64, "ints": np.int64}
    kind = kinds.get(attribute.name.removeprefix("value_"))
    return None if kind is None else numpy_helper.from_array(np.asarray(value, kind))


def _initializers_from_moves(model: ModelProto) -> None:
    """Weights behind nodes that only move them; ONNX Runtime computes them, as it would in the graph."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    known, moves = set(weights), []
    for node in graph.node:
        if node.op_type in _MOVES and known.issuperset(node.input) and not outputs.intersection(node.output):
            moves.append(node)
            known.update(node.output)
    if not moves:
        return
    names = [node.output[0] for node in moves]
    read = dict.fromkeys(name for node in moves for name in node.input if name in weights)
    part = helper.make_graph(
        moves, "weights", [], [helper.make_empty_tensor_value_info(name) for name in names],
        [weights[name] for name in read],
    )  # fmt: skip
    with library_step("computing the graph's weights"):
        content = helper.make_model(
            part, opset_imports=model.opset_import, ir_version=model.ir_version
        ).SerializeToString()
        values = open_session(content).run(names, {})
    graph.initializer.extend(map(numpy_helper.from_array, map(np.asarray, values), names))
    computed = set(names)
    keep(graph.node, [node for node in graph.node if node.output[0] not in computed])


def _separate_biases(model: ModelProto) -> None:
    """Every layer adds a bias of its own, once.

    The conversion to INT8 sets a Gemm's beta to 1, also where it leaves the bias as it is, and copies a bias
    that layers share to a name that may be taken.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    taken = tensor_names(graph)
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm") or weights.keys().isdisjoint(node.input[2:]):
            continue
        beta = next((each for each in node.attribute if each.name == "beta"), None)
        times = beta.f if beta else 1
        if beta:
            beta.f = 1
        if times == 0:  # nobody reads the bias then, which may hold infinities
            del node.input[2]
        elif times != 1 or node.input[2] in seen:
            values = numpy_helper.to_array(weights[node.input[2]])
            node.input[2] = free_name(f"{node.output[0]} bias", taken)
            product = np.asarray(values * values.dtype.type(times))
            graph.initializer.append(numpy_helper.from_array(product, node.input[2]))
        seen.update(node.input[2:])


def _drop_unused(model: ModelProto) -> None:
    graph = model.graph
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    made = {name for node in graph.node for name in node.output}
    if any(tensor.name not in read for tensor in graph.initializer):
        keep(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read])
    if any(value.name not in made for value in graph.value_info):
        keep(graph.value_info, [value for value in graph.value_info if value.name in made])


def _separate_outputs(model: ModelProto) -> None:
    """An output that the graph goes on with has a node of its own: it keeps its type where that changes."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    taken = tensor_names(graph)
    inner = {
        value.name: free_name(f"{value.name} inside", taken) for value in graph.output if value.name in read
    }
    rename(graph, inner)
    graph.node.extend(helper.make_node("Identity", [inside], [name]) for name, inside in inner.items())


def _name_tensors(model: ModelProto) -> None:
    """No tensor is named as the conversion to INT8 will name a part of another one."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    made = [name for node in graph.node for name in node.output if name not in outputs]
    taken = tensor_names(graph)
    names: dict[str, str] = {}
    for name in (*made, *(tensor.name for tensor in graph.initializer)):
        part = _PART_IN_INT8.fullmatch(name)
        if part and part[1] in taken:
            names[name] = free_name(f"{name} inside", taken)
    rename(graph, names)


def _name_nodes(model: ModelProto) -> None:
    """A layer is kept, quantized and reported by its name, so two must not share one."""
    taken: set[str] = {node.name for node in model.graph.node}
    seen = {""}
    for position, node in enumerate(model.graph.node):
        if node.name in seen:
            node.name = free_name(node.name or f"{node.op_type}_{position}", taken)
        seen.add(node.name)


def _name_outputs(model: ModelProto) -> None:
    """One that is left out has no name, and the conversion to FP16 takes it for an input that is left out."""
    taken = tensor_names(model.graph)
    for node in model.graph.node:
        while len(node.output) > 1 and not node.output[-1]:
            del node.output[-1]
        for position, name in enumerate(node.output):
            if not name:
                node.output[position] = free_name(f"{node.name} unused {position}", taken)


def _typed(model: ModelProto) -> ModelProto:
    graph = model.graph
    known = {v.name for v in (*graph.value_info, *graph.output) if v.type.tensor_type.elem_type}
    if all(known.issuperset(filter(None, node.output)) for node in graph.node):
        return model
    del graph.value_info[:]
    with library_step("inferring the graph's shapes"):
        return onnx.shape_inference.infer_shapes(model)
