"""What can be exported, and sources that are refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from merkit.engine.artifact import SPEC_KEY
from merkit.engine.errors import ArtifactError, MerError, UsageError
from merkit.engine.spec import ModelSpec
from merkit.export.foreign import Foreign
from merkit.export.source import EXPORT_KEY, fp32_models, name_of_source, open_source
from onnx import TensorProto, helper
from safetensors.torch import save_file
from small_networks import AUDIO, small_network, write_network
from torchvision import models


def edited(path: Path, edit: Any) -> Path:
    model = onnx.load_from_string(path.read_bytes())
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 17


def fixed_logits(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


def batch_inside(model: onnx.ModelProto) -> None:
    """As an exporter writes it that traced one window."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray([1, 4]), "one_window"))
    head = model.graph.node[-1]
    head.output[0] = "head_out"
    model.graph.node.append(helper.make_node("Reshape", ["head_out", "one_window"], ["logits"], name="shape"))


def quantized_by_another_program(model: onnx.ModelProto) -> None:
    head = model.graph.node[-1]
    scale = onnx.numpy_helper.from_array(np.asarray(0.1, np.float32), "scale")
    zero = onnx.numpy_helper.from_array(np.asarray(0, np.int8), "zero")
    model.graph.initializer.extend([scale, zero])
    for name, inputs, output in (("QuantizeLinear", head.input[0], "q"), ("DequantizeLinear", "q", "dq")):
        node = helper.make_node(name, [inputs, "scale", "zero"], [output], domain="com.microsoft")
        model.graph.node.insert(len(model.graph.node) - 1, node)
    model.graph.node[-1].input[0] = "dq"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def in_double_precision(model: onnx.ModelProto) -> None:
    head = model.graph.node[-1]
    for i, name in enumerate(head.input):
        to = helper.make_node("Cast", [name], [f"{name}.double"], to=TensorProto.DOUBLE)
        model.graph.node.insert(len(model.graph.node) - 1, to)
        model.graph.node[-1].input[i] = f"{name}.double"
    model.graph.node[-1].output[0] = "double"
    model.graph.node.append(helper.make_node("Cast", ["double"], ["logits"], to=TensorProto.FLOAT))


