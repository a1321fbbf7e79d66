"""DALI into TensorRT, as the GPU pipeline and ``mer-bench gpu`` connect them."""

from __future__ import annotations

import ctypes
import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_files import engine
from gpu_on_cpu import packed
from merkit.benchmarks.experiments.gpu import measure, write_report
from merkit.engine.artifact import Artifact
from merkit.engine.labelling.gpu_pipeline import GpuPipeline
from merkit.engine.runtimes.cuda_gpu import open_gpu
from merkit.engine.runtimes.tensorrt import TensorRtRuntime, open_runtime
from merkit.engine.spectrogram.dali import DaliLogMel
from merkit.engine.spectrogram.log_mel import log_mel_from_audio
from stub_cuda.arrays import AUDIO, CONTENT, SPEC, OnGpu, expected_logits
from stub_cuda.stub import Stub


class CpuDaliOnGpu(DaliLogMel):
    """DALI's log-mels as on a GPU: in device memory, ready for one stream only."""

    copies: Any = None
    pool: list[tuple[Any, Any]]

    def take(self, stream: int | None = None) -> Any:
        log_mels = super().take()
        assert stream == self.copies.handle
        with open_gpu(0).current():
            on_gpu = OnGpu(log_mels, self.copies)
        weakref.finalize(on_gpu, self.take_back, on_gpu.memory, on_gpu.host)
        return on_gpu

    def take_back(self, memory: Any, host: Any) -> None:
        """Memory that nobody refers to any longer is overwritten at once, as by DALI's next batch."""
        ctypes.memset(int(memory), 0xFF, host.nbytes)
        self.pool.append((memory, host))


def pipeline_of(artifact: Artifact, pool: list[tuple[Any, Any]]) -> GpuPipeline:
    """As ``open_gpu_pipeline`` opens it; ``pool`` gets log-mels' memory that nobody refers to any longer."""
    runtime = open_runtime(artifact, 0)

    def open_dali(batch: int) -> DaliLogMel:
        dali = CpuDaliOnGpu(AUDIO, batch, "cpu", packed=True)
        dali.copies, dali.pool = runtime._computes, pool
        return dali

    return GpuPipeline(runtime, AUDIO, open_dali, open_anew=lambda: pipeline_of(artifact, pool))


def free(pool: list[tuple[Any, Any]]) -> None:
    with open_gpu(0).current():
        for memory, host in pool:
            memory.free()
            host.base.free()


@pytest.mark.parametrize("step", ["_compute", "_collect", "_finish"])
@pytest.mark.parametrize("at", [1, 2, 4])
def test_after_an_interrupt_all_is_given_back_and_opened_anew(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    """Also what the GPU was computing then; and the labels are those of a first call."""
    samples = np.asarray(np.random.default_rng(2).standard_normal((40, AUDIO.window_samples)) / 9, np.float32)
    pool: list[tuple[Any, Any]] = []
    calls: list[str] = []
    done = getattr(TensorRtRuntime, step)

    def interrupted(*arguments: Any) -> Any:
        result = done(*arguments)
        calls.append(step)
        if len(calls) == at:
            raise KeyboardInterrupt
        return result

    def run(network: GpuPipeline) -> dict[int, np.ndarray]:
        added = [pair for key in range(6) for pair in network.add(key, packed(samples * 0.9**key))]
        return dict([*added, *network.flush()])

    network = pipeline_of(artifact, pool)
    with monkeypatch.context() as patch:
        patch.setattr(TensorRtRuntime, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(network)
    with network.mended() as mended:
        logits = run(mended)
    del network
    gc.collect()
    free(pool)
    for key in range(6):
        expected = expected_logits(log_mel_from_audio(samples * np.float32(0.9**key), AUDIO))
        np.testing.assert_allclose(logits[key], expected, atol=1e-3)


@pytest.mark.parametrize("seed", [None, 5, 6, 7])
def test_dali_into_tensorrt(artifact: Artifact, stub: Stub, seed: int | None) -> None:
    """Files whose windows are spread over batches; each gets the logits of its own windows."""
    rng = np.random.default_rng(1)
    files = [
        np.asarray(rng.standard_normal((count, AUDIO.window_samples)) / 9, np.float32)
        for count in (3, 1, 40, 7, 33, 2, 64, 5)
    ]
    stub.reset(seed)
    pool: list[tuple[Any, Any]] = []
    logits: dict[int, np.ndarray] = {}
    with pipeline_of(artifact, pool) as network:
        assert network.batch == 32
        for position, samples in enumerate(files):
            logits.update(network.add(position, packed(samples)))
        logits.update(network.flush())
    assert len(pool) == 5
    free(pool)
    assert sorted(logits) == list(range(len(files)))
    for position, samples in enumerate(files):
        expected = expected_logits(log_mel_from_audio(samples, AUDIO))
        np.testing.assert_allclose(logits[position], expected, atol=1e-3)


def test_what_mer_bench_gpu_does(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(CONTENT)
    artifact = engine(tmp_path, SPEC, CONTENT, onnx={"file": "tiny.onnx"})
    measurement = measure(artifact, 0.01, "cpu")
    write_report([measurement], tmp_path / "gpu.json")
    report = json.loads((tmp_path / "gpu.json").read_text())["engines"][0]
    assert report["engine_against_onnx"]["max_error"] < 1e-5
    assert report["dali_against_reference_db"] <= 0.01
    assert report["machine"]["gpu"] == "stub 0"
    assert {"overlap", "transfer_ms_a_batch"} <= set(report)
    assert len(report["images_per_s"]) == 4
    evil = engine(tmp_path, SPEC, CONTENT, onnx={"file": "../tiny.onnx"})
    assert not measure(evil, 0.01, "cpu")["engine_against_onnx"]["checked"]
