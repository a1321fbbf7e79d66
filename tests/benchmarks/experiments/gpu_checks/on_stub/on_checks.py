"""The checks on the stub driver: they pass, and each sees the mistake that it is for."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest
from merkit.benchmarks.experiments.gpu_checks import bench as benches
from merkit.benchmarks.experiments.gpu_checks import correct, faults, speed
from merkit.benchmarks.experiments.gpu_checks.bench import Bench, CheckFailed
from merkit.engine.runtimes import cuda_slot, tensorrt, tensorrt_engine
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from onnx_files import tiny_onnx

AUDIO = AudioSpec(window_samples=16_000, frames=32, n_mels=16, n_fft=512)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    benches.stub_library().stub_reset(0, ctypes.c_ulonglong(0))
    model = tmp_path / "tiny.onnx"
    model.write_bytes(tiny_onnx(ModelSpec("tiny", QUADRANTS, AUDIO)).SerializeToString())
    return Bench({"tiny": model}, 0.05, tmp_path)


def test_streams(bench: Bench) -> None:
    figures = correct.check_streams(bench)
    assert sum(figures["batches"].values()) >= 32  # two rounds at least, and as many as 0.05 s have room for
    assert all(figures["batches"].values())


def test_streams_where_a_batch_is_not_computed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the logits of another batch lie where its own should."""
    calls: list[int] = []

    def sometimes(self: Any, stream: int, batch: int, log_mels: int, outputs: Any) -> None:
        calls.append(batch)
        if len(calls) % 5:
            original(self, stream, batch, log_mels, outputs)

    original = tensorrt_engine.LoadedEngine.enqueue
    monkeypatch.setattr(tensorrt_engine.LoadedEngine, "enqueue", sometimes)
    with pytest.raises(CheckFailed, match="wrong logits"):
        correct.check_streams(bench)


def test_threads(bench: Bench) -> None:
    assert all(count >= 8 for count in correct.check_threads(bench)["batches"].values())


def test_memory(bench: Bench) -> None:
    figures = correct.check_memory(bench)
    assert 0 < figures["bytes_for_all"] < 64 << 20
    assert "memory" in figures["message"]


def test_opens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing left behind" in correct.check_opens(bench)["summary"]
    kept = []  # else collecting the garbage frees it
    monkeypatch.setattr(cuda_slot.Slot, "close", lambda self: kept.append(list(vars(self).items())))
    with pytest.raises(CheckFailed, match="gpu_bytes"):
        correct.check_opens(bench)


def test_networks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = speed.check_networks(bench)["networks"]
    assert [(row["precision"], row["graphs"]) for row in rows] == [
        ("fp32", False), ("fp32", True), ("fp16", False), ("fp16", True),
    ]  # fmt: skip
    assert all(row["error"] < 2e-3 and row["labels"] == 1 for row in rows)
    assert all(row["batch_1"] > 0 and row["batch_8"] > 0 and len(row["calls_ms"]) == 3 for row in rows)
    original = tensorrt.TensorRtRuntime.infer
    monkeypatch.setattr(tensorrt.TensorRtRuntime, "infer", lambda self, images: 1.1 * original(self, images))
    with pytest.raises(CheckFailed, match="tiny fp32: off by"):
        speed.check_networks(bench)


def test_feeds_and_limits(bench: Bench) -> None:
    rows = speed.check_feeds(bench)["feeds"]
    assert {row["samples"] for row in rows} == {"float32", "int16"}
    assert all(row["windows_per_s"] > 0 for row in rows)
    assert len(speed.check_limits(bench)["limits"]) == 3


def test_a_fault_in_this_process(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """What the child of ``check_fault`` does."""
    faults.break_the_gpu(bench)
    ready, message, closed = capsys.readouterr().out.splitlines()
    assert (ready, closed) == ("ready", "closed")
    assert message.startswith("error: stub 0")


def test_a_network_that_answers_to_everything_alike(bench: Bench) -> None:
    model = tiny_onnx(ModelSpec("tiny", QUADRANTS, AUDIO))
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_weight"):
            tensor.raw_data = bytes(len(tensor.raw_data))
    bench.models["tiny"].write_bytes(model.SerializeToString())
    with pytest.raises(CheckFailed, match="nearly the same"):
        correct.check_streams(bench)
