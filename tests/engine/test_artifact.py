import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from engine_files import VERSION, engine, write_engine
from hypothesis import example, given
from hypothesis import strategies as st
from merkit.engine import artifact
from merkit.engine.artifact import (
    CHECKPOINT,
    SPEC_KEY,
    is_engine,
    known_models,
    models_home,
    no_training,
    open_artifact,
    path_from_model,
)
from merkit.engine.errors import ArtifactError, MerError, UsageError
from merkit.engine.runtimes import name_of_runtime, open_runtime
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from onnx import helper, numpy_helper
from onnx_files import tiny_onnx

PROFILE = {name: [batch, 1, 128, 313] for name, batch in (("min", 1), ("opt", 8), ("max", 32))}


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


def test_a_training_has_its_folders_name(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file has the backbone's, which the default and every other training of it may have too."""
    (tmp_path / "folds" / "fold-1").mkdir(parents=True)
    for place in (tmp_path / "mine", tmp_path / "folds" / "final", tmp_path / "final"):
        place.mkdir()
        (place / "audiocnn.onnx").write_bytes(tiny_onnx(spec).SerializeToString())
        (place / CHECKPOINT).touch()
        (place / "metrics.json").write_text('{"model": "audiocnn"}')
    monkeypatch.chdir(tmp_path / "mine")
    for model, name in (
        ("../mine", "mine"),
        (".", "mine"),
        ("../folds/", "folds"),
        ("../folds/final", "folds"),
        ("../final", "final"),
    ):
        assert open_artifact(model).name == name
    assert open_artifact("audiocnn.onnx").name == "audiocnn"
    (tmp_path / "mine" / "metrics.json").unlink()
    with pytest.raises(UsageError, match=r"lacks metrics.json: name .*audiocnn.onnx itself$"):
        open_artifact(str(tmp_path / "mine"))


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
    os.mkfifo(home / "pipe.onnx")
    (home / "zeros.onnx").symlink_to("/dev/zero")
    (home / "folder.onnx").mkdir()
    (home / "._resnet18.onnx").write_bytes(b"\0\5\x16\7")  # a Mac's, beside it
    assert not {"pipe", "zeros", "folder", "._resnet18"}.intersection(known_models())
    assert path_from_model("mobilenet-v3-small") == bundled


@pytest.mark.parametrize("name", ["mobilnet", "vgg16", "", "no/such.onnx"])
def test_unknown_names_list_the_known(name: str) -> None:
    with pytest.raises(
        UsageError, match="known: accurate, audiocnn, audioset, hindi5, mobilenetv3, squeezenet"
    ):
        path_from_model(name)


def test_a_name_with_a_slip_is_guessed() -> None:
    with pytest.raises(UsageError, match=r"training's folder; did you mean hindi5\?$"):
        path_from_model("Hindi-5")


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
    assert "must take images float32 [batch, 1, 128, 313] and give logits float32 [batch, 2]" in refusal(
        model, tmp_path
    )


def test_a_graph_that_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    """What is refused, and why: test_onnx_graph.py."""
    outside = numpy_helper.from_array(np.zeros(4, np.float32), "secret")
    outside.ClearField("raw_data")
    outside.data_location = onnx.TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    model = tiny_onnx(spec)
    model.graph.initializer.append(outside)
    assert refusal(model, tmp_path).endswith(
        "refused.onnx: it keeps weights in other files; only single-file models are loaded"
    )


def with_metadata(model: onnx.ModelProto, *values: str) -> onnx.ModelProto:
    del model.metadata_props[:]
    for value in values:
        model.metadata_props.add(key=SPEC_KEY, value=value)
    return model


def test_specs_of_any_content(tmp_path: Path, spec: ModelSpec) -> None:
    model, text = tiny_onnx(spec), spec.to_json()
    fields = json.loads(text)
    for values, why in (
        ((text, text), "more than one ModelSpec"),
        (("[" * 100_000,), "nested too deeply"),
        ((text.replace("16000", "1" * 400, 1),), "too large"),
        ((text.replace("16000", "1" * 5_000, 1),), "5000 digits"),
        ((text.replace("16000", "NaN", 1),), "NaN"),
        ((text.replace("calm", "\\ud800"),), "surrogate"),
        ((text.replace("calm", "\\u001b[2J"),), "control characters"),
        ((text.replace('"version":1}', '"version":1,"version":1}'),), "stands twice"),
        ((" " * (17 << 20),), "longer than 16 MB"),
        ((json.dumps({**fields, "labels": [str(n) for n in range(100_000)]}),), "2 to 1000 labels"),
        ((json.dumps({**fields, "audio": [1]}),), "audio must be AudioSpec"),
        ((json.dumps({**fields, "audio": {**fields["audio"], "window_samples": 10**9}}),), "window_samples"),
        ((json.dumps({**fields, "audio": {**fields["audio"], "n_mels": 10**9}}),), "n_mels"),
    ):
        message = refusal(with_metadata(model, *values), tmp_path)
        assert why in message
        assert len(message) < 400


def retyped(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def with_a_second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))


