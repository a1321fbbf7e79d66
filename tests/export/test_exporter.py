"""What an export writes, and that it writes nothing it did not verify."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from merkit.engine.artifact import SPEC_KEY, open_artifact
from merkit.engine.errors import DeviceError, EngineLoadError, MerError, UsageError
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import QUADRANTS, EvidenceSpec, ModelSpec
from merkit.export import exporter
from merkit.export.builders import EngineOptions, open_builder
from merkit.export.calibration_set import CalibrationSet
from merkit.export.checks import GateError
from merkit.export.eval_set import EvalSet
from merkit.export.exporter import export
from merkit.export.job import Job, Plan
from merkit.export.precision import layers_to_quantize
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
    assert report["precision"] == exported.precision == "fp16"
    assert report["parity"]["windows"] == 8
    assert open_artifact(str(exported.files[0])).spec == job.source.artifact.spec


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
