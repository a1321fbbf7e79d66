"""A model repository for Triton: NVIDIA's own schema reads it, ours checks it, and its front model works."""

from __future__ import annotations

import dataclasses
import errno
import importlib.metadata
import importlib.util
import json
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from engine_files import engine
from half_transformer import half_transformer
from merkit.engine.artifact import SPEC_KEY, Artifact, open_artifact
from merkit.engine.errors import MerError, UsageError
from merkit.engine.files import write_whole
from merkit.engine.spec import QUADRANTS, AudioSpec, EvidenceSpec, ModelSpec
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from merkit.export import cli, triton
from merkit.export.triton import write_repository
from onnx_files import tiny_onnx
from triton_check import check_repository, message_from_text

AUDIO = AudioSpec(window_samples=16_000, frames=32, n_mels=16, n_fft=512)
EVIDENCE = EvidenceSpec(music=0.0, distances=(0.0, 1.0), far=1.0, confidence=0.3)
SPEC = ModelSpec("tiny", QUADRANTS, AUDIO, evidence=EVIDENCE)


def onnx_artifact(folder: Path, name: str = "tiny") -> Artifact:
    path = folder / f"{name}.onnx"
    path.write_bytes(tiny_onnx(SPEC).SerializeToString())
    return open_artifact(str(path))


