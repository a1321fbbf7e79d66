"""Graphs as other tools write them become one form, and compute what they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from merkit.engine.errors import ArtifactError
from merkit.export.graph_edits import rename
from merkit.export.plain_graph import plain_from_onnx
from merkit.export.precision import (
    fp16_from_onnx,
    int8_from_onnx,
    layers_to_quantize,
    precision_by_op,
    tensors_to_quantize,
)
from onnx import ModelProto, TensorProto, helper, numpy_helper
from small_networks import AUDIO, small_network

LOG_MELS = np.random.default_rng(0).standard_normal((3, 1, AUDIO.n_mels, AUDIO.frames)).astype(np.float32)


def logits_of(model: ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # it breaks FP16 QDQ graphs
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["logits"], {"images": LOG_MELS})[0])


def quantized(model: ModelProto) -> ModelProto:
    ranges = dict.fromkeys(tensors_to_quantize(model, layers_to_quantize(model)), (-4.0, 4.0))
    return int8_from_onnx(model, ranges)


def unnamed(model: ModelProto) -> None:
    for node in model.graph.node:
        node.name = ""


def of_one_name(model: ModelProto) -> None:
    for position, node in enumerate(model.graph.node):
        node.name = "Conv_3" if position % 2 else ""  # a name that a nameless node could get too


def with_constants(model: ModelProto) -> None:
    graph = model.graph
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in graph.initializer]
    nodes += list(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)


def with_lists_of_numbers(model: ModelProto) -> None:
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    lists = [
        helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]),
        helper.make_node(
            "Constant", [], ["head.bias"], value_floats=numpy_helper.to_array(tensors["head.bias"]).tolist()
        ),
    ]
    nodes = [*lists, *graph.node]
    kept = [tensor for name, tensor in tensors.items() if name not in ("axes", "head.bias")]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def with_moved_weights(model: ModelProto) -> None:
    """As an exporter writes them that folds nothing: a copy, a transposed and a flat matrix, a cast."""
    graph = model.graph
    moves = []
    name: str
    attributes: dict[str, Any]
    for name, kind, attributes in (
        ("stem.weight", "Identity", {}),
        ("head.weight", "Transpose", {"perm": [1, 0]}),
        ("res_1.weight", "Reshape", {}),
        ("res_2.bias", "Cast", {"to": TensorProto.FLOAT}),
    ):
        (tensor,) = [tensor for tensor in graph.initializer if tensor.name == name]
        values = numpy_helper.to_array(tensor)
        inputs = [f"{name}.stored"]
        if kind == "Transpose":
            values = values.T
        if kind == "Cast":
            values = values.astype(np.float64)
        if kind == "Reshape":
            inputs.append(f"{name}.shape")
            graph.initializer.append(numpy_helper.from_array(np.asarray(values.shape), inputs[1]))
            values = values.ravel()
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), inputs[0]))
        moves.append(helper.make_node(kind, inputs, [f"{name}.moved"], **attributes))
        moves.append(helper.make_node("Identity", [f"{name}.moved"], [name]))
    nodes = [*moves, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    # The cast is of weights alone: with it gone no number is a double any more.


def weights_are_inputs(model: ModelProto) -> None:
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
    )


def old_ir_version(model: ModelProto) -> None:
    weights_are_inputs(model)
    model.ir_version = 3


def newer_ir_version(model: ModelProto) -> None:
    model.ir_version = 99


def long_domain(model: ModelProto) -> None:
    for item in (*model.opset_import, *model.graph.node):
        item.domain = "ai.onnx"


def domains_of_nothing(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def without_shapes(model: ModelProto) -> None:
    del model.graph.value_info[:]


def with_half_of_the_shapes(model: ModelProto) -> None:
    for value in model.graph.value_info[::2]:
        value.type.Clear()


def with_an_empty_input(model: ModelProto) -> None:
    position, node = next((i, node) for i, node in enumerate(model.graph.node) if node.name == "se_relu")
    clip = helper.make_node("Clip", [node.input[0], "", "limit"], ["clipped"], name="clip")
    node.input[0] = "clipped"
    model.graph.node.insert(position, clip)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(1e6, np.float32), "limit"))


def newer_opset(model: ModelProto) -> None:
    model.opset_import[0].version = 23
    model.ir_version = 12


def with_outputs_that_are_read(model: ModelProto) -> None:
    """An embedding beside the logits, as networks give it that compare songs."""
    for name, shape in (("pool_out", ["batch", 16]), ("res_1_out", ["batch", 16, 8, 8])):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    rename(model.graph, {"stem_out": "pool_out inside"})


def with_unused_parts(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "unused"))
    model.graph.node.insert(0, helper.make_node("Relu", ["images"], ["dead"], name="dead"))


ODD = [
    unnamed, of_one_name, with_constants, with_lists_of_numbers, with_moved_weights, weights_are_inputs,
    old_ir_version, newer_ir_version, long_domain, domains_of_nothing, without_shapes,
    with_half_of_the_shapes, with_an_empty_input, newer_opset, with_outputs_that_are_read,
    with_unused_parts,
]  # fmt: skip


@pytest.mark.parametrize("edit", ODD, ids=lambda edit: edit.__name__)
def test_odd_graphs_compute_the_same_in_plain_form_and_convert(edit: Callable[[ModelProto], None]) -> None:
    expected = logits_of(small_network())  # ONNX Runtime itself refuses some of the odd ones
    odd = small_network()
    edit(odd)
    before = odd.SerializeToString(deterministic=True)
    plain = plain_from_onnx(odd)
    assert odd.SerializeToString(deterministic=True) == before
    np.testing.assert_allclose(logits_of(plain), expected, atol=1e-5)
    names = [node.name for node in plain.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert not {node.op_type for node in plain.graph.node} & {"Constant", "Transpose", "Cast", "gate"}
    assert [value.name for value in plain.graph.input] == ["images"]
    assert [opset.domain for opset in plain.opset_import] == [""]

    assert precision_by_op(plain)["Conv"] == {"fp32": 9}
    half = fp16_from_onnx(plain)
    assert precision_by_op(half)["Conv"] == {"fp16": 9}
    eight = quantized(plain)
    assert precision_by_op(eight)["Conv"] == {"int8": 6, "fp16": 3}
    assert precision_by_op(eight)["Gemm"] == {"int8": 1}
    assert np.abs(logits_of(half) - expected).max() < 0.02 * np.abs(expected).max()
    np.testing.assert_allclose(logits_of(eight), logits_of(quantized(small_network())), atol=0.05)


def test_outputs_beside_the_logits_stay_float32_and_near() -> None:
    odd = small_network()
    with_outputs_that_are_read(odd)
    plain = plain_from_onnx(odd)
    sessions = [
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for model in (odd, fp16_from_onnx(plain))
    ]
    assert [output.name for output in sessions[1].get_outputs()] == ["logits", "pool_out", "res_1_out"]
    for exact, half in zip(*(session.run(None, {"images": LOG_MELS}) for session in sessions), strict=True):
        assert np.asarray(half).dtype == np.float32
        assert np.abs(np.asarray(half) - exact).max() < 0.02 * np.abs(np.asarray(exact)).max()


@pytest.mark.parametrize(("kind", "gates", "outputs"), [("LSTM", 4, ["", "h", ""]), ("GRU", 3, ["", "h"])])
def test_outputs_and_inputs_that_are_left_out(kind: str, gates: int, outputs: list[str]) -> None:
    """A recurrent layer may give its last state alone, and a Clip may have no lower end."""
    rng, size = np.random.default_rng(0), 8
    weights = {
        "w": rng.standard_normal((1, gates * size, AUDIO.n_mels)).astype(np.float32) / 8,
        "r": rng.standard_normal((1, gates * size, size)).astype(np.float32) / 8,
        "one": np.array([1]),
        "first": np.array([0]),
        "high": np.float32(0.05),
        "matrix": rng.standard_normal((size, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Squeeze", ["images", "one"], ["image"]),
        helper.make_node("Transpose", ["image"], ["by_time"], perm=[2, 0, 1]),
        helper.make_node(kind, ["by_time", "w", "r"], outputs, name="layer", hidden_size=size),
        helper.make_node("Clip", ["h", "", "high"], ["clipped"], name="layer unused 0"),
        helper.make_node("Squeeze", ["clipped", "first"], ["state"]),
        helper.make_node("Identity", ["state"], ["layer unused 0"]),
        helper.make_node("MatMul", ["layer unused 0", "matrix"], ["logits"]),
    ]
    shape = ["batch", 1, AUDIO.n_mels, AUDIO.frames]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    plain = plain_from_onnx(model)
    names = [name for node in plain.graph.node for name in node.output]
    assert all(names)
    assert len(set(names)) == len(names)
    np.testing.assert_allclose(logits_of(plain), logits_of(model), atol=1e-6)
    np.testing.assert_allclose(logits_of(fp16_from_onnx(plain)), logits_of(model), atol=1e-2)


@pytest.mark.parametrize(
    "name",
    ["stem_act_out_scale", "stem_act_out_zero_point", "stem_act_out_QuantizeLinear_Output", "images_scale",
     "stem_act_out_DequantizeLinear_Output", "res_1.weight_quantized", "res_1.weight_scale", "res_2.bias0"],
)  # fmt: skip
@pytest.mark.parametrize("old", ["res_1_out", "res_down.bias"])
def test_tensors_with_names_that_int8_makes(old: str, name: str) -> None:
    """A bias that two layers share, too: ONNX Runtime copies it to its name and a number."""
    model = small_network()
    (layer,) = [node for node in model.graph.node if node.name == "res_1"]
    layer.input[2] = "res_2.bias"
    expected = logits_of(model), logits_of(quantized(plain_from_onnx(model)))
    for node in model.graph.node:
        for ends in (node.input, node.output):
            ends[:] = [name if each == old else each for each in ends]
    for each in (*model.graph.initializer, *model.graph.value_info):
        each.name = name if each.name == old else each.name
    plain = plain_from_onnx(model)
    assert plain_from_onnx(plain) == plain
    eight = quantized(plain)
    assert precision_by_op(eight)["Conv"] == {"int8": 6, "fp16": 3}
    assert len({node.input[2] for node in eight.graph.node if node.op_type == "Conv"}) == 9
    np.testing.assert_array_equal((logits_of(plain), logits_of(eight)), expected)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_a_gemm_keeps_its_beta_in_every_precision(beta: float) -> None:
    """As of torch.addmm. A second Gemm, whose beta is 1, reads the same bias."""
    model = small_network()
    (head,) = [node for node in model.graph.node if node.name == "head"]
    head.attribute.append(helper.make_attribute("beta", beta))
    other = helper.make_node("Gemm", list(head.input), ["other"], name="other", transB=1, beta=1.0)
    head.output[0] = "first"
    model.graph.node.extend([other, helper.make_node("Add", ["first", "other"], ["logits"], name="sum")])
    (bias,) = [tensor for tensor in model.graph.initializer if tensor.name == "head.bias"]
    bias.CopyFrom(numpy_helper.from_array(np.array([200, -300, 100, 250], np.float32), bias.name))
    model = onnx.shape_inference.infer_shapes(model)
    expected = logits_of(model)
    plain = plain_from_onnx(model)
    assert plain_from_onnx(plain) == plain
    np.testing.assert_allclose(logits_of(plain), expected, atol=1e-5)
    for converted in (fp16_from_onnx(plain), quantized(plain)):
        np.testing.assert_allclose(logits_of(converted), expected, atol=20)  # half of the least bias is 50


def test_a_plain_graph_stays_as_it_is() -> None:
    model = small_network()
    assert plain_from_onnx(model) == model
    assert plain_from_onnx(plain_from_onnx(model)) == model


def unknown_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "Convolve"


def nothing_before_it(model: ModelProto) -> None:
    model.graph.node[3].input[0] = "nowhere"


def field_of_the_future(model: ModelProto) -> None:
    newer_ir_version(model)
    model.graph.node[0].MergeFromString(b"\xfa\x3e\x01\x01")  # field 1007, one byte


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (unknown_operator, "not valid ONNX: ValidationError: .*Convolve"),
        (nothing_before_it, "not valid ONNX: ValidationError: .*"),
        (field_of_the_future, "fields of an ONNX newer than"),
    ],
)
def test_graphs_that_have_no_plain_form_are_refused_in_one_line(
    edit: Callable[[ModelProto], None], message: str
) -> None:
    model = small_network()
    edit(model)
    with pytest.raises(ArtifactError, match=message) as refused:
        plain_from_onnx(model)
    assert "\n" not in str(refused.value)


def test_weights_that_are_no_tensor_stay_where_they_are() -> None:
    model = small_network()
    text = helper.make_node("Constant", [], ["words"], name="words", value_string="x")
    model.graph.node.insert(0, text)
    plain = plain_from_onnx(model)
    assert [node.name for node in plain.graph.node if node.op_type == "Constant"] == ["words"]
    assert onnx.checker.check_model(plain) is None
