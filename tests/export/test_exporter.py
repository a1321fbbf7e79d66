"""What an export writes, and that it writes nothing it did not verify."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from merkit.engine.artifact import SPEC_KEY, open_artifact
from merkit.engine.errors import DeviceError, EngineLoadError, MerError, UsageError
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import QUADRANTS, EvidenceSpec, ModelSpec
from merkit.engine.strict_json import json_from_text
from merkit.export import exporter
from merkit.export.builders import EngineOptions, open_builder
from merkit.export.calibration_set import CalibrationSet
from merkit.export.checks import GateError
from merkit.export.eval_set import EvalSet
from merkit.export.exporter import export
from merkit.export.job import Job, Plan
from merkit.export.precision import layers_to_quantize, precision_by_op, tensors_to_quantize
from merkit.export.song_log_mels import generated_log_mels
from merkit.export.source import EXPORT_KEY, open_source
from onnx_files import tiny_onnx
from small_networks import AUDIO, small_network, write_network

pytestmark = pytest.mark.usefixtures("no_gpu")


@pytest.fixture
def job(model: Path, tmp_path: Path) -> Job:
    out = tmp_path / "out"
    out.mkdir()
    eval_set = EvalSet(generated_log_mels(AUDIO, 8), None, "synthetic", "generated", "generated sound")
    return Job(open_source(str(model)), eval_set, None, Plan(f"{out}/"), lambda line: None)


def test_without_a_builder_the_graph_is_written_with_its_report(job: Job, tmp_path: Path) -> None:
    exported = export(job, "fp16")
    assert exported.files == (tmp_path / "out" / "small_fp16.onnx",)
    props = {prop.key: prop.value for prop in onnx.load(str(exported.files[0])).metadata_props}
    assert set(props) == {SPEC_KEY, EXPORT_KEY}
    report = json.loads(props[EXPORT_KEY])
    assert props[EXPORT_KEY] == json.dumps(report, sort_keys=True)  # in one order, whatever the version
    assert report["precision"] == exported.precision == "fp16"
    assert report["parity"]["windows"] == 8
    assert open_artifact(str(exported.files[0])).spec == job.source.artifact.spec


def test_how_other_programs_must_load_a_transformer_in_fp16(model: Path, job: Job) -> None:
    graph = onnx.load(str(model))
    head = graph.graph.node[-1]
    for before, after in ((head.input[0], "turned"), ("turned", "back")):
        turn = onnx.helper.make_node("Transpose", [before], [after], perm=[1, 0])
        graph.graph.node.insert(len(graph.graph.node) - 1, turn)
    head.input[0] = "back"
    model.write_bytes(onnx.shape_inference.infer_shapes(graph).SerializeToString())
    source = open_source(str(model))
    said: list[str] = []
    for precision in ("fp32", "fp16"):
        export(dataclasses.replace(job, source=source, say=said.append), precision)
    notes = [line for line in said if "NchwcTransformer" in line]
    assert notes == said[-1:]
    assert "must load it with the graph optimization level ORT_ENABLE_EXTENDED or a lower one" in notes[0]


def test_sparse_weights_stay_fp32(model: Path, job: Job, tmp_path: Path) -> None:
    """Neither library that rewrites graphs reads them."""
    graph = onnx.load(str(model))
    (head,) = [each for each in graph.graph.initializer if each.name == "head.weight"]
    values = onnx.numpy_helper.to_array(head).ravel()
    graph.graph.initializer.remove(head)
    graph.graph.sparse_initializer.append(
        onnx.helper.make_sparse_tensor(
            onnx.numpy_helper.from_array(values, "head.weight"),
            onnx.numpy_helper.from_array(np.arange(values.size), "places"),
            list(head.dims),
        )
    )
    model.write_bytes(graph.SerializeToString())
    sparse = dataclasses.replace(job, source=open_source(str(model)))
    for precision in ("fp16", "int8"):
        with pytest.raises(UsageError, match="weights as sparse tensors, which stay FP32 here"):
            export(sparse, precision)
    assert list((tmp_path / "out").iterdir()) == []
    assert export(sparse, "fp32").files == (tmp_path / "out" / "small_fp32.onnx",)


def test_names_that_are_not_utf8_travel_as_escapes(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sidecar with a lone surrogate would be refused where its engine is loaded, and by the next export."""
    pytest.importorskip("tensorrt_rtx")
    source, broken = (tmp_path / os.fsdecode(name) for name in (b"own\xe9.onnx", b"caf\xe9.mp3"))
    job.source.artifact.path.rename(source)
    options = EngineOptions((1, 2, 4))
    plan = dataclasses.replace(job.plan, engine=options, builder=open_builder("rtx", options))
    songs = dataclasses.replace(job.eval_set.songs, failed=((broken, f"no such file: {broken}"),))
    eval_set = dataclasses.replace(job.eval_set, songs=songs)
    job = dataclasses.replace(job, source=open_source(str(source)), plan=plan, eval_set=eval_set)
    monkeypatch.setattr(exporter, "gpu_capability", lambda: "8.9")

    def no_runtime(artifact: Any) -> None:
        raise DeviceError(f"{artifact.path} is of another GPU")

    monkeypatch.setattr(exporter, "open_runtime", no_runtime)
    graph, engine, _ = export(job, "fp32").files
    assert export(job, "fp32").files[1] == engine  # which is replaced
    facts = open_artifact(str(engine)).facts
    assert facts["source"]["model"] == "own\\xe9.onnx"
    assert facts["engine"]["file"] == "own\\xe9_fp32.engine"
    assert facts["skipped"] == [["caf\\xe9.mp3", f"no such file: {tmp_path}/caf\\xe9.mp3"]]
    text = {prop.key: prop.value for prop in onnx.load(str(graph)).metadata_props}[EXPORT_KEY]
    assert json_from_text(text)["source"]["model"] == "own\\xe9.onnx"