def test_an_onnx_file(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    folders = write_repository(repository, onnx_artifact(tmp_path, 'गीत "a" \\b'))
    name = folders[0].name
    assert [folder.name for folder in folders] == [name, f"{name}_network", f"{name}_log_mel"]
    assert sorted(check_repository(repository)) == sorted(folder.name for folder in folders)
    assert (repository / f"{name}_network" / "1" / "model.onnx").read_bytes() == (
        tmp_path / f"{name}.onnx"
    ).read_bytes()
    assert (repository / name / "labels.txt").read_text() == "happy\ntense\nsad\ncalm\n"
    assert ModelSpec.from_json((repository / name / "model_spec.json").read_text()) == SPEC
    config = message_from_text((repository / f"{name}_network" / "config.pbtxt").read_text())
    assert config["name"] == [f"{name}_network"]
    assert config["platform"] == ["onnxruntime_onnx"]
    assert config["instance_group"] == [{"count": [1], "kind": ["KIND_AUTO"]}]
    assert "optimization" not in config
    assert [(tensor["name"], tensor["dims"]) for tensor in config["output"]] == [
        (["logits"], [4]),
        (["evidence"], [2]),
    ]


def tensors(config: dict[str, Any], side: str) -> list[tuple[str, str, list[int]]]:
    return [(tensor["name"][0], tensor["data_type"][0], tensor["dims"]) for tensor in config[side]]


def test_an_engine(tmp_path: Path) -> None:
    content = tiny_onnx(SPEC).SerializeToString()
    window = [1, AUDIO.n_mels, AUDIO.frames]
    profiles = {"images": {"min": [1, *window], "opt": [24, *window], "max": [48, *window]}}
    artifact = engine(tmp_path, SPEC, content, profiles=profiles)
    folders = write_repository(tmp_path / "models", artifact)
    assert (folders[1] / "1" / "model.plan").read_bytes() == content
    configs = [message_from_text((folder / "config.pbtxt").read_text()) for folder in folders]
    both, config, log_mel = configs
    assert config["platform"] == ["tensorrt_plan"]
    assert [each["max_batch_size"] for each in configs] == [[48]] * 3
    batching = {"preferred_batch_size": [24], "max_queue_delay_microseconds": [2_000]}
    assert config["dynamic_batching"] == [batching]
    assert config["instance_group"] == [{"count": [2], "kind": ["KIND_GPU"]}]
    assert log_mel["instance_group"] == [{"count": [4], "kind": ["KIND_CPU"]}]
    samples, images = [("samples", "TYPE_FP32", [16_000])], [("images", "TYPE_FP32", window)]
    outputs = [("logits", "TYPE_FP32", [4]), ("evidence", "TYPE_FP32", [2])]
    assert [tensors(each, "input") for each in configs] == [samples, images, samples]
    assert [tensors(each, "output") for each in configs] == [outputs, outputs, images]
    for each in (both, config):  # the labels are of the logits alone
        named = {tensor["name"][0]: tensor.get("label_filename") for tensor in each["output"]}
        assert named == {"logits": ["labels.txt"], "evidence": None}
    rtx = engine(tmp_path, SPEC, content, builder="tensorrt_rtx")
    with pytest.raises(UsageError, match="none of TensorRT for RTX"):
        write_repository(tmp_path / "models", rtx)
    profiles["images"]["min"] = [4, *window]
    with pytest.raises(UsageError, match=r"requests of fewer windows than 4: --min-batch 1"):
        write_repository(tmp_path / "models", engine(tmp_path, SPEC, content, profiles=profiles))


def test_an_engine_is_not_read_as_a_graph(tmp_path: Path) -> None:
    """It has the names of its layers, also of those on which a pass of ONNX Runtime crashes."""
    artifact = engine(tmp_path, SPEC, b"ftrt Transpose_1")
    folders = write_repository(tmp_path / "models", artifact)
    assert (folders[1] / "1" / "model.plan").read_bytes() == b"ftrt Transpose_1"
    assert "optimization" not in message_from_text((folders[1] / "config.pbtxt").read_text())


def schema() -> ModuleType:
    """NVIDIA's ModelConfig, as compiled protobuf."""
    try:
        files = importlib.metadata.files("tritonclient") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tritonclient, which brings NVIDIA's schema, is not installed")
    (path,) = (file.locate() for file in files if file.parts[1:] == ("grpc", "model_config_pb2.py"))
    spec = importlib.util.spec_from_file_location("model_config_pb2", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nvidias_schema_reads_the_same(tmp_path: Path) -> None:
    from google.protobuf import text_format

    config_type: Any = schema().ModelConfig
    name = 'गीत "a" \\b'
    for folder in write_repository(tmp_path / "models", onnx_artifact(tmp_path, name)):
        text = (folder / "config.pbtxt").read_text()
        config = text_format.Parse(text, config_type())
        assert config.name == folder.name
        assert config.max_batch_size == 64
        ours = message_from_text(text)
        assert [list(tensor.dims) for tensor in config.input] == [tensor["dims"] for tensor in ours["input"]]
        if folder.name.endswith("_log_mel"):
            assert ModelSpec.from_json(config.parameters["model_spec"].string_value) == SPEC
        if folder.name == name:
            steps = config.ensemble_scheduling.step
            assert [step.model_name for step in steps] == [f"{name}_log_mel", f"{name}_network"]
            assert dict(steps[1].output_map) == {"logits": "logits", "evidence": "evidence"}
            assert steps[0].model_version == -1


def test_a_graph_on_which_a_pass_of_onnx_runtime_crashes(tmp_path: Path) -> None:
    """A server loads it at a lower level."""
    from google.protobuf import text_format

    path = tmp_path / "half.onnx"
    path.write_bytes(half_transformer().SerializeToString())
    folders = write_repository(tmp_path / "models", open_artifact(str(path)))
    texts = [(folder / "config.pbtxt").read_text() for folder in folders]
    levels = [message_from_text(text).get("optimization") for text in texts]
    assert levels == [None, [{"graph": [{"level": [1]}]}], None]
    config_type: Any = schema().ModelConfig
    assert text_format.Parse(texts[1], config_type()).optimization.graph.level == 1


WRONG = {
    "maximum": ("tiny_network/config.pbtxt", "max_batch_size: 64", "max_batch_size: 63", "not within 63"),
    "field": ("tiny_network/config.pbtxt", "platform:", "plattform:", "no field plattform"),
    "number": ("tiny_network/config.pbtxt", "max_batch_size: 64", 'max_batch_size: "64"', "cannot be '64'"),
    "type": (
        "tiny_network/config.pbtxt",
        "data_type: TYPE_FP32",
        'data_type: "TYPE_FP32"',
        "must be a TYPE_",
    ),
    "name": ("tiny_network/config.pbtxt", '"tiny_network"', '"other"', "must be its folder's"),
    "labels": ("tiny_network/labels.txt", "calm\n", "", "3 labels for 4"),
    "dims": ("tiny_log_mel/config.pbtxt", "dims: [1, 16, 32]", "dims: [1, 16, 31]", "tiny_network takes"),
    "link": ("tiny/config.pbtxt", 'key: "images"', 'key: "pictures"', "pictures"),
    "step": ("tiny/config.pbtxt", '"tiny_log_mel"', '"gone"', "no model gone"),
    "twice": ("tiny/config.pbtxt", "max_batch_size: 64", "max_batch_size: 6\nmax_batch_size: 4", "twice"),
    "text": ("tiny/config.pbtxt", "ensemble_scheduling {", "ensemble_scheduling {{", "field's name"),
    "batch": ("tiny/config.pbtxt", "max_batch_size: 64", "max_batch_size: 65", "takes smaller batches"),
    "none": ("tiny_log_mel/config.pbtxt", "max_batch_size: 64", "max_batch_size: 0", "must be 1 or more"),
    "least": ("tiny_network/config.pbtxt", "size: [64]", "size: [0]", "not within 64"),
    "size": ("tiny_log_mel/config.pbtxt", "dims: [1, 16, 32]", "dims: [1, 0, 32]", r"dims \[1, 0, 32\] of"),
    "label": ("tiny_network/labels.txt", "calm\n", "calm\nbored\n", "5 labels for 4"),
    "half": ("tiny_log_mel/config.pbtxt", "TYPE_FP32", "TYPE_FP16", "tiny_log_mel takes .*TYPE_FP16"),
    "output": ("tiny/config.pbtxt", "dims: [2]", "dims: [3]", "its output evidence is"),
    "more": (
        "tiny/config.pbtxt",
        "model_version: -1",
        'model_version: -1 input_map { key: "more" value: "samples" }',
        "tiny_log_mel takes samples, and is given .*more",
    ),
    "given": ("tiny/config.pbtxt", 'key: "evidence"', 'key: "proof"', "tiny_network gives no proof"),
    "source": ("tiny/config.pbtxt", 'name: "samples"', 'name: "sound"', "nothing before tiny_log_mel gives"),
    "backend": ("tiny_network/config.pbtxt", "onnxruntime_onnx", "onnx", "onnx is no platform or backend"),
    "end": ("tiny/config.pbtxt", "}\n", "", "ends within|field's name|step"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_found(tmp_path: Path, case: str) -> None:
    write_repository(tmp_path / "models", onnx_artifact(tmp_path))
    file, before, after, message = WRONG[case]
    path = tmp_path / "models" / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(MerError, match=message):
        check_repository(tmp_path / "models")


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    write_repository(tmp_path / "models", onnx_artifact(tmp_path))
    version = tmp_path / "models" / "tiny" / "1"
    version.rmdir()
    with pytest.raises(MerError, match="no version: a folder 1"):
        check_repository(tmp_path / "models")
    version.mkdir()
    (tmp_path / "models" / "tiny_log_mel" / "1" / "model.py").unlink()
    with pytest.raises(MerError, match=r"no 1/model\.py"):
        check_repository(tmp_path / "models")
    with pytest.raises(MerError, match="no model repository"):
        check_repository(tmp_path / "nothing")


def test_a_strangers_model_stays(tmp_path: Path) -> None:
    artifact = onnx_artifact(tmp_path)
    write_repository(tmp_path / "models", artifact)
    write_repository(tmp_path / "models", artifact)  # one of ours is replaced
    config = tmp_path / "models" / "tiny_network" / "config.pbtxt"
    config.write_text('name: "tiny_network"\n')
    with pytest.raises(UsageError, match="mer-export did not write it"):
        write_repository(tmp_path / "models", artifact)
    assert config.read_text() == 'name: "tiny_network"\n'


@pytest.mark.parametrize("written", range(8))
def test_what_was_cut_short_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """By a full disk, or a kill between two files."""
    artifact, left = onnx_artifact(tmp_path), [written]

    def full(path: Path, content: bytes | str) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        write_whole(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(triton, "write_whole", full)
        with pytest.raises(MerError, match="No space left"):
            write_repository(tmp_path / "models", artifact)
    folders = write_repository(tmp_path / "models", artifact)
    assert len(check_repository(tmp_path / "models")) == 3
    names = {path.name for folder in folders for path in folder.rglob("*")}
    assert names == {"1", "config.pbtxt", "labels.txt", "model.onnx", "model.py", "model_spec.json"}


def test_the_model_that_needs_the_others_is_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton may look at any time, and loads what has a configuration."""
    written: list[Path] = []
    monkeypatch.setattr(triton, "write_whole", lambda path, content: written.append(path))
    write_repository(tmp_path / "models", onnx_artifact(tmp_path))
    assert [path.name for path in written[-3:]] == ["config.pbtxt"] * 3
    assert [path.parent.name for path in written[-3:]] == ["tiny_log_mel", "tiny_network", "tiny"]


@pytest.mark.parametrize("written", range(8))
def test_an_older_export_is_not_mixed_with_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Triton may look after each file: what has a configuration there is whole, and of one export."""
    repository, artifact = tmp_path / "models", onnx_artifact(tmp_path)
    folders = write_repository(repository, artifact)
    newer = dataclasses.replace(artifact, spec=dataclasses.replace(SPEC, temperature=2.0))
    left = [written]

    def full(path: Path, content: bytes | str) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        write_whole(path, content)

    monkeypatch.setattr(triton, "write_whole", full)
    with pytest.raises(MerError, match="No space left on device; Triton serves no tiny until it is export"):
        write_repository(repository, newer)
    configs = [folder for folder in folders if (folder / "config.pbtxt").exists()]
    assert configs == [folders[2], folders[1]][: max(0, written - 5)][::-1]


def test_a_signal_waits_until_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, artifact = tmp_path / "models", onnx_artifact(tmp_path)
    write_repository(repository, artifact)

    def interrupted(path: Path, content: bytes | str) -> None:
        signal.raise_signal(signal.SIGINT)
        write_whole(path, content)

    monkeypatch.setattr(triton, "write_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_repository(repository, artifact)
    assert len(check_repository(repository)) == 3
    assert not list(repository.rglob(".mer-export"))


def test_another_network_that_is_served_stays(tmp_path: Path) -> None:
    repository, artifact = tmp_path / "models", onnx_artifact(tmp_path)
    write_repository(repository, artifact)
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    for change in ({"labels": ("a", "b", "c", "d")}, {"backbone": "vgg16"}):
        other = dataclasses.replace(artifact, spec=dataclasses.replace(SPEC, **change))
        with pytest.raises(UsageError, match=r"model_spec.json is there, and is of another network \(tiny: "):
            write_repository(repository, other)
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before
    (repository / "tiny" / "model_spec.json").write_text("unreadable")
    write_repository(repository, artifact)


def test_models_of_others_in_the_repository_are_their_own_matter(tmp_path: Path) -> None:
    theirs = tmp_path / "models" / "theirs" / "config.pbtxt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('name: "theirs"\nversion_policy: { all { } }\nratio: 1e-3\n')
    assert len(write_repository(tmp_path / "models", onnx_artifact(tmp_path))) == 3
    with pytest.raises(MerError, match="theirs"):
        check_repository(tmp_path / "models")


def test_a_strangers_model_without_a_configuration_stays(tmp_path: Path) -> None:
    """Triton makes one of the graph."""
    model = tmp_path / "models" / "tiny_network" / "1" / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"theirs")
    with pytest.raises(UsageError, match="mer-export did not write it"):
        write_repository(tmp_path / "models", onnx_artifact(tmp_path))
    assert model.read_bytes() == b"theirs"


@pytest.mark.parametrize(("first", "second"), [("tiny", "tiny_network"), ("tiny_log_mel", "tiny")])
def test_a_part_of_another_export_stays(tmp_path: Path, first: str, second: str) -> None:
    write_repository(tmp_path / "models", onnx_artifact(tmp_path, first))
    files = [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    with pytest.raises(UsageError, match="is a part of another export: choose another name"):
        write_repository(tmp_path / "models", onnx_artifact(tmp_path, second))
    assert {path: path.read_bytes() for path in (tmp_path / "models").rglob("*") if path.is_file()} == before


def test_the_front_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Triton's Python backend runs it."""
    folder = write_repository(tmp_path / "models", onnx_artifact(tmp_path))[2]
    backend: Any = SimpleNamespace(
        get_input_tensor_by_name=lambda request, name: request[name],
        Tensor=lambda name, array: (name, array),
        TritonError=str,
        InferenceResponse=lambda output_tensors, error=None: (output_tensors, error),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    spec = importlib.util.spec_from_file_location("model", folder / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    parameters = {"model_spec": {"string_value": SPEC.to_json()}}
    model.initialize({"model_config": json.dumps({"parameters": parameters})})
    samples = np.random.default_rng(0).normal(0, 0.1, (3, AUDIO.window_samples)).astype(np.float32)
    broken = samples.copy()
    broken[1, 5] = np.nan
    requests = [{"samples": SimpleNamespace(as_numpy=lambda a=array: a)} for array in (samples, broken)]
    (good, none), (nothing, error) = model.execute(requests)
    assert none is None
    assert [name for name, _ in good] == ["images"]
    np.testing.assert_array_equal(good[0][1], log_mel_from_audio(samples, AUDIO))
    assert (nothing, error) == ([], "samples that are not finite")


def test_the_command(tmp_path: Path, model: Path) -> None:
    options = ["-m", str(model), "--fp16", "--format", "onnx", "-o", f"{tmp_path}/out/"]
    done = CliRunner().invoke(cli.main, [*options, "--triton", str(tmp_path / "models")])
    assert done.exit_code == 0, done.output
    assert f"Triton: {tmp_path / 'models' / 'small_fp16'}" in done.output
    assert len(check_repository(tmp_path / "models")) == 3
    batches = ["--opt-batch", "16", "--max-batch", "32"]
    done = CliRunner().invoke(cli.main, [*options, "--triton", str(tmp_path / "small"), *batches])
    assert done.exit_code == 0, done.output
    paths = sorted((tmp_path / "small").glob("*/config.pbtxt"))
    configs = {path.parent.name: message_from_text(path.read_text()) for path in paths}
    assert [config["max_batch_size"] for config in configs.values()] == [[32]] * 3
    assert configs["small_fp16_network"]["dynamic_batching"][0]["preferred_batch_size"] == [16]


def test_another_network_is_refused_before_the_work(tmp_path: Path, model: Path) -> None:
    options = ["-m", str(model), "--format", "onnx", "--triton", str(tmp_path / "models"), "-o"]
    done = CliRunner().invoke(cli.main, [*options, f"{tmp_path}/out/"])
    assert done.exit_code == 0, done.output
    graph = onnx.load(str(model))
    spec = ModelSpec.from_json(graph.metadata_props[0].value)
    onnx.helper.set_model_props(graph, {SPEC_KEY: dataclasses.replace(spec, backbone="vgg16").to_json()})
    model.write_bytes(graph.SerializeToString())
    done = CliRunner().invoke(cli.main, [*options, f"{tmp_path}/new/"])
    assert done.exit_code == 2, done.output
    assert "is of another network (small" in done.output
    assert list((tmp_path / "new").iterdir()) == []
