"""Networks that were trained elsewhere enter with what their user says of them, and nothing else enters."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from merkit.engine.artifact import LARGEST, SPEC_KEY
from merkit.engine.errors import ArtifactError, MerError, SpecError, UsageError
from merkit.engine.spec import AudioSpec
from merkit.export.foreign import Foreign, foreign_from_texts
from merkit.export.foreign_ends import take_our_images
from merkit.export.precision import fp16_from_onnx, int8_from_onnx, layers_to_quantize, tensors_to_quantize
from merkit.export.source import open_source
from onnx import helper
from safetensors.torch import save_file
from small_networks import AUDIO, small_network
from torchvision import models

LABELS = ("a", "b", "c", "d")
FOREIGN = Foreign(AUDIO, LABELS)
ONES = np.ones((2, 1, 32, 32), np.float32)


def foreign_network(change: Any = lambda model: None) -> onnx.ModelProto:
    """Without a ModelSpec, its ends named otherwise and its batch fixed, as other programs write it."""
    model = small_network()
    model.ClearField("metadata_props")
    for node in model.graph.node:
        node.input[:] = ["x" if name == "images" else name for name in node.input]
        node.output[:] = ["y" if name == "logits" else name for name in node.output]
    for value, name in ((model.graph.input[0], "x"), (model.graph.output[0], "y")):
        value.name = name
        value.type.tensor_type.shape.dim[0].dim_value = 1
    change(model)
    return model


def written(tmp_path: Path, model: onnx.ModelProto) -> str:
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    return str(tmp_path / "theirs.onnx")


def logits(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    return np.asarray(session.run(None, {value.name: images})[0])


def test_a_foreign_graph_becomes_one_of_ours(tmp_path: Path):
    source = open_source(written(tmp_path, foreign_network()), replace(FOREIGN, given={"spec": "their.json"}))
    assert source.given == {"spec": "their.json"}
    spec = source.artifact.spec
    assert (spec.labels, spec.audio, spec.backbone) == (LABELS, AUDIO, "theirs")
    assert spec.provenance["imported"] == "theirs.onnx"
    images = np.random.default_rng(0).normal(0, 1, (3, 1, 32, 32)).astype(np.float32)
    assert np.allclose(logits(source.model(), images), logits(small_network(), images), atol=1e-5)


def test_a_foreign_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.onnx")
    Path(written(tmp_path, foreign_network())).rename(path)
    spec = open_source(str(path), FOREIGN).artifact.spec
    assert (spec.provenance["imported"], spec.backbone) == ("caf\\xe9.onnx", "caf\\xe9")


def of_one_window_throughout(model: onnx.ModelProto) -> None:
    """Every tensor says the batch, as exporters and the conversion of an older opset leave it."""
    del model.graph.value_info[:]
    model.graph.value_info.extend(onnx.shape_inference.infer_shapes(model).graph.value_info)


def test_a_fixed_batch_is_opened_throughout(tmp_path: Path):
    """The conversions infer shapes again, and would find it inside."""
    model = open_source(written(tmp_path, foreign_network(of_one_window_throughout)), FOREIGN).model()
    layers = layers_to_quantize(model)
    assert layers == layers_to_quantize(small_network())
    ranges = dict.fromkeys(tensors_to_quantize(model, layers), (-1.0, 1.0))
    for converted in (model, fp16_from_onnx(model), int8_from_onnx(model, ranges)):
        ends = (*converted.graph.input, *converted.graph.output)
        assert [value.type.tensor_type.shape.dim[0].dim_param for value in ends] == ["batch", "batch"]


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize(
    ("sizes", "allowzero", "constant"), [((1, 4), 1, False), ((1, -1), 1, False), ((1, -1), 0, True)]
)
def test_a_batch_that_reshapes_hold_is_opened(
    tmp_path: Path, sizes: tuple[int, int], allowzero: int, constant: bool, opset: int
):
    """As torch.onnx.export writes ``flatten`` without dynamic_shapes; who else reads the shape still does.

    Of an older opset the graph before its conversion, with which the trial compares it, is opened too.
    """

    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = opset
        of_one_window_throughout(model)
        model.graph.node[-1].output[0] = "y inside"
        shape = onnx.numpy_helper.from_array(np.array(sizes), "sizes")
        if constant:
            model.graph.node.append(helper.make_node("Constant", [], ["sizes"], value=shape))
        else:
            model.graph.initializer.append(shape)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(4, np.float32), "nothing"))
        model.graph.node.extend(
            [
                helper.make_node("Reshape", ["nothing", "sizes"], ["row"]),
                helper.make_node("Reshape", ["y inside", "sizes"], ["flat"], allowzero=allowzero),
                helper.make_node("Add", ["flat", "row"], ["y"]),
            ]
        )

    source = open_source(written(tmp_path, foreign_network(change)), FOREIGN)
    np.testing.assert_allclose(logits(source.model(), ONES), logits(small_network(), ONES), atol=1e-5)


def test_a_reshape_that_mixes_windows_is_refused(tmp_path: Path):
    """Its first size was 1 as the batch is, and was something else."""

    def change(model: onnx.ModelProto) -> None:
        of_one_window_throughout(model)
        model.graph.node[-1].output[0] = "y inside"
        shape = onnx.numpy_helper.from_array(np.array((1, 4)), "sizes")
        model.graph.initializer.append(shape)
        model.graph.node.append(helper.make_node("Transpose", ["y inside"], ["turned"], perm=[1, 0]))
        model.graph.node.append(helper.make_node("Reshape", ["turned", "sizes"], ["y"]))

    with pytest.raises(ArtifactError, match=r"gives one window other numbers in another batch.*fixed at 1"):
        open_source(written(tmp_path, foreign_network(change)), FOREIGN)


def test_a_fixed_batch_that_cannot_be_opened_says_how_to_export(tmp_path: Path):
    """As of a first state of an LSTM that was made for one window: the trial's words are of its insides."""

    def change(model: onnx.ModelProto) -> None:
        of_one_window_throughout(model)
        nodes = [
            helper.make_node("Unsqueeze", ["y inside", "axis"], ["steps"]),
            helper.make_node("RNN", ["steps", "w", "w", "", "", "state"], ["", "heard"], hidden_size=4),
            helper.make_node("Squeeze", ["heard", "axis"], ["y"]),
        ]
        model.graph.node[-1].output[0] = "y inside"
        model.graph.node.extend(nodes)
        weights = {"axis": np.array([0]), "w": np.eye(4, dtype=np.float32)[None]}
        weights["state"] = np.ones((1, 1, 4), np.float32)
        model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in weights.items())

    with pytest.raises(
        ArtifactError, match=r"fixed at 1, was opened.*dynamic_axes or dynamic_shapes"
    ) as error:
        open_source(written(tmp_path, foreign_network(change)), FOREIGN)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("expanded", [False, True])