def of_one_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def with_logits_of_one_batch(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


def of_many_dimensions(model: onnx.ModelProto) -> None:
    for _ in range(10_000):
        model.graph.output[0].type.tensor_type.shape.dim.add(dim_param="x" * 100)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (retyped, "must take images float32"),
        (with_a_second_input, "it takes {'images': "),
        (of_one_batch, "its images have the fixed batch 1"),
        (with_logits_of_one_batch, "its logits have the fixed batch 1"),
        (of_many_dimensions, "gives"),
    ],
)
def test_tensors_that_are_not_its_specs(change: Any, why: str, tmp_path: Path, spec: ModelSpec) -> None:
    model = tiny_onnx(spec)
    change(model)
    message = refusal(model, tmp_path)
    assert why in message
    assert len(message) < 500


def test_weights_may_be_listed_as_inputs(tmp_path: Path, spec: ModelSpec) -> None:
    """As graphs of IR versions before 4 do."""
    model = tiny_onnx(spec)
    model.graph.input.append(
        helper.make_tensor_value_info("axes", onnx.TensorProto.INT64, [2]),
    )
    path = tmp_path / "old.onnx"
    path.write_bytes(model.SerializeToString())
    assert open_artifact(str(path)).spec == spec


@pytest.mark.parametrize("identifier", [b"ORTM", b"TFL3"])
def test_a_file_that_is_of_two_formats(tmp_path: Path, spec: ModelSpec, identifier: bytes) -> None:
    """ONNX for whoever checks it, another format for whoever runs it: such bytes are in a producer's name."""
    content = b"\x08\x0a\x12\x04" + identifier + tiny_onnx(spec).SerializeToString()
    assert onnx.load_from_string(content).metadata_props
    path = tmp_path / "two.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        open_artifact(str(path))


def test_files_that_are_too_large_are_not_read(tmp_path: Path, spec: ModelSpec) -> None:
    for name in ("sparse.onnx", "sparse.engine"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 1 << 40)
        with pytest.raises(ArtifactError, match="larger than 858 MB"):
            open_artifact(str(tmp_path / name))
    path = write_engine(tmp_path, spec)
    os.truncate(path.with_suffix(".json"), 1 << 40)
    with pytest.raises(ArtifactError, match="larger than 16 MB"):
        open_artifact(str(path))


CONTENT = tiny_onnx(ModelSpec("tiny", QUADRANTS, AudioSpec())).SerializeToString()


@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@example([(CONTENT.index(b"ReduceMean"), 0xFF)])
@example([(CONTENT.index(b"images"), 0xFF)])
@example([(CONTENT.index(b"batch"), 0xFF)])
@example([(CONTENT.index(b"mer.model_spec"), 0xFF)])
@example([(CONTENT.index(b"happy"), 0xFF)])
def test_changed_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(CONTENT)
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.mktemp("changed") / "changed.onnx"
    path.write_bytes(content)
    with suppress(ArtifactError):
        assert open_artifact(str(path)).content == content


