from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from engine_files import VERSION, engine, write_engine
from merkit.engine.artifact import SPEC_KEY, known_models, models_home, open_artifact, path_from_model
from merkit.engine.errors import ArtifactError, MerError, UsageError
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import ModelSpec
from onnx import helper, numpy_helper
from onnx_files import tiny_onnx


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    path = folder / "refused.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError) as error:
        open_artifact(str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_opens_what_it_is_given(tiny_model: Path, spec: ModelSpec) -> None:
    artifact = open_artifact(str(tiny_model))
    assert artifact.spec == spec
    assert artifact.content == tiny_model.read_bytes()
    assert len(artifact.sha256) == 64


def test_names_and_aliases(spec: ModelSpec) -> None:
    home = models_home()
    home.mkdir(parents=True)
    for name in ("resnet18", "resnet18_fp16"):
        (home / f"{name}.onnx").write_bytes(tiny_onnx(spec).SerializeToString())
    assert path_from_model("ResNet-18") == home / "resnet18.onnx"
    assert path_from_model("resnet18_fp16") == home / "resnet18_fp16.onnx"
    assert open_artifact("resnet_18").name == "resnet18"
    # A bundled model wins over one of the same name at home.
    bundled = known_models()["mobilenetv3"]
    (home / "mobilenetv3.onnx").write_bytes(b"")
    assert known_models()["mobilenetv3"] == bundled != home / "mobilenetv3.onnx"
    assert path_from_model("mobilenet-v3-small") == bundled


@pytest.mark.parametrize("name", ["mobilnet", "vgg16", "", "no/such.onnx"])
def test_unknown_names_list_the_known(name: str) -> None:
    with pytest.raises(UsageError, match="known: audiocnn, mobilenetv3, squeezenet"):
        path_from_model(name)


def test_not_onnx_or_without_a_spec(tmp_path: Path, spec: ModelSpec) -> None:
    for content in (b"", b"\x80\x04K\x01.", b"text that is no graph"):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"not an ONNX file|no ModelSpec"):
            open_artifact(str(tmp_path / "x.onnx"))
    assert "no ModelSpec" in refusal(tiny_onnx(None), tmp_path)
    model = tiny_onnx(spec)
    helper.set_model_props(model, {SPEC_KEY: "{}"})
    assert "lacks fields" in refusal(model, tmp_path)


def test_a_spec_that_does_not_fit(tmp_path: Path, spec: ModelSpec) -> None:
    import dataclasses

    model = tiny_onnx(spec)
    helper.set_model_props(model, {SPEC_KEY: dataclasses.replace(spec, labels=("a", "b")).to_json()})
    assert "must take images [batch, 1, 128, 313] and give logits [batch, 2]" in refusal(model, tmp_path)


def test_external_data_is_refused_wherever_it_hides(tmp_path: Path, spec: ModelSpec) -> None:
    def outside() -> onnx.TensorProto:
        tensor = numpy_helper.from_array(np.zeros(4, np.float32), "secret")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")
        return tensor

    as_initializer = tiny_onnx(spec)
    as_initializer.graph.initializer.append(outside())
    as_attribute = tiny_onnx(spec)
    as_attribute.graph.node.append(helper.make_node("Constant", [], ["c"], value=outside()))
    in_subgraph = tiny_onnx(spec)
    inner = helper.make_graph([helper.make_node("Identity", ["secret"], ["y"])], "g", [], [], [outside()])
    in_subgraph.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner))
    in_function = tiny_onnx(spec)
    node = helper.make_node("Constant", [], ["c"], value=outside())
    in_function.functions.append(helper.make_function("d", "f", [], ["c"], [node], []))
    for model in (as_initializer, as_attribute, in_subgraph, in_function):
        assert "other files" in refusal(model, tmp_path)


def test_an_engine_carries_its_spec(tmp_path: Path, spec: ModelSpec) -> None:
    artifact = engine(tmp_path, spec)
    assert artifact.spec == spec
    assert artifact.name == "tiny"
    assert artifact.facts["builder_version"] == VERSION
    with open_runtime(artifact, "null") as runtime:
        assert runtime.name == "null"
    with pytest.raises(MerError):
        open_runtime(open_artifact("audiocnn"), "tensorrt")


def test_an_engine_without_its_sidecar_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    path = write_engine(tmp_path, spec)
    sidecar = path.with_suffix(".json")
    whole = sidecar.read_text()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        ArtifactError, match=r"does not match the hash in tiny\.json: it is damaged, cut short"
    ):
        open_artifact(str(path))
    sidecar.unlink()
    with pytest.raises(ArtifactError, match=r"no sidecar tiny\.json: engines are code"):
        open_artifact(str(path))
    for broken in (
        "",
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "engine": 7}',
        whole[: len(whole) // 2],
    ):
        sidecar.write_text(broken)
        with pytest.raises(ArtifactError, match="no sidecar of mer-export"):
            open_artifact(str(path))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "this merkit reads 1"),
        ({"builder": "../../evil"}, "as mer-export writes"),
        ({"builder_version": None}, "no sidecar"),
        ({"builder_version": "new"}, "as mer-export writes"),
        ({"cuda": "x"}, "as mer-export writes"),
        ({"options": None}, "as mer-export writes"),
        ({"compute_capability": {"capabilities": ["sm89"]}}, "as mer-export writes"),
        ({"compute_capability": {}}, "no sidecar"),
        ({"profiles": {"images": {"min": [1], "opt": [1], "max": [1]}}}, "as mer-export writes"),
        ({"profiles": {}}, "no sidecar"),
        ({"model_spec": {"backbone": "x"}}, "lacks fields"),
    ],
)
def test_sidecars_of_other_makers(tmp_path: Path, spec: ModelSpec, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        engine(tmp_path, spec, **changes)


def test_a_sidecar_of_other_log_mels(tmp_path: Path, spec: ModelSpec) -> None:
    shapes = {name: [batch, 1, 64, 64] for name, batch in (("min", 1), ("opt", 8), ("max", 32))}
    with pytest.raises(ArtifactError, match="other images"):
        engine(tmp_path, spec, profiles={"images": shapes})