def test_a_first_state_of_zeros_takes_any_batch(tmp_path: Path, expanded: bool):
    """As of a GRU that was exported for one window or for eight, with a reshape whose second size it is."""

    def change(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 8
        model.graph.node[-1].output[0] = "y inside"
        weights = {"axis": np.array([0]), "w": np.eye(4, dtype=np.float32)[None]}
        weights |= {"sizes": np.array([1, 8, 4]), "row": np.array([-1, 4])}
        weights["zeros"] = np.zeros((1, 1 if expanded else 8, 4), np.float32)
        nodes = [
            helper.make_node("Unsqueeze", ["y inside", "axis"], ["steps"]),
            helper.make_node("GRU", ["steps", "w3", "w3", "", "", "state"], ["each", "last"], hidden_size=4),
            helper.make_node("Add", ["last", "state"], ["what nothing reads"]),
            helper.make_node("Reshape", ["each", "sizes"], ["heard"]),
            helper.make_node("Reshape", ["heard", "row"], ["y"]),
        ]
        weights["w3"] = np.concatenate([weights.pop("w")] * 3, axis=1)
        if expanded:
            nodes.insert(0, helper.make_node("Expand", ["zeros", "state sizes"], ["state"]))
            weights["state sizes"] = np.array([1, 8, 4])
        else:
            weights["state"] = weights.pop("zeros")
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in weights.items())

    model = foreign_network(change)
    images = np.random.default_rng(0).normal(0, 1, (8, 1, 32, 32)).astype(np.float32)
    opened = open_source(written(tmp_path, model), FOREIGN).model()
    np.testing.assert_allclose(logits(opened, images), logits(model, images), atol=1e-5)
    np.testing.assert_allclose(logits(opened, images[:3]), logits(model, images)[:3], atol=1e-5)