def test_messages_nested_without_end(tmp_path: Path) -> None:
    graph = b""
    for _ in range(5_000):  # a node with an attribute with a graph
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            size, length = len(graph), b""
            while size > 0x7F:
                length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
            graph = tag + length + bytes([size]) + graph
    (tmp_path / "deep.onnx").write_bytes(b"\x3a" + graph[1:])
    with pytest.raises(ArtifactError, match=r"not an ONNX file|no ModelSpec"):
        open_artifact(str(tmp_path / "deep.onnx"))


def test_no_bundled_network_hears_a_band_that_its_training_music_lacks() -> None:
    """Those clips end between 8 and 11 kHz; a network that heard more called full-band music no music."""
    for name in known_models():
        assert open_artifact(name).spec.audio.fmax <= 8_000, name


def test_without_a_home_there_are_the_bundled_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MER_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert list(known_models()) == ["accurate", "audiocnn", "audioset", "hindi5", "mobilenetv3", "squeezenet"]
    assert path_from_model("audiocnn").is_file()
    with pytest.raises(UsageError, match="known: accurate"):
        path_from_model("resnet18")
    with pytest.raises(MerError, match="set HOME, or MER_HOME"):
        models_home()
    (tmp_path / "file").touch()
    monkeypatch.setenv("MER_HOME", str(tmp_path / "file"))  # no folder
    assert "audiocnn" in known_models()


