"""All that mer-bench gpu measures, with ONNX Runtime and DALI's CPU backend in the GPU's place."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gpu_on_cpu import SPEC, OnCpu
from merkit.benchmarks.experiments import gpu
from merkit.benchmarks.experiments.gpu import generated, measure, measure_runtime, write_report
from merkit.engine.artifact import Artifact, open_artifact
from merkit.engine.errors import ArtifactError
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import AudioSpec
from onnx_files import tiny_onnx


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A network with the facts that an engine's sidecar has."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx(SPEC).SerializeToString())
    return dataclasses.replace(open_artifact(str(path)), facts=facts("tiny.onnx"))


def facts(onnx: str) -> dict[str, Any]:
    return {"onnx": {"file": onnx}, "profiles": {"images": {"min": [1], "opt": [4], "max": [8]}}}


def test_generated_windows_differ() -> None:
    spec = AudioSpec(window_samples=16_000, frames=32)
    audio = generated(spec, 3)
    assert audio.shape == (3, 16_000)
    assert abs(audio).max() <= 1
    assert not (audio[0] == audio[1]).any()


def test_everything_is_measured(artifact: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali")
    lines: list[str] = []
    runtime = OnCpu(open_runtime(artifact, "onnxruntime", 1), batch=8)
    figures = measure_runtime(runtime, artifact, 0.01, "cpu", lines.append)
    write_report([figures], tmp_path / "gpu.json")
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["format"] == 1
    (engine,) = report["engines"]
    assert list(engine) == [
        "model", "runtime", "builder_version", "machine", "batch", "engine_against_onnx",
        "dali_against_reference_db", "images_per_s", "images_per_s_by_batch", "overlap",
        "transfer_ms_a_batch",
    ]  # fmt: skip
    assert (engine["batch"], engine["machine"]["gpu"]) == (4, "no GPU")
    assert engine["engine_against_onnx"]["checked"]
    assert engine["engine_against_onnx"]["max_error"] < 1e-5
    assert engine["dali_against_reference_db"] <= 0.01
    assert len(engine["images_per_s"]) == 4
    assert all(rate["median"] > 0 for rate in engine["images_per_s"].values())
    assert engine["overlap"] > 0
    assert list(engine["images_per_s_by_batch"]) == ["1", "2", "4", "8"]
    assert all(rate > 0 for rates in engine["images_per_s_by_batch"].values() for rate in rates.values())
    assert len(lines) == 10


@pytest.mark.parametrize("name", ["../tiny.onnx", "gone.onnx", ""])
def test_only_the_onnx_beside_an_engine_is_compared(artifact: Artifact, name: str) -> None:
    pytest.importorskip("nvidia.dali")
    other = dataclasses.replace(artifact, facts=facts(name))
    runtime = OnCpu(open_runtime(artifact, "onnxruntime", 1), batch=2)
    assert not measure_runtime(runtime, other, 0, "cpu")["engine_against_onnx"]["checked"]


def test_dalis_difference_is_in_decibels() -> None:
    """Log-mels are standardised, each band by its own deviation."""
    spec = dataclasses.replace(SPEC.audio, std=(10.0,))
    log_mels = np.zeros((2, 1, spec.n_mels, spec.frames), np.float32)
    dali: Any = SimpleNamespace(spec=spec, device="cpu", put=lambda *_: None, take=lambda: log_mels - 0.5)
    file: Any = SimpleNamespace(samples=[], scales=None)
    assert gpu._dali_difference(dali, file, log_mels) == 5.0


def test_what_overlapping_and_copying_are_worth() -> None:
    rates = {gpu._COPIED: 100, gpu._ON_GPU: 200, gpu._DALI: 200, gpu.BOTH: 200}
    assert gpu._overlap(rates, 10) == {"overlap": 2.0, "transfer_ms_a_batch": 50.0}
    assert gpu._overlap({**rates, gpu.BOTH: 100}, 10)["overlap"] == 1.0


def test_what_is_no_engine_is_refused(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match="no engine"):
        measure(dataclasses.replace(artifact, facts={}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, which only the test lets pass."""
    seconds = [100.0]
    monkeypatch.setattr(gpu, "time", SimpleNamespace(perf_counter=lambda: seconds[0]))
    return seconds


def test_a_rate_is_the_median_of_images_a_second(clock: list[float]) -> None:
    durations = [9.0, 9.0, 9.0, 0.5, 0.25, 0.125, 0.25, 0.5]  # the first three are left out

    def call() -> None:
        clock[0] += durations.pop(0)

    assert gpu._rate(call, 10, 0.0) == {"median": 40.0, "runs": [20.0, 40.0, 80.0, 40.0, 20.0]}


def test_what_is_on_its_way_at_the_end_counts(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[int] = []
    held: list[int] = []  # two batches are on their way

    def add(key: int, file: Any) -> Any:
        clock[0] += 1.0
        keys.append(key)
        held.append(key)
        if len(held) > 2:
            yield held.pop(0), [0.0] * 4

    def flush() -> Any:
        while held:
            yield held.pop(0), [0.0] * 4

    pipeline = SimpleNamespace(add=add, flush=flush)
    monkeypatch.setattr(gpu, "GpuPipeline", lambda *_: nullcontext(pipeline))
    runtime, file = SimpleNamespace(), SimpleNamespace(samples=[0] * 4)
    rate: Any = gpu._overlapping(runtime, SPEC.audio, "cpu", file, 0.0)  # pyright: ignore[reportArgumentType]
    assert rate == {"median": 4.0, "runs": [4.0]}
    assert keys == [0, 1, 2, 3, 4, 5]


def test_an_engine_is_off_whichever_way(artifact: Artifact) -> None:
    log_mels = np.random.default_rng(0).normal(size=(3, 1, 32, 32)).astype(np.float32)
    with open_runtime(artifact, "onnxruntime") as runtime:
        expected = runtime.infer(log_mels)
    for change in (-1, 1):
        other: Any = SimpleNamespace(infer=lambda _, change=change: expected + np.float32(change))
        assert gpu._against_onnx(artifact, other, log_mels)["max_error"] == pytest.approx(1, rel=1e-4)
    broken: Any = SimpleNamespace(infer=lambda _: expected + np.float32(np.nan))
    assert not gpu._against_onnx(artifact, broken, log_mels)["max_error"] < 1


def test_pipelines_get_the_same_memory_one_after_the_other() -> None:
    made: list[tuple[int, ...]] = []
    runtime: Any = SimpleNamespace(
        name="", gpu=None, batch=8, stream=0, submit=None, infer=None,
        pinned=lambda shape, dtype: made.append(shape) or np.zeros(shape, dtype),
    )  # fmt: skip
    lent = gpu._Lent(runtime)
    first = lent.pinned((8, 3), np.int16)
    lent.close()
    second = lent.pinned((4, 3), np.int16)
    assert second.shape == (4, 3)
    assert np.shares_memory(first, second)
    lent.close()
    assert lent.pinned((9, 3), np.int16).shape == (9, 3)
    assert made == [(8, 3), (9, 3)]
