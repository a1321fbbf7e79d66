"""The checks on the stub driver: they pass, and each sees the mistake that it is for."""

from __future__ import annotations

import ctypes
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from merkit.benchmarks.experiments.gpu_checks import bench as benches
from merkit.benchmarks.experiments.gpu_checks import correct, faults, speed, stand_in
from merkit.benchmarks.experiments.gpu_checks.bench import Bench, CheckFailed, Driver, driver
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


def violations() -> int:
    return benches.stub_library().stub_violations(ctypes.byref(ctypes.c_char_p()))


def test_what_the_stub_counts_fails_a_check(bench: Bench) -> None:
    with driver() as calls:
        address = calls.memory(64)
    benches.stub_library().stub_touch(ctypes.c_void_p(address), ctypes.c_size_t(64))
    with pytest.raises(CheckFailed, match="1 forbidden accesses: a kernel outside of device memory"):
        correct._check_stub()
    benches.stub_library().stub_reset(0, ctypes.c_ulonglong(0))
    correct._check_stub()


@pytest.mark.usefixtures("bench")
def test_memory_is_freed_when_nothing_uses_it_any_longer() -> None:
    for seed in range(1, 21):
        benches.stub_library().stub_reset(1, ctypes.c_ulonglong(seed))
        with driver() as calls:
            stream = calls.stream()  # the first, and so the last to be freed: that would wait for its work
            to, source = calls.memory(64), calls.pinned(np.zeros(16, np.float32))
            for _ in range(4):
                calls.copy(to, source, stream)
        assert violations() == 0


def queued(bench: Bench, calls: Driver, windows: int, room: int) -> tuple[Any, int, int, int]:
    """A batch that the stand-in has queued: its context, the stream, and where its log-mels and logits are.

    ``room`` is for how many windows there is memory for log-mels.
    """
    artifact = bench.engine()
    trt: Any = sys.modules["tensorrt"]
    engine = trt.Runtime(trt.ILogger()).deserialize_cuda_engine(artifact.content)
    context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    shape, stream = (windows, 1, AUDIO.n_mels, AUDIO.frames), calls.stream()
    images, logits = calls.memory(room * 4 * AUDIO.n_mels * AUDIO.frames), calls.memory(windows * 4 * 4)
    calls.copy(images, calls.pinned(benches.log_mels(AUDIO, room)), stream)
    assert context.set_input_shape("images", shape)
    context.set_device_memory(calls.memory(windows * 4_096), windows * 4_096)
    assert context.set_tensor_address("images", images)
    assert context.set_tensor_address("logits", logits)
    assert context.execute_async_v3(stream)
    return context, stream, images, logits


def test_the_stand_in_computes_on_the_addresses_of_the_call(bench: Bench) -> None:
    for seed in range(1, 9):
        benches.stub_library().stub_reset(1, ctypes.c_ulonglong(seed))
        with driver() as calls:
            context, _, _, logits = queued(bench, calls, 2, 2)
            other = calls.memory(2 * 4 * 4)
            context.set_tensor_address("logits", other)
            calls.synchronize()
            assert np.isfinite(stand_in.tensor_on_host(logits, (2, 4)).numpy()).all()
            assert np.isnan(stand_in.tensor_on_host(other, (2, 4)).numpy()).all()
        assert violations() == 0


def test_the_stand_in_tells_the_stub_all_that_it_touches(bench: Bench) -> None:
    with driver() as calls:
        queued(bench, calls, 3, 2)
        assert violations() == 1
    benches.stub_library().stub_reset(0, ctypes.c_ulonglong(0))


def test_a_graph_is_of_a_size_and_of_addresses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As TensorRT's: replayed with others it would read and write where it was captured."""
    cuda = SimpleNamespace(
        synchronize=lambda: None,
        Stream=object,
        stream=lambda _: nullcontext(),
        graph=lambda *_, **__: nullcontext(),
        CUDAGraph=lambda: object(),
    )
    monkeypatch.setattr(stand_in, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(stand_in, "_own_stream", object)
    monkeypatch.setattr(stand_in.Context, "_views", lambda *_: {})
    monkeypatch.setattr(stand_in.Context, "_compute", lambda *_: None)
    engine: Any = None
    context = stand_in.Context(engine)
    first = context._graph((2, 1), {"images": 256, "logits": 512})
    assert context._graph((2, 1), {"logits": 512, "images": 256}) is first
    assert context._graph((2, 1), {"images": 256, "logits": 768}) is not first
    assert context._graph((3, 1), {"images": 256, "logits": 512}) is not first


def test_one_threads_wrong_logits_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tensorrt.TensorRtRuntime.infer
    monkeypatch.setattr(tensorrt.TensorRtRuntime, "infer", lambda self, images: 1.1 * original(self, images))
    with pytest.raises(CheckFailed, match=r"wrong logits.*thread"):
        correct.check_threads(bench)


def test_an_input_that_is_read_too_late_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller may write into its array as soon as it was submitted."""
    original = tensorrt.TensorRtRuntime.submit

    def late(self: Any, images: Any) -> Any:
        if isinstance(images, np.ndarray):
            return SimpleNamespace(result=lambda: original(self, images).result())
        return original(self, images)

    monkeypatch.setattr(tensorrt.TensorRtRuntime, "submit", late)
    with pytest.raises(CheckFailed, match=r"wrong logits.*host"):
        correct.check_streams(bench)


def test_memory_that_is_not_full_or_does_not_come_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(correct, "fill_memory", lambda *_: 0)
        with pytest.raises(CheckFailed, match="and the batch is whole"):
            correct.check_memory(bench)
    original, opens = Bench.open, [0]

    def smaller_in_the_end(self: Bench, batch: int) -> Any:
        opens[0] += 1
        return original(self, batch=batch // 2 if opens[0] == 4 else batch)

    monkeypatch.setattr(Bench, "open", smaller_in_the_end)
    with pytest.raises(CheckFailed, match="the memory did not come back"):
        correct.check_memory(bench)


def test_rates_are_windows_a_second(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_timed", lambda call, seconds: (call(), (0.5, 1))[1])
    rows = speed.check_networks(bench)["networks"]
    assert [(row["batch_1"], row["batch_8"], row["copied"]) for row in rows] == [(2, 16, 16)] * 4
    assert {row["windows_per_s"] for row in speed.check_feeds(bench)["feeds"]} == {128}


@pytest.mark.parametrize(("wrong", "labels_agree"), [(range(2, 3), True), (range(8), False)])
def test_the_worst_of_all_calls_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, wrong: range, labels_agree: bool
) -> None:
    original, calls = tensorrt.TensorRtRuntime.infer, [0]

    def turned(self: Any, images: Any) -> Any:
        calls[0] += 1
        logits = original(self, images)
        return logits[:, ::-1] if calls[0] - 1 in wrong else logits

    monkeypatch.setattr(tensorrt.TensorRtRuntime, "infer", turned)
    with bench.open() as runtime:
        row = speed.figures_of_runtime(runtime, bench.first, benches.Reference(bench.first, 33), 0.01)
    assert row["error"] > 0.01
    assert (row["labels"] == 1) is labels_agree