def test_a_checkpoint_of_ours_carries_its_own_spec_and_labels(tmp_path: Path):
    path = tmp_path / "checkpoint.safetensors"
    save_file({"x": torch.zeros(1)}, path, {SPEC_KEY: "{}"})
    with pytest.raises(UsageError, match=r"checkpoint\.safetensors carries a spec and labels of its own"):
        open_source(str(path), Foreign(AUDIO, LABELS, "audiocnn"))
    save_file({"x": torch.zeros(1)}, path, {"format": "pt"})
    with pytest.raises(MerError, match="weights do not fit audiocnn"):
        open_source(str(path), Foreign(AUDIO, LABELS, "audiocnn"))


def test_a_name_that_is_taken_inside_makes_way(tmp_path: Path):
    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.input[:] = ["images" if name == "stem_out" else name for name in node.input]
            node.output[:] = ["images" if name == "stem_out" else name for name in node.output]

    source = open_source(written(tmp_path, foreign_network(change)), FOREIGN)
    images = np.random.default_rng(0).normal(0, 1, (2, 1, 32, 32)).astype(np.float32)
    assert np.allclose(logits(source.model(), images), logits(small_network(), images), atol=1e-5)


def test_an_older_graph_is_converted(tmp_path: Path):
    x = helper.make_tensor_value_info("x", 1, ["n", 1, 32, 32])
    y = helper.make_tensor_value_info("y", 1, ["n", 4])
    w = onnx.numpy_helper.from_array(np.ones((4, 1, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),  # an input since opset 18
    ]
    graph = helper.make_graph(nodes, "old", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    images = np.random.default_rng(0).normal(0, 1, (2, 1, 32, 32)).astype(np.float32)
    source = open_source(written(tmp_path, model), FOREIGN)
    assert np.allclose(logits(source.model(), images), logits(model, images), atol=1e-6)


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("ends", [("x", "images"), ("logits", "images"), ("logits", "y"), ("images", "y")])
def test_ends_that_have_our_names_the_other_way_round(tmp_path: Path, opset: int, ends: tuple[str, str]):
    x, y = ends
    w = onnx.numpy_helper.from_array(
        np.random.default_rng(1).random((4, 1, 3, 3), np.float32), "logits inside"
    )
    nodes = [
        helper.make_node("Conv", [x, "logits inside"], ["images inside"]),
        helper.make_node("GlobalAveragePool", ["images inside"], ["p"]),
        helper.make_node("Flatten", ["p"], [y]),
    ]
    values = [helper.make_tensor_value_info(*each) for each in ((x, 1, ["n", 1, 32, 32]), (y, 1, ["n", 4]))]
    graph = helper.make_graph(nodes, "theirs", values[:1], values[1:], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    images = np.random.default_rng(0).normal(0, 1, (2, 1, 32, 32)).astype(np.float32)
    source = open_source(written(tmp_path, model), FOREIGN)
    assert np.allclose(logits(source.model(), images), logits(model, images), atol=1e-6)


def old_model(opset: int, *nodes: onnx.NodeProto, **weights: Any) -> onnx.ModelProto:
    """From "x" through these to "p", then a mean of each of four filters."""
    weights["w"] = np.random.default_rng(1).standard_normal((4, 1, 3, 3)).astype(np.float32)
    made = [
        *nodes,
        helper.make_node("Conv", ["p", "w"], ["c"], strides=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["m", "one"], ["y"]),
    ]
    weights["one"] = np.ones(1, np.float32)
    graph = helper.make_graph(
        made,
        "old",
        [helper.make_tensor_value_info("x", 1, ["n", 1, 32, 32])],
        [helper.make_tensor_value_info("y", 1, ["n", 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=5)


def resized(opset: int, mode: str, scale: float) -> onnx.ModelProto:
    kind = "Upsample" if opset < 10 else "Resize"
    node = helper.make_node(kind, ["x", "s"], ["p"], mode=mode)
    return old_model(opset, node, s=np.array([1, 1, scale, scale], np.float32))


@pytest.mark.parametrize("opset", [9, 10])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("scale", [2, 1.5])
def test_an_older_resize_computes_as_before(tmp_path: Path, opset: int, mode: str, scale: float):
    model = resized(opset, mode, scale)
    images = np.random.default_rng(0).normal(0, 1, (2, 1, 32, 32)).astype(np.float32)
    source = open_source(written(tmp_path, model), FOREIGN)
    assert np.allclose(logits(source.model(), images), logits(model, images), atol=1e-5)


def test_a_conversion_that_changes_the_logits_is_refused(tmp_path: Path):
    """The converter errs in silence: before opset 13 a Hardmax is over all axes from its own on."""
    advice = "export it anew where it was made, with opset 20$"
    for model in (
        old_model(11, helper.make_node("Hardmax", ["x"], ["p"], axis=1)),
        resized(10, "nearest", 0.4),
    ):
        with pytest.raises(ArtifactError, match=f"of an opset before 20, and gives other logits .*{advice}"):
            open_source(written(tmp_path, model), FOREIGN)


def test_a_softmax_is_taken_off_before_the_conversion_is_compared(tmp_path: Path):
    model = old_model(9, helper.make_node("Upsample", ["x", "s"], ["p"], mode="linear"),
                      s=np.array([1, 1, 2, 2], np.float32))  # fmt: skip
    model.graph.node[-1].output[0] = "inner"
    expected = logits(open_source(written(tmp_path, resized(9, "linear", 2)), FOREIGN).model(), ONES)
    model.graph.node.append(helper.make_node("Softmax", ["inner"], ["y"]))
    said: list[str] = []
    source = open_source(written(tmp_path, model), FOREIGN, said.append)
    assert np.allclose(logits(source.model(), ONES), expected, atol=1e-6)
    assert len(said) == 1


def test_what_cannot_be_compared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(artifact: object, runtime: str) -> None:
        raise ArtifactError("no such kernel")

    monkeypatch.setattr("merkit.export.foreign_opset.check_by_trial", refused)
    with pytest.raises(ArtifactError, match=r"cannot be compared .*\(no such kernel\): export it anew"):
        open_source(written(tmp_path, resized(10, "linear", 2)), FOREIGN)


def ending_in(kind: str, **attributes: Any) -> Any:
    """Puts an operator behind the logits, as other programs do."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["inner" if name == "y" else name for name in node.output]
        model.graph.node.append(helper.make_node(kind, ["inner"], ["outer"], **attributes))
        model.graph.node.append(helper.make_node("Identity", ["outer"], ["y"]))

    return change


@pytest.mark.parametrize("attributes", [{}, {"axis": 1}, {"axis": -1}])
def test_a_softmax_at_the_end_is_taken_off(tmp_path: Path, attributes: dict[str, int]):
    """The engine makes one of the logits: of a softmax of a softmax nothing is sure any more."""
    said: list[str] = []
    file = written(tmp_path, foreign_network(ending_in("Softmax", **attributes)))
    source = open_source(file, FOREIGN, said.append)
    images = np.random.default_rng(0).normal(0, 1, (3, 1, 32, 32)).astype(np.float32)
    assert np.allclose(logits(source.model(), images), logits(small_network(), images), atol=1e-5)
    assert said == ["theirs.onnx ends in a softmax, which is taken off: what goes into it are the logits"]


def behind_a_softmax(*nodes: onnx.NodeProto, axis: int = -1, **constants: list[float]) -> Any:
    """Puts a softmax behind the logits and these nodes behind it, from the tensor "p" to "y"."""

    def change(model: onnx.ModelProto) -> None:
        ending_in("Identity")(model)
        del model.graph.node[-1]
        model.graph.node.append(helper.make_node("Unsqueeze", ["outer", "last"], ["z"]))
        model.graph.node.append(helper.make_node("Softmax", ["z"], ["p"], axis=axis))
        model.graph.node.extend(nodes)
        for name, values in {"last": [2], **constants}.items():
            kind = np.int64 if isinstance(values[0], int) else np.float32
            array = np.array(values if kind is np.int64 else values[0], kind)
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))

    return change


@pytest.mark.parametrize(
    "change",
    [
        behind_a_softmax(helper.make_node("Flatten", ["p"], ["y"]), axis=1),
        behind_a_softmax(helper.make_node("Squeeze", ["p", "last"], ["y"]), axis=-2),
        behind_a_softmax(helper.make_node("Reshape", ["p", "to"], ["y"]), axis=1, to=[-1, 4]),
        behind_a_softmax(
            helper.make_node("Clip", ["p", "low", "high"], ["c"]),
            helper.make_node("Flatten", ["c"], ["f"]),
            helper.make_node("Identity", ["f"], ["y"]),
            axis=1,
            low=[1e-7],
            high=[1.0],
        ),
    ],
)
def test_a_softmax_behind_which_only_the_shape_changes_is_taken_off(tmp_path: Path, change: Any):
    said: list[str] = []
    source = open_source(written(tmp_path, foreign_network(change)), FOREIGN, said.append)
    images = np.random.default_rng(0).normal(0, 1, (3, 1, 32, 32)).astype(np.float32)
    assert np.allclose(logits(source.model(), images), logits(small_network(), images), atol=1e-5)
    assert len(said) == 1


def test_a_softmax_of_something_else_stays(tmp_path: Path):
    """Over an axis of one it makes ones, which no step before it is to answer for."""
    change = behind_a_softmax(helper.make_node("Flatten", ["p"], ["y"]), axis=2)
    source = open_source(written(tmp_path, foreign_network(change)), FOREIGN)
    assert np.allclose(logits(source.model(), np.zeros((1, 1, 32, 32), np.float32)), 1)


def parts_of_a_sum(model: onnx.ModelProto) -> None:
    ending_in("Abs")(model)
    del model.graph.node[-1]
    model.graph.node.append(helper.make_node("ReduceSum", ["outer", "of_labels"], ["sum"]))
    model.graph.node.append(helper.make_node("Div", ["outer", "sum"], ["y"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "of_labels"))


def read_twice(model: onnx.ModelProto) -> None:
    """Its probabilities go another way too: a softmax that is taken off would change that."""
    ending_in("Softmax")(model)
    del model.graph.node[-1]
    model.graph.node.append(helper.make_node("Add", ["outer", "outer"], ["double"]))
    model.graph.node.append(helper.make_node("Sub", ["double", "outer"], ["y"]))


def in_percent(model: onnx.ModelProto) -> None:
    ending_in("Softmax")(model)
    del model.graph.node[-1]
    model.graph.node.append(helper.make_node("Mul", ["outer", "hundred"], ["y"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(100, np.float32), "hundred"))


def sigmoids_of_each(model: onnx.ModelProto) -> None:
    """One head a label, as of networks that were trained for each."""
    ending_in("Identity")(model)
    del model.graph.node[-1]
    heads = [f"head_{i}" for i in range(4)]
    model.graph.node.append(helper.make_node("Split", ["outer"], heads, axis=1, num_outputs=4))
    model.graph.node.extend(helper.make_node("Sigmoid", [head], [f"{head}_p"]) for head in heads)
    model.graph.node.append(helper.make_node("Concat", [f"{head}_p" for head in heads], ["y"], axis=1))


def sigmoids_moved(model: onnx.ModelProto) -> None:
    ending_in("Transpose", perm=[1, 0])(model)
    model.graph.node[-1].op_type, model.graph.node[-1].output[0] = "Sigmoid", "moved"
    model.graph.node.append(helper.make_node("Transpose", ["moved"], ["y"], perm=[1, 0]))


@pytest.mark.parametrize("change", [parts_of_a_sum, read_twice, in_percent, sigmoids_of_each, sigmoids_moved])
def test_probabilities_are_refused_however_they_are_made(tmp_path: Path, change: Any):
    with pytest.raises(
        ArtifactError, match=r"theirs.onnx gives probabilities, and the engine makes the softmax"
    ):
        open_source(written(tmp_path, foreign_network(change)), FOREIGN)


def test_an_older_softmax_is_taken_off(tmp_path: Path):
    x = helper.make_tensor_value_info("x", 1, ["n", 1, 32, 32])
    y = helper.make_tensor_value_info("y", 1, ["n", 4])
    w = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1), "w")
    mean = helper.make_node("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=0)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), mean, helper.make_node("Softmax", ["m"], ["y"])]
    model = helper.make_model(
        helper.make_graph(nodes, "old", [x], [y], [w]),
        opset_imports=[helper.make_opsetid("", 11)],
        ir_version=6,
    )
    source = open_source(written(tmp_path, model), FOREIGN)
    ones = np.ones((2, 1, 32, 32), np.float32)
    assert np.allclose(logits(source.model(), ones), [[0, 1, 2, 3]] * 2, atol=1e-6)


def test_ends_that_are_no_softmax(tmp_path: Path):
    images = np.random.default_rng(0).normal(0, 1, (2, 1, 32, 32)).astype(np.float32)
    said: list[str] = []
    theirs = foreign_network(ending_in("LogSoftmax"))  # its softmax is that of the logits
    source = open_source(written(tmp_path, theirs), FOREIGN, said.append)
    ours, expected = logits(source.model(), images), logits(small_network(), images)
    assert np.allclose(np.diff(ours), np.diff(expected), atol=1e-5)
    assert not np.allclose(ours, expected)
    assert said == []
    with pytest.raises(ArtifactError, match="the logits of one softmax over all labels are needed"):
        open_source(written(tmp_path, foreign_network(ending_in("Sigmoid"))), FOREIGN)


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ([0, 32], "[batch, frames, mels]"),
        ([32, 0], "[batch, mels, frames]"),
        ([1, 0, 32], "[batch, 1, frames, mels]"),
        ([1, 32, 0], ""),
        ([32, 32, 1], "[batch, mels, frames, 1]"),
    ],
)
def test_of_two_equal_sizes_an_open_one_is_the_frames(shape: list[int], order: str):
    value = helper.make_tensor_value_info("x", 1, ["n", *(size or None for size in shape)])
    model = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], []))
    assert take_our_images(model, replace(AUDIO, n_mels=32, frames=32)) == order


@pytest.mark.parametrize(
    ("shape", "axes", "said", "opset"),
    [
        ([40, 32, 1], (0, 2, 3, 1), "[batch, mels, frames, 1]", 18),
        ([40, 32], None, "[batch, mels, frames]", 18),
        ([1, 32, 40], (0, 1, 3, 2), "[batch, 1, frames, mels]", 20),
        ([32, 40, 1], (0, 3, 2, 1), "[batch, frames, mels, 1]", 20),
        ([32, 40], (0, 2, 1), "[batch, frames, mels]", 20),
        ([0, 0, 1], (0, 2, 3, 1), "[batch, mels, frames, 1]", 20),
        (["time", "mels", 1], (0, 3, 2, 1), "[batch, frames, mels, 1]", 20),
        ([1, "t", 0], (0, 1, 3, 2), "[batch, 1, frames, mels]", 20),
    ],
)
def test_an_image_in_another_order_is_taken(
    tmp_path: Path, shape: list[int | str], axes: tuple[int, ...] | None, said: str, opset: int
):
    """As Keras has it, with the channel last, and as those who transpose or who add the channel inside."""

    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = opset
        dims = model.graph.input[0].type.tensor_type.shape.dim
        del dims[1:]
        for size in shape:
            is_known = isinstance(size, int) and size
            dims.add(**({"dim_value": size} if is_known else {"dim_param": str(size or f"size {len(dims)}")}))
        # Back to the order of the network: what a user's own first layers did.
        rank = len(shape) + 1
        back = [helper.make_node("Transpose", ["x"], ["image"], perm=inverse(axes or range(rank)))]
        if rank == 3:
            sizes = onnx.numpy_helper.from_array(np.array([0, 1, 40, 32]), "image sizes")
            model.graph.initializer.append(sizes)
            back[0].output[0] = "two"
            back.append(helper.make_node("Reshape", ["two", "image sizes"], ["image"]))
        model.graph.node[0].input[0] = "image"
        nodes = [*back, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    def inverse(order: Any) -> list[int]:
        return [int(place) for place in np.argsort(list(order))]

    audio = replace(AUDIO, n_mels=40)
    lines: list[str] = []
    source = open_source(written(tmp_path, foreign_network(change)), Foreign(audio, LABELS), lines.append)
    assert lines == [f"theirs.onnx takes {said}: windows are put in that order before it"]
    images = np.random.default_rng(0).normal(0, 1, (3, 1, 40, 32)).astype(np.float32)
    np.testing.assert_allclose(
        logits(source.model(), images), logits(small_network(audio=audio), images), atol=1e-5
    )


@pytest.mark.parametrize(
    ("foreign", "reason"),
    [
        (Foreign(AUDIO, ("a", "b")), r"gives \[1, 4\]; the spec and the labels say \[batch, 2\]"),
        (Foreign(AudioSpec(), LABELS), r"takes \[1, 1, 32, 32\]"),
    ],
)
def test_what_does_not_fit_is_refused(foreign: Foreign, reason: str, tmp_path: Path):
    with pytest.raises(ArtifactError, match=reason):
        open_source(written(tmp_path, foreign_network()), foreign)


def test_hostile_and_wrong_files_are_refused(tmp_path: Path):
    def external(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

    with pytest.raises(
        ArtifactError, match=r"weights in other files.*: onnx.save\(onnx.load\(F\), G\) makes one"
    ):
        open_source(written(tmp_path, foreign_network(external)), FOREIGN)
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ArtifactError, match=r"text.onnx"):
        open_source(str(tmp_path / "text.onnx"), FOREIGN)
    with pytest.raises(UsageError, match="of its own"):
        open_source(written(tmp_path, small_network()), FOREIGN)


def test_ends_of_another_type_are_refused(tmp_path: Path):
    def change(model: onnx.ModelProto) -> None:
        ending_in("Cast", to=onnx.TensorProto.FLOAT16)(model)
        model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16

    with pytest.raises(ArtifactError, match=r"theirs.onnx: it gives FLOAT16; it must be float32"):
        open_source(written(tmp_path, foreign_network(change)), FOREIGN)


def test_files_that_are_too_large_or_empty_are_named_so(tmp_path: Path):
    large = tmp_path / "large.onnx"
    with large.open("wb") as file:
        file.truncate(LARGEST + 1)  # a hole: it takes no space
    with pytest.raises(ArtifactError, match=r"large.onnx: it is larger than 858 MB"):
        open_source(str(large), FOREIGN)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ArtifactError, match=r"empty.onnx: it is not an ONNX file"):
        open_source(str(tmp_path / "empty.onnx"), FOREIGN)


def test_a_state_dict_of_torchvision_enters(tmp_path: Path):
    torch.manual_seed(0)
    theirs = models.squeezenet1_0(weights=None, num_classes=4).eval()
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "theirs.pth")
    images = np.random.default_rng(0).normal(0, 1, (2, 1, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(images).repeat(1, 3, 1, 1)).numpy()
    for name in ("theirs.safetensors", "theirs.pth"):
        source = open_source(str(tmp_path / name), Foreign(AUDIO, LABELS, "squeezenet"))
        assert np.allclose(logits(source.model(), images), expected, atol=1e-4)
    with pytest.raises(UsageError, match="name the backbone"):
        open_source(str(tmp_path / "theirs.pth"), FOREIGN)
    with pytest.raises(MerError, match="do not fit squeezenet"):
        open_source(str(tmp_path / "theirs.pth"), Foreign(AUDIO, ("a", "b"), "squeezenet"))


def test_what_is_said_of_it(tmp_path: Path):
    assert foreign_from_texts("emotion4q", "sad, happy", None).labels == ("sad", "happy")
    assert foreign_from_texts("emotion4q", '"sad, blue",happy', None).labels == ("sad, blue", "happy")
    (tmp_path / "spec.json").write_text(AUDIO.to_json())
    assert foreign_from_texts(str(tmp_path / "spec.json"), "a,b", "resnet18").audio == AUDIO
    (tmp_path / "spec.json").write_text(AUDIO.to_json(), encoding="utf-8-sig")  # as some editors do
    assert foreign_from_texts(str(tmp_path / "spec.json"), "a,b", None).audio == AUDIO
    for typed, name in (("MobileNet-V3-Small", "mobilenetv3"), ("their own", "their own")):
        assert foreign_from_texts("emotion4q", "a,b", typed).spec(Path("x")).backbone == name
    foreign = foreign_from_texts(str(tmp_path / "spec.json"), "a, b", "MobileNet-V3-Small")
    assert foreign.given == {"spec": "spec.json", "labels": "a, b", "backbone": "MobileNet-V3-Small"}
    assert foreign_from_texts("emotion4q", "a,b", None).given == {"spec": "emotion4q", "labels": "a,b"}
    with pytest.raises(UsageError, match="presets: emotion4q"):
        foreign_from_texts("emotion5q", "a,b", None)
    with pytest.raises(UsageError, match="different"):
        foreign_from_texts("emotion4q", "a,a", None)
    (tmp_path / "spec.json").write_text(json.dumps({"n_mels": 3}))
    with pytest.raises(SpecError, match=r"spec.json: AudioSpec lacks fields"):
        foreign_from_texts(str(tmp_path / "spec.json"), "a,b", None)
