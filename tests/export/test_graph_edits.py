"""Edits of graphs that several steps make."""

from __future__ import annotations

from merkit.export.graph_edits import attribute, free_name, keep, rename, tensor_names
from onnx import helper


def test_tensors_take_each_others_names_at_once() -> None:
    """Not so the graph's outputs: what is read of one may move inside."""
    values = [helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Clip", ["y", "", "x"], ["z"])]
    graph = helper.make_graph(nodes, "two", values[:1], values[1:])
    assert tensor_names(graph) == {"x", "y", "z", ""}
    rename(graph, {"x": "y", "y": "x"})
    assert [(list(node.input), list(node.output)) for node in graph.node] == [
        (["y"], ["x"]),
        (["x", "", "y"], ["z"]),
    ]
    assert ([value.name for value in graph.input], [value.name for value in graph.output]) == (["y"], ["y"])


def test_a_name_is_free_once() -> None:
    taken = {"a", "a_1"}
    assert [free_name("a", taken), free_name("a", taken), free_name("b", taken)] == ["a_2", "a_3", "b"]


def test_what_is_kept_and_an_attribute() -> None:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), helper.make_node("Relu", ["y"], ["z"])],
        "", [], [],
    )  # fmt: skip
    keep(graph.node, [graph.node[0]])
    assert [node.op_type for node in graph.node] == ["Gemm"]
    assert (attribute(graph.node[0], "transB", 0), attribute(graph.node[0], "beta", 1.0)) == (1, 1.0)
