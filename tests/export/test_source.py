"""What can be exported, and sources that are refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from merkit.engine.artifact import SPEC_KEY
from merkit.engine.errors import ArtifactError, MerError, UsageError
from merkit.export.source import EXPORT_KEY, fp32_models, open_source
from onnx import TensorProto, helper
from small_networks import small_network, write_network


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


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda model: model.ClearField("metadata_props"), f"no {SPEC_KEY}"),
        (fixed_batch, "fixed batch 1"),
        (external, "weights in other files"),
        (old_opset, "opset 17"),
        (half, "FP16 or INT8 already"),
    ],
)
def test_graphs_that_are_refused(model: Path, edit: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as refused:
        open_source(str(edited(model, edit)))
    assert refused.value.exit_code == 1


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


def test_other_models_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mobilenetv3"):  # the known ones are named
        open_source("mobilenetv9")
    for name, code in (("x.txt", 2), ("x.engine", 1), ("x.onnx", 1), ("x.safetensors", 1)):
        (tmp_path / name).write_bytes(b"nothing to see")
        with pytest.raises(MerError) as refused:
            open_source(str(tmp_path / name))
        assert refused.value.exit_code == code, name


def test_models_that_an_export_wrote_are_not_exported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EXPORT_KEY == "mer.export"  # files hold it
    home = tmp_path / "mer-home" / "models"
    home.mkdir(parents=True)
    write_network(home / "good.onnx")
    (home / "broken.onnx").write_bytes(b"nothing")  # its export says what is wrong
    exported = onnx.load_from_string(small_network().SerializeToString())
    helper.set_model_props(exported, {SPEC_KEY: "{}", EXPORT_KEY: "{}"})
    (home / "good_fp16.onnx").write_bytes(exported.SerializeToString())
    monkeypatch.setattr("merkit.engine.artifact._BUNDLED", tmp_path / "none")
    assert fp32_models() == ["broken", "good"]
