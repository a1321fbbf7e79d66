"""Graphs that a stranger sends: what is refused before any library computes with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from merkit.engine import onnx_graph
from merkit.engine.errors import ArtifactError
from merkit.engine.onnx_graph import check_graph
from merkit.engine.spec import ModelSpec
from onnx import helper, numpy_helper
from onnx_files import tiny_onnx
from small_networks import small_network

Change = Callable[[onnx.ModelProto], Any]


def tensor(name: str = "secret") -> onnx.TensorProto:
    outside = numpy_helper.from_array(np.zeros(4, np.float32), name)
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    return outside


def sparse() -> onnx.SparseTensorProto:
    whole = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    return onnx.SparseTensorProto(values=tensor(), indices=whole, dims=[4])


def graph(**fields: Any) -> onnx.GraphProto:
    inner = onnx.GraphProto(name="inner")
    for name, value in fields.items():
        getattr(inner, name).append(value)
    return inner


def node_with(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], **attributes)


def nested(inner: onnx.GraphProto, levels: int) -> onnx.GraphProto:
    for _ in range(levels):
        branches: dict[str, Any] = {"then_branch": inner, "else_branch": onnx.GraphProto()}
        inner = graph(node=helper.make_node("If", ["x"], ["z"], **branches))
    return inner


def function(node: onnx.NodeProto) -> onnx.FunctionProto:
    return helper.make_function("d", "f", [], ["c"], [node], [])


def defaults(model: onnx.ModelProto) -> None:
    one = function(helper.make_node("Identity", ["c"], ["c"]))
    one.attribute_proto.append(helper.make_attribute("value", tensor()))
    model.functions.append(one)


def unmarked(model: onnx.ModelProto) -> None:
    outside = tensor()
    outside.ClearField("data_location")
    model.graph.initializer.append(outside)


HIDING_PLACES: dict[str, Change] = {
    "initializer": lambda m: m.graph.initializer.append(tensor()),
    "sparse initializer": lambda m: m.graph.sparse_initializer.append(sparse()),
    "attribute": lambda m: m.graph.node.append(node_with(value=tensor())),
    "attribute of tensors": lambda m: m.graph.node.append(node_with(values=[tensor()])),
    "sparse attribute": lambda m: m.graph.node.append(node_with(sparse_value=sparse())),
    "subgraph": lambda m: m.graph.node.append(nested(graph(initializer=tensor()), 1).node[0]),
    "subgraph of sparse weights only": lambda m: m.graph.node.append(
        nested(graph(sparse_initializer=sparse()), 1).node[0]
    ),
    "deep": lambda m: m.graph.node.append(nested(graph(sparse_initializer=sparse()), 20).node[0]),
    "attribute of graphs": lambda m: m.graph.node.append(node_with(bodies=[graph(initializer=tensor())])),
    "function": lambda m: m.functions.append(function(node_with(value=tensor()))),
    "default of a function": defaults,
    "training": lambda m: m.training_info.add().initialization.initializer.append(tensor()),
    "training's algorithm": lambda m: m.training_info.add().algorithm.initializer.append(tensor()),
    "without its mark": unmarked,
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_external_data_wherever_it_hides(place: str, spec: ModelSpec) -> None:
    model = tiny_onnx(spec)
    HIDING_PLACES[place](model)
    with pytest.raises(ArtifactError, match="weights in other files"):
        check_graph(model)


def test_every_field_that_can_hold_a_tensor_is_walked() -> None:
    """By ONNX's own description of its messages: none that a later version adds is forgotten."""
    holders: set[str] = set()
    kinds, waiting = set(), [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        kind = waiting.pop()
        for field in kind.fields if kind.name not in kinds else ():
            if field.message_type is not None and field.message_type.name == "TensorProto":
                holders.add(f"{kind.name}.{field.name}")
            elif field.message_type is not None:
                waiting.append(field.message_type)
        kinds.add(kind.name)
    assert {"GraphProto.initializer", "AttributeProto.t", "SparseTensorProto.values"} <= holders
    for holder in holders:
        kind, name = holder.split(".")
        part = getattr(onnx, kind)()
        one = getattr(part, name)
        if hasattr(one, "ListFields"):
            one.CopyFrom(tensor())
        else:
            one.append(tensor())
        assert any(isinstance(p, onnx.TensorProto) and p.external_data for p in onnx_graph._parts(part))


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (helper.make_node("Loop", ["n", "", "means"], ["x"], body=graph()), "operator Loop"),
        (helper.make_node("If", ["n"], ["x"], then_branch=graph(), else_branch=graph()), "operator If"),
        (helper.make_node("Scan", ["n"], ["x"], body=graph(), num_scan_inputs=1), "operator Scan"),
        (helper.make_node("RandomNormal", [], ["x"], shape=[1]), "operator RandomNormal"),
        (helper.make_node("NonZero", ["images"], ["x"]), "operator NonZero"),
        (helper.make_node("Loop", ["n"], ["x"], domain="ai.onnx"), "operator Loop"),
        (helper.make_node("EPContext", [], ["x"], domain="com.microsoft"), r"com\.microsoft\.EPContext"),
        (helper.make_node("f", ["images"], ["x"], domain="own"), r"own\.f"),
        (helper.make_node("ConstantOfShape", ["means"], ["x"]), "ConstantOfShape is computed from the sound"),
        (helper.make_node("Expand", ["weight", "means"], ["x"]), "Expand is computed from the sound"),
        (helper.make_node("Resize", ["images", "", "", "means"], ["x"]), "Resize is computed"),
        (helper.make_node("Range", ["axes", "means", "axes"], ["x"]), "Range is computed"),
    ],
)
def test_what_a_network_of_music_does_not_need(node: onnx.NodeProto, why: str, spec: ModelSpec) -> None:
    model = tiny_onnx(spec)
    model.graph.node.insert(0, node)  # before what it uses, as ONNX Runtime allows
    with pytest.raises(ArtifactError, match=why):
        check_graph(model)


def test_functions_are_refused(spec: ModelSpec) -> None:
    model = tiny_onnx(spec)
    model.functions.append(function(node_with(value_float=1.0)))
    with pytest.raises(ArtifactError, match="functions inlined"):
        check_graph(model)


def test_sizes_from_shapes_are_well(spec: ModelSpec) -> None:
    """What exporters write for a batch of any size."""
    model = tiny_onnx(spec)
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["images"], ["shape"]),
            helper.make_node("Gather", ["shape", "axes"], ["batch"]),
            helper.make_node("Cast", ["batch"], ["whole"], to=onnx.TensorProto.INT64),
            helper.make_node("Reshape", ["means", "whole"], ["x"]),
            helper.make_node("Resize", ["images", "", "scales"], ["y"]),
        ]
    )
    check_graph(model)
    check_graph(small_network())
    for bundled in Path(str(onnx_graph.__file__)).with_name("models").glob("*.onnx"):
        check_graph(onnx.load(bundled))


def test_a_ring_of_nodes_ends(spec: ModelSpec) -> None:
    model = tiny_onnx(spec)
    model.graph.node.extend(
        [helper.make_node("Add", ["images", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    )
    check_graph(model)