@pytest.mark.parametrize("suffix", [".engine", ".plan", ".trt", ".ENGINE"])
def test_every_suffix_of_an_engine(tmp_path: Path, spec: ModelSpec, suffix: str) -> None:
    path = write_engine(tmp_path, spec).rename(tmp_path / f"my.model.v2{suffix}")
    (tmp_path / "tiny.json").rename(tmp_path / "my.model.v2.json")
    artifact = open_artifact(str(path))
    assert is_engine(path)
    assert (artifact.name, artifact.spec) == ("my.model.v2", spec)
    assert name_of_runtime(artifact) == "tensorrt"
    for name in ("onnxruntime", "openvino"):  # a graph in it was not walked
        with pytest.raises(UsageError, match=f"is an engine, which {name} does not run"):
            open_runtime(artifact, name)
    (tmp_path / "my.model.v2.json").unlink()
    with pytest.raises(ArtifactError, match=r"no sidecar my\.model\.v2\.json: engines are code"):
        open_artifact(str(path))


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
        "[" * 100_000,
        whole.replace('"fp16"', "1" * 5_000),
        whole.replace('"fp16"', "NaN"),
        whole.replace('"precision"', '"name"'),
        '["format", "engine"]',
        "7",
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
        ({"model_spec": []}, "must be a JSON object"),
        ({"format": ["x" * 1_000] * 1_000}, "this merkit reads 1"),
        ({"builder": ["tensorrt"]}, "as mer-export writes"),
        ({"builder_version": "11.a.b"}, "as mer-export writes"),
        ({"builder_version": "1" * 3_000 + ".1.1"}, "as mer-export writes"),
        ({"source": ["tiny.onnx"]}, "no sidecar"),
        ({"source": {"model": 7}}, "as mer-export writes"),
        ({"precision": "fp16; rm -rf /"}, "as mer-export writes"),
        ({"precision": {}}, "no sidecar"),
        ({"profiles": {"images": {**PROFILE, "more": 7}}}, "as mer-export writes"),
        ({"profiles": {"images": {**PROFILE, "max": [1 << 40, 1, 128, 313]}}}, "as mer-export writes"),
        ({"profiles": {"images": {**PROFILE, "min": [True, 1, 128, 313]}}}, "as mer-export writes"),
    ],
)
def test_sidecars_of_other_makers(tmp_path: Path, spec: ModelSpec, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        engine(tmp_path, spec, **changes)


def test_a_sidecar_of_other_log_mels(tmp_path: Path, spec: ModelSpec) -> None:
    shapes = {name: [batch, 1, 64, 64] for name, batch in (("min", 1), ("opt", 8), ("max", 32))}
    with pytest.raises(ArtifactError, match="other images"):
        engine(tmp_path, spec, profiles={"images": shapes})


def run_folder(folder: Path, model: str = "tiny") -> Path:
    """A training's folder, as far as its names go."""
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").write_bytes(b"")
    (folder / "metrics.json").write_text(json.dumps({"model": model}))
    return folder


def test_a_trainings_folder_is_its_onnx(tiny_model: Path, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "my run")
    (run / "tiny.onnx").write_bytes(tiny_model.read_bytes())
    (run / "tiny_int8.onnx").write_bytes(b"of mer-export")
    assert open_artifact(str(run)).path == run / "tiny.onnx"
    folds = run_folder(tmp_path / "folds" / "final").parent
    (folds / "final" / "tiny.onnx").write_bytes(tiny_model.read_bytes())
    assert path_from_model(str(folds)) == folds / "final" / "tiny.onnx"


def test_a_checkpoint_alone_says_how_an_onnx_is_made(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "my run")
    how = f"mer-export '{run}/checkpoint.safetensors' --format onnx"
    for model in (run, run / "checkpoint.safetensors"):
        with pytest.raises(MerError) as error:
            open_artifact(str(model))
        assert how in str(error.value)
    (run / "state.pt").touch()
    with pytest.raises(UsageError, match=f"not finished and no .* --resume finishes it, or {how} makes one"):
        path_from_model(str(run))
    (run / "state.pt").unlink()
    (run / "metrics.json").write_text('{"model": "../../../etc/tiny"}')  # anyone's: no path
    with pytest.raises(UsageError, match="holds a checkpoint and no"):
        path_from_model(str(run))
    with pytest.raises(UsageError, match="holds trainings in my run: name"):
        path_from_model(str(tmp_path))


def test_a_known_name_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_folder(tmp_path / "audiocnn")
    assert path_from_model("audiocnn").name == "audiocnn.onnx"
    with pytest.raises(UsageError, match=r"no \.onnx of it"):
        path_from_model("./audiocnn")


@pytest.mark.parametrize(
    "path", sorted((Path(artifact.__file__).parent / "models").glob("*.onnx")), ids=lambda path: path.stem
)
def test_bundled_models_pass_the_checks_that_they_are_spared(path: Path, tmp_path: Path) -> None:
    bundled = open_artifact(path.stem)
    copy = tmp_path / path.name
    copy.write_bytes(bundled.content)
    assert open_artifact(str(copy)).spec == bundled.spec


def test_a_damaged_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x72\x05ab")
    monkeypatch.setattr(artifact, "_BUNDLED", tmp_path)
    with pytest.raises(ArtifactError, match="is damaged: install merkit again"):
        open_artifact("net")


@pytest.mark.parametrize(
    ("trainings", "says"),
    [
        (
            ["grouped", "random"],
            "holds trainings in grouped and random: name one of them, such as {}/grouped",
        ),
        (["a b"], "holds trainings in a b: name one of them, such as '{}/a b'"),
        (
            ["net/grouped", "net/random", "other/final", "other/fold-1", "third/fold-1", "x", "y"],
            "holds trainings in net/grouped, net/random, other and others: name one of them, such as "
            "{}/net/grouped",
        ),
        (
            ["fold-1", "fold-2", "fold-10"],
            "is a cross-validation without --final: its mer-train command with --resume --final makes a "
            "network of it; or name one of its folds, such as {}/fold-1",
        ),
        ([], "is a folder, and no training's: it holds no checkpoint.safetensors"),
    ],
)
def test_what_a_folder_without_a_network_is_and_what_to_name(
    trainings: list[str], says: str, tmp_path: Path
) -> None:
    for name in trainings:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / CHECKPOINT).write_bytes(b"")
    expected = f"{tmp_path} {says.format(tmp_path)}"
    assert str(no_training(tmp_path)) == expected
    with pytest.raises(UsageError) as error:
        path_from_model(str(tmp_path))
    assert str(error.value) == expected