def test_a_bundled_network_with_evidence_is_compiled_for_turing(tmp_path: Path) -> None:
    """Its evidence stays FP32, of which Turing computes no product of matrices."""
    pytest.importorskip("tensorrt_rtx")
    source = open_source("audiocnn")
    songs = generated_log_mels(source.artifact.spec.audio, 8)
    eval_set = EvalSet(songs, None, "synthetic", "generated", "generated sound")
    options, said = EngineOptions((1, 2, 4), gpu="turing"), []
    plan = Plan(f"{tmp_path}/", engine=options, builder=open_builder("rtx", options))
    job = Job(source, eval_set, None, plan, said.append)
    graph, _, sidecar = export(job, "fp16").files
    assert json.loads(sidecar.read_text())["compute_capability"]["capabilities"] == ["7.5"]
    # The graph that is written is that of every card.
    assert "evidence/node_linear" in [node.name for node in onnx.load(str(graph)).graph.node]
    said.clear()
    with pytest.raises(UsageError, match="no Gemm in FP32 can be compiled for turing: use --fp16"):
        export(job, "fp32")
    kept = dataclasses.replace(job, plan=dataclasses.replace(plan, keep=("node_matmul",)))
    with pytest.raises(UsageError, match=r"no MatMul in FP32 .* keep none in FP32"):
        export(kept, "fp16")
    assert said == ["audiocnn FP32", "audiocnn FP16"]  # no check was made


def test_the_engine_is_compared_where_it_can_run(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx")
    options = EngineOptions((2, 2, 4))
    plan = dataclasses.replace(job.plan, engine=options, builder=open_builder("rtx", options))

    def why() -> str:
        exported = export(dataclasses.replace(job, plan=plan), "fp32")
        parity = json.loads(exported.files[2].read_text())["engine_parity"]
        assert parity["checked"] is False
        return parity["why"]

    assert "no GPU" in why()
    monkeypatch.setattr(exporter, "gpu_capability", lambda: "8.9")
    assert "least batch" in why()
    plan = dataclasses.replace(plan, engine=EngineOptions((1, 2, 4)))

    def no_runtime(*_: object) -> None:
        raise DeviceError("it is of another GPU")

    monkeypatch.setattr(exporter, "open_runtime", no_runtime)
    assert why() == "it is of another GPU"

    def no_load(*_: object) -> None:
        raise EngineLoadError("it is torn")

    monkeypatch.setattr(exporter, "open_runtime", no_load)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir())
    with pytest.raises(MerError, match="compiled, but cannot be used, and is not kept: it is torn"):
        why()
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()) == before