def unknown_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def half(model: onnx.ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def test_an_onnx_is_its_own_reference(model: Path) -> None:
    source = open_source(str(model))
    assert source.torch_infer is None
    assert source.artifact.spec.backbone == "small"
    source.model().graph.ClearField("node")  # a copy each time
    assert len(source.model().graph.node) == len(small_network().graph.node)


def no_name_of_the_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()


def without_names(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.name = ""
    model.ir_version = 99


def with_another_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("pool_out", TensorProto.FLOAT, ["batch", 16]))


@pytest.mark.parametrize("edit", [no_name_of_the_batch, without_names, with_another_output])
def test_an_odd_graph_is_opened_in_plain_form(model: Path, edit: Any) -> None:
    before = small_network()
    path = edited(model, edit)
    source = open_source(str(path))
    assert source.artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.model().ir_version == 10
    operators = [node.op_type for node in source.model().graph.node if node.op_type != "Identity"]
    assert operators == [node.op_type for node in before.graph.node]
    assert all(node.name for node in source.model().graph.node)
    assert source.model().graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda model: model.ClearField("metadata_props"), "no ModelSpec"),
        (lambda model: model.ClearField("metadata_props"), "a network from elsewhere with --spec and --lab"),
        (fixed_batch, "fixed batch 1"),
        (external, "weights in other files"),
        (old_opset, "opset 17"),
        (half, "FP16 or INT8 already"),
        (quantized_by_another_program, "FP16 or INT8 already"),
        (in_double_precision, "computes in DOUBLE"),
        (fixed_logits, "logits have the fixed batch 1"),
        (batch_inside, "fixed batch 1"),
        (unknown_opset, "99"),
    ],
)
def test_graphs_that_are_refused(model: Path, edit: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as refused:
        open_source(str(edited(model, edit)))
    assert refused.value.exit_code == 1
    assert "\n" not in str(refused.value)


class Evil:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.bin"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ArtifactError, match="is a pickle") as refused:
        open_source(str(path))
    assert refused.value.exit_code == 1
    assert "a network from elsewhere are, with --spec, --labels and --backbone" in str(refused.value)


def test_other_models_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mobilenetv3"):  # the known ones are named
        open_source("mobilenetv9")
    for name, code in (("x.txt", 2), ("x.engine", 1), ("x.plan", 1), ("x.onnx", 1), ("x.safetensors", 1)):
        (tmp_path / name).write_bytes(b"nothing to see")
        with pytest.raises(MerError) as refused:
            open_source(str(tmp_path / name))
        assert refused.value.exit_code == code, name


def test_a_suffix_may_be_in_capitals(model: Path) -> None:
    assert open_source(str(model.rename(model.with_name("NET.ONNX")))).artifact.name == "NET"


@pytest.mark.parametrize("run", ["mine", "mine/final"])
def test_a_trainings_checkpoint_has_its_folders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    """All of them have one file name: exports of two into one folder would replace each other."""
    torch.manual_seed(0)
    path = tmp_path / run / "checkpoint.safetensors"
    path.parent.mkdir(parents=True)
    save_file(models.squeezenet1_0(weights=None, num_classes=4).state_dict(), path)
    foreign = Foreign(AUDIO, ("a", "b", "c", "d"), "squeezenet")
    monkeypatch.chdir(path.parent)
    source = open_source("checkpoint.safetensors", foreign)
    assert source.artifact.name == name_of_source(source.artifact.path) == "mine"
    assert name_of_source(path.with_name("other.safetensors")) == "other"
    assert source.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != source.artifact.sha256


def test_models_that_an_export_wrote_are_not_exported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EXPORT_KEY == "mer.export"  # files hold it
    home = tmp_path / "mer-home" / "models"
    home.mkdir(parents=True)
    write_network(home / "good.onnx")
    (home / "broken.onnx").write_bytes(b"nothing")  # its export says what is wrong

    def exported(name: str, report: Any, spec: str) -> None:
        model = small_network()
        helper.set_model_props(model, {SPEC_KEY: spec, EXPORT_KEY: json.dumps(report)})
        (home / f"{name}.onnx").write_bytes(model.SerializeToString())

    spec = ModelSpec("small", ("a", "b", "c", "d"), AUDIO)
    imported = dataclasses.replace(spec, provenance={"imported": "theirs.onnx"}).to_json()
    exported("good_fp16", {}, "{}")
    exported("good_fp32", {"precision": "fp32"}, spec.to_json())
    exported("theirs_fp16", {"precision": "fp16"}, imported)
    exported("theirs_fp32", {"precision": "fp32"}, imported)  # its only form here
    exported("strange", [], imported)
    monkeypatch.setattr("merkit.engine.artifact._BUNDLED", tmp_path / "none")
    assert fp32_models() == ["broken", "good", "theirs_fp32"]


@pytest.mark.parametrize(("facts", "said"), [({"finished": False}, 1), ({"finished": True}, 0), ({}, 0)])
def test_a_training_that_was_stopped_is_said(model: Path, facts: dict[str, bool], said: int) -> None:
    """Its network is the best so far, and nothing else tells it from a finished one."""

    def stopped(graph: onnx.ModelProto) -> None:
        spec = ModelSpec("small", ("a", "b", "c", "d"), AUDIO, provenance=facts)
        helper.set_model_props(graph, {SPEC_KEY: spec.to_json()})

    lines: list[str] = []
    open_source(str(edited(model, stopped)), say=lines.append)
    line = f"warning: the training of {model} was stopped before its end: mer-train --resume finishes it"
    assert lines == [line] * said