@pytest.fixture
def engine_job(job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Whose engine can run here, by ``answers``."""
    pytest.importorskip("tensorrt_rtx")
    options = EngineOptions((1, 2, 4))
    monkeypatch.setattr(exporter, "gpu_capability", lambda: "8.9")
    plan = dataclasses.replace(job.plan, engine=options, builder=open_builder("rtx", options))
    return dataclasses.replace(job, plan=plan)


def answers(job: Job, factor: float) -> Any:
    """The engine's runtime: the source's logits, changed, and a further output beside them."""

    def opened(_: Any) -> Any:
        runtime: Any = open_runtime(job.source.artifact, "onnxruntime")
        original = runtime.infer

        def infer(images: np.ndarray) -> np.ndarray:
            further = np.full((len(images), 4), 99, np.float32)
            return np.concatenate([np.float32(factor) * original(images), further], axis=1)

        runtime.infer = infer
        return runtime

    return opened


def test_the_engines_own_logits_are_compared(
    engine_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    original = exporter.publish
    monkeypatch.setattr(
        exporter, "publish", lambda folder, to, names: published.extend(names) or original(folder, to, names)
    )
    monkeypatch.setattr(exporter, "open_runtime", answers(engine_job, 1.001))
    exported = export(engine_job, "fp32")
    parity = json.loads(exported.files[2].read_text())["engine_parity"]
    assert parity["checked"] is True
    assert (parity["windows"], set(parity["by_batch"])) == (8, {"1", "2"})
    assert parity["relative_error"] == pytest.approx(0.001, rel=0.1)
    assert [Path(name).suffix for name in published] == [".onnx", ".engine", ".json"]  # it vouches for both
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir())
    for factor in (0.9, 1.1):
        monkeypatch.setattr(exporter, "open_runtime", answers(engine_job, factor))
        with pytest.raises(GateError, match=r"fp32 is off by 0\.1 of the largest logit"):
            export(engine_job, "fp32")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()) == before


def test_a_refused_graph_is_not_written(tmp_path: Path, job: Job) -> None:
    loud = write_network(tmp_path / "loud.onnx", gain=3e3)
    with pytest.raises(GateError, match="overflows"):
        export(dataclasses.replace(job, source=open_source(str(loud))), "fp16")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_export_of_another_network_is_not_replaced(job: Job, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (graph,) = export(job, "fp16").files
    before = graph.read_bytes()
    other = small_network()
    spec = dataclasses.replace(job.source.artifact.spec, backbone="other")
    onnx.helper.set_model_props(other, {SPEC_KEY: spec.to_json()})
    (tmp_path / "b" / "small.onnx").write_bytes(other.SerializeToString())
    source, said = open_source(str(tmp_path / "b" / "small.onnx")), []
    with pytest.raises(UsageError, match=r"is of another network .*: choose another place with --out"):
        export(dataclasses.replace(job, source=source, say=said.append), "fp16")
    assert graph.read_bytes() == before
    assert said == []


def test_a_precision_by_name_only_is_refused(job: Job, tmp_path: Path) -> None:
    every = (*layers_to_quantize(job.source.model()), "depth", "se_reduce", "se_expand")
    with pytest.raises(UsageError, match="fp16 by name only"):
        export(dataclasses.replace(job, plan=dataclasses.replace(job.plan, keep=every)), "fp16")
    assert list((tmp_path / "out").iterdir()) == []


def network_of(folder: Path, nodes: list[onnx.NodeProto], **weights: np.ndarray) -> Path:
    """``tiny_onnx`` with other nodes."""
    model = tiny_onnx(ModelSpec("tiny", QUADRANTS, AUDIO))
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in weights.items()
    )
    path = folder / "tiny.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_recurrent_network_has_a_precision_and_an_engine_too(job: Job, tmp_path: Path) -> None:
    """No Conv, Gemm or MatMul; and its loop has layers without an output in TensorRT."""
    pytest.importorskip("tensorrt_rtx")
    rng = np.random.default_rng(0)
    node, (hidden, mels) = onnx.helper.make_node, (len(QUADRANTS), AUDIO.n_mels)
    path = network_of(
        tmp_path,
        [
            node("Squeeze", ["images", "one"], ["bands"]),
            node("Transpose", ["bands"], ["frames"], perm=[2, 0, 1]),
            node("GRU", ["frames", "w", "r"], ["", "last"], "gru", hidden_size=hidden),
            node("Squeeze", ["last", "zero"], ["logits"]),
        ],
        one=np.array([1]),
        zero=np.array([0]),
        w=rng.standard_normal((1, 3 * hidden, mels)).astype(np.float32) / 10,
        r=rng.standard_normal((1, 3 * hidden, hidden)).astype(np.float32),
    )
    options = EngineOptions((1, 2, 4))
    plan = dataclasses.replace(job.plan, engine=options, builder=open_builder("rtx", options))
    job = dataclasses.replace(job, source=open_source(str(path)), plan=plan)
    assert len(export(job, "fp32").files) == 3
    assert len(export(job, "fp16").files) == 3
    kept = dataclasses.replace(job, plan=dataclasses.replace(plan, keep=("gru",)))
    with pytest.raises(UsageError, match="with these layers kept none is left in fp16"):
        export(kept, "fp16")


def test_a_network_without_layers_is_exported_in_fp32_alone(job: Job, tmp_path: Path) -> None:
    path = network_of(
        tmp_path,
        [
            onnx.helper.make_node("ReduceMean", ["images", "axes"], ["means"], keepdims=0),
            onnx.helper.make_node("Slice", ["means", "begin", "end", "axis"], ["logits"]),
        ],
        axes=np.array([1, 3]),
        begin=np.array([0]),
        end=np.array([len(QUADRANTS)]),
        axis=np.array([1]),
    )
    job = dataclasses.replace(job, source=open_source(str(path)))
    with pytest.raises(UsageError, match="the network has no layer that fp16 makes faster: use --fp32"):
        export(job, "fp16")
    assert export(job, "fp32").files[0].name == "tiny_fp32.onnx"


def test_an_export_replaces_neither_its_source_nor_a_file_of_another_program(
    job: Job, tmp_path: Path
) -> None:
    source = job.source.artifact.path
    before = source.read_bytes()
    plan = dataclasses.replace(job.plan, out=str(source), form="onnx")
    with pytest.raises(UsageError, match=r"small\.onnx would replace .*small\.onnx"):
        export(dataclasses.replace(job, plan=plan), "fp16")
    scored = write_network(tmp_path / "out" / "small_fp16.onnx")
    with pytest.raises(UsageError, match="no export of this name wrote it"):
        export(job, "fp16")
    assert source.read_bytes() == scored.read_bytes() == before
    scored.unlink()
    assert export(job, "fp16").files == export(job, "fp16").files == (scored,)


def test_a_full_disk_and_a_folder_that_goes_are_one_line(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(exporter, "publish", full)
        with pytest.raises(MerError, match=r"cannot write into .*out: No space left on device"):
            export(job, "fp16")
    assert list((tmp_path / "out").iterdir()) == []

    def gone(line: str) -> None:
        if "against FP32" in line:
            (tmp_path / "out").rmdir()

    with pytest.raises(MerError, match=r"cannot write into .*out: No such file or directory"):
        export(dataclasses.replace(job, say=gone), "fp16")
    assert not (tmp_path / "out").exists()


def test_a_network_of_matrix_products_alone_has_a_precision_too(job: Job, tmp_path: Path) -> None:
    spec = ModelSpec("tiny", QUADRANTS, AUDIO)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx(spec).SerializeToString())
    job = dataclasses.replace(job, source=open_source(str(path)))
    assert [export(job, precision).files[0].name for precision in ("fp32", "fp16")] == [
        "tiny_fp32.onnx",
        "tiny_fp16.onnx",
    ]
    music = CalibrationSet(AUDIO, (), str(tmp_path / "none.npz"), "")
    with pytest.raises(UsageError, match="no layer that INT8 makes faster"):
        export(dataclasses.replace(job, calibration_set=music), "int8")


def test_an_export_has_the_evidence_of_its_source(job: Job, tmp_path: Path) -> None:
    evidence = EvidenceSpec(music=0.0, distances=(0.0, 1.0), far=1.0, confidence=0.3)
    spec = ModelSpec("tiny", QUADRANTS, AUDIO, evidence=evidence)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx(spec).SerializeToString())
    job = dataclasses.replace(job, source=open_source(str(path)))
    (exported,) = export(job, "fp16").files
    before, after = open_artifact(str(path)), open_artifact(str(exported))
    assert after.spec == before.spec
    log_mels = np.random.default_rng(0).normal(0, 1, (3, 1, AUDIO.n_mels, AUDIO.frames)).astype(np.float32)
    with open_runtime(before) as one, open_runtime(after) as other:
        expected, given = one.infer(log_mels), other.infer(log_mels)
    np.testing.assert_array_equal(given[:, 4:], expected[:, 4:])
    assert 0 < np.abs(given[:, :4] - expected[:, :4]).max() < 0.01


def test_the_evidence_of_every_graph_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The written one's with the source's, and that of what is compiled for Turing with the written one's."""
    pytest.importorskip("tensorrt_rtx")
    compared: list[tuple[Any, ...]] = []

    def compile_nothing(*_: Any) -> None:
        raise MerError("it is not compiled here")

    monkeypatch.setattr(exporter, "check_evidence", lambda *given: compared.append(given))
    monkeypatch.setattr(exporter, "engine_from_onnx", compile_nothing)
    source = open_source("audiocnn")
    songs = generated_log_mels(source.artifact.spec.audio, 8)
    eval_set = EvalSet(songs, None, "synthetic", "generated", "generated sound")
    options = EngineOptions((1, 2, 4), gpu="turing")
    plan = Plan(f"{tmp_path}/", engine=options, builder=open_builder("rtx", options))
    with pytest.raises(MerError, match="not compiled here"):
        export(Job(source, eval_set, None, plan, lambda line: None), "fp16")
    (first, written, _), (before, compiled, _) = compared
    assert first == source.whole.content
    graphs = [onnx.load_from_string(content).graph for content in (written, before, compiled)]
    for graph in graphs:
        assert "fp16" in precision_by_op(onnx.helper.make_model(graph))["Conv"]
        assert [value.name for value in graph.output] == ["logits", "evidence"]
    products = [{node.op_type for node in graph.node if "evidence/" in node.name} for graph in graphs]
    assert ["Gemm" in each or "MatMul" in each for each in products] == [True, True, False]


@pytest.mark.parametrize(("precision", "kept"), [("fp16", "fp32"), ("int8", "fp16")])
def test_layers_are_kept_as_they_were_asked_for(job: Job, precision: Any, kept: str) -> None:
    """One step up, or in FP32."""
    model = job.source.model()
    layers = layers_to_quantize(model)
    ranges = dict.fromkeys(tensors_to_quantize(model, layers), (-4.0, 4.0))
    plan = dataclasses.replace(job.plan, keep=("res_1",), keep_fp32=("res_2",))
    of_job: Any = SimpleNamespace(plan=plan, source=job.source, calibration=SimpleNamespace(ranges=ranges))
    converted = exporter._converted(of_job, precision)
    alone = {}
    for node in [node for node in converted.graph.node if node.name in ("stem", "res_1", "res_2")]:
        copy = onnx.ModelProto()
        copy.CopyFrom(converted)
        names = [each for each in copy.graph.node if each.op_type != "Conv" or each.name == node.name]
        del copy.graph.node[:]
        copy.graph.node.extend(names)
        (alone[node.name],) = precision_by_op(copy)["Conv"]
    assert alone == {"stem": precision, "res_1": kept, "res_2": "fp32"}
