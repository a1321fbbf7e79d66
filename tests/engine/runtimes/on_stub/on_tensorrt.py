"""The TensorRT runtime with real PyCUDA on the stub driver."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_files import engine
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError, DeviceMemoryError
from merkit.engine.runtimes import tensorrt
from merkit.engine.runtimes.cuda_gpu import open_gpu
from stub_cuda import fake_tensorrt
from stub_cuda.arrays import AUDIO, CONTENT, SPEC, OnGpu, assert_right, cuda, log_mels
from stub_cuda.stub import INVALID_HANDLE, LAUNCH_FAILED, OUT_OF_MEMORY, Stub, loaded


def test_right_in_the_order_of_the_calls(artifact: Artifact) -> None:
    with tensorrt.open_runtime(artifact, 0) as runtime:
        assert runtime.name == "tensorrt"
        assert runtime.batch == 32
        for count in (1, 2, 31, 32, 33, 64, 100):
            assert_right(runtime.infer(log_mels(count)), log_mels(count))


def test_the_network_reads_and_writes_in_one_place(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that was captured holds addresses. No more windows are computed than there are."""
    taken: dict[str, set[int]] = {}
    sizes: list[int] = []

    def size(self: Any, name: str, shape: tuple[int, ...]) -> bool:
        sizes.append(shape[0])
        return shapes(self, name, shape)

    shapes = fake_tensorrt.IExecutionContext.set_input_shape
    monkeypatch.setattr(fake_tensorrt.IExecutionContext, "set_input_shape", size)

    def spy(self: Any, name: str, memory: int) -> bool:
        taken.setdefault(name, set()).add(memory)
        return original(self, name, memory)

    original = fake_tensorrt.IExecutionContext.set_tensor_address
    monkeypatch.setattr(fake_tensorrt.IExecutionContext, "set_tensor_address", spy)
    with tensorrt.open_runtime(artifact, 0) as runtime:
        with open_gpu(0).current():
            on_gpu = OnGpu(log_mels(40), runtime._computes)
            crooked = OnGpu(log_mels(3), runtime._computes, offset=4)
            foreign = OnGpu(log_mels(3), cuda.Stream(), stream=2)  # a stream that we did not make
        pending = [runtime.submit(log_mels(33)), runtime.submit(on_gpu)]
        assert_right(pending[1].result(), log_mels(40))
        assert_right(pending[0].result(), log_mels(33))
        assert_right(runtime.infer(crooked), log_mels(3))
        assert_right(runtime.infer(foreign), log_mels(3))
        assert sizes[-6:] == [32, 1, 32, 8, 3, 3]
        assert {name: len(addresses) for name, addresses in taken.items()} == dict.fromkeys(taken, 1)
        assert all(address % 256 == 0 for addresses in taken.values() for address in addresses)
        with open_gpu(0).current():
            for array in (on_gpu, crooked, foreign):
                array.free()


def test_what_it_does_not_take(artifact: Artifact) -> None:
    with tensorrt.open_runtime(artifact, 0) as runtime:
        good = log_mels(2)
        double: Any = good.astype(np.float64)
        for bad in (good[:0], good[0], double, good.transpose(0, 1, 3, 2), good[:, :, :-1]):
            with pytest.raises(ValueError, match="float32"):
                runtime.infer(bad)
        assert_right(runtime.infer(log_mels(4)[::2]), log_mels(4)[::2].copy())
        with open_gpu(0).current():
            on_gpu = OnGpu(good, runtime._computes)
        interface = on_gpu.__cuda_array_interface__
        row = 4 * AUDIO.frames
        gapless = (AUDIO.n_mels * row, AUDIO.n_mels * row, row, 4)
        interface["strides"] = gapless
        assert_right(runtime.infer(on_gpu), good)
        on_gpu.__cuda_array_interface__ = {**interface, "typestr": "=f"}  # as DALI says it
        assert_right(runtime.infer(on_gpu), good)
        for changed in ({"strides": (gapless[0], gapless[1], 4, row)}, {"typestr": "<f2"}, {"shape": (2, 1)}):
            on_gpu.__cuda_array_interface__ = {**interface, **changed}
            with pytest.raises(ValueError, match="float32"):
                runtime.infer(on_gpu)
        with open_gpu(0).current():
            on_gpu.free()


@pytest.mark.parametrize("count", [3, 70])
def test_log_mels_are_held_until_their_logits_are_there(artifact: Artifact, count: int) -> None:
    """Of several batches the first is done long before the third has read its windows."""
    loaded().reset(7)
    with tensorrt.open_runtime(artifact, 0) as runtime:
        with open_gpu(0).current():
            on_gpu = OnGpu(log_mels(count), runtime._computes)
        alive = weakref.ref(on_gpu)
        memory, host = on_gpu.memory, on_gpu.host
        pending = runtime.submit(on_gpu)  # of three it has waited for the first: there are two slots
        del on_gpu
        gc.collect()
        assert alive() is not None
        assert_right(pending.result(), log_mels(count))
        gc.collect()
        assert alive() is None
        with open_gpu(0).current():
            memory.free()
            host.base.free()


def test_several_threads(artifact: Artifact) -> None:
    loaded().reset(3)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(12):
                batch = log_mels(1 + (number + turn) % 40, 100 * number + turn)
                assert_right(runtime.infer(batch), batch)
            assert loaded().pushed == 0
        except BaseException as error:
            errors.append(error)

    with tensorrt.open_runtime(artifact, 0) as runtime:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []


def test_opened_here_and_closed_there(artifact: Artifact) -> None:
    runtime = tensorrt.open_runtime(artifact, 0)
    thread = threading.Thread(target=runtime.close)
    thread.start()
    thread.join()
    with pytest.raises(ValueError, match="closed"):
        runtime.infer(log_mels(1))


def test_nothing_is_left_after_10_000_opens(artifact: Artifact, stub: Stub) -> None:
    open_gpu.cache_clear()
    retained = stub.live()["contexts"]
    tensorrt.open_runtime(artifact, 0).close()
    before = stub.live()
    for _ in range(10_000):
        tensorrt.open_runtime(artifact, 0).close()
    assert stub.live() == before
    assert before["contexts"] == retained + 1
    assert stub.pushed == 0


def memory_of(batch: int) -> int:
    """Bytes on the GPU that a runtime with such batches takes; the fake needs 1,000 for each window of 32."""
    return 32 * 1_000 + batch * (3 * 4 * AUDIO.n_mels * AUDIO.frames + 16 + 8)


@pytest.mark.parametrize(("room", "batch"), [(32, 32), (31, 16), (16, 16), (9, 8), (1, 1)])
def test_out_of_memory_halves_the_batch(
    artifact: Artifact, stub: Stub, caplog: pytest.LogCaptureFixture, room: int, batch: int
) -> None:
    stub.device(free_bytes=memory_of(room))
    with tensorrt.open_runtime(artifact, 0) as runtime:
        assert runtime.batch == batch
        assert_right(runtime.infer(log_mels(70)), log_mels(70))
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ([] if batch == 32 else [f"stub 0 has memory for batches of {batch} windows, not 32"])


@pytest.mark.parametrize(("room", "batch"), [(5, 5), (4, 3), (3, 3), (2, None)])
def test_the_least_batch_is_tried_too(tmp_path: Path, stub: Stub, room: int, batch: int | None) -> None:
    """Half of the most may be less than it."""
    artifact = with_profile(tmp_path, 3, 4, 5)
    stub.device(free_bytes=memory_of(room))
    if batch is None:
        with pytest.raises(DeviceMemoryError, match="no memory left for a batch of 3 windows"):
            tensorrt.open_runtime(artifact, 0)
        return
    with tensorrt.open_runtime(artifact, 0) as runtime:
        assert runtime.batch == batch


def test_no_memory_at_all(artifact: Artifact, stub: Stub) -> None:
    stub.device(free_bytes=memory_of(1) - 1)
    with pytest.raises(DeviceMemoryError, match="no memory left for a batch of 1"):
        tensorrt.open_runtime(artifact, 0)
    stub.reset()
    for function in ("cuMemAlloc_v2", "cuMemHostAlloc", "cuEventCreate", "cuStreamCreate"):
        for after in range(4):
            stub.reset()
            stub.inject(function, OUT_OF_MEMORY, after)
            with suppress(DeviceMemoryError):
                tensorrt.open_runtime(artifact, 0).close()
            assert {**stub.live(), "contexts": 0} == dict.fromkeys(stub.live(), 0)


FAILING = [
    ("cuMemcpyHtoDAsync_v2", INVALID_HANDLE),
    ("cuMemcpyDtoHAsync_v2", LAUNCH_FAILED),
    ("cuMemcpyDtoDAsync_v2", LAUNCH_FAILED),
    ("cuStreamWaitEvent", INVALID_HANDLE),
    ("cuEventRecord", INVALID_HANDLE),
    ("cuEventSynchronize", LAUNCH_FAILED),
    ("cuLaunchHostFunc", LAUNCH_FAILED),
    ("cuMemcpyHtoDAsync_v2", OUT_OF_MEMORY),
]


@pytest.mark.parametrize(("function", "code"), FAILING)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_cudas_errors_are_errors(
    artifact: Artifact, stub: Stub, function: str, code: int, after: int
) -> None:
    with tensorrt.open_runtime(artifact, 0) as runtime:
        stub.inject(function, code, after)
        with pytest.raises(DeviceError, match=r"stub 0|cannot run"):
            runtime.infer(log_mels(100))
        # The GPU of the stub recovers; no logits of the failed call must come out as another's.
        assert_right(runtime.infer(log_mels(33)), log_mels(33))


@pytest.mark.parametrize("code", [LAUNCH_FAILED, 214])  # 214: ECC_UNCORRECTABLE
def test_after_an_error_that_stays_the_first_one_is_told(
    artifact: Artifact, stub: Stub, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """Nothing can be freed any longer; closing says so, and raises nothing of its own."""

    def use() -> None:
        with tensorrt.open_runtime(artifact, 0) as runtime:
            assert_right(runtime.infer(log_mels(3)), log_mels(3))
            stub.break_down(code)
            runtime.infer(log_mels(3))

    with pytest.raises(DeviceError, match=r"stub 0: CUDA failed: .*(launch failure|stub error)"):
        use()
    assert [record.getMessage()[:17] for record in caplog.records] == ["not all is freed:"]
    stub.reset()
    gc.collect()
    stub.forget()


def test_closed_with_work_in_flight(artifact: Artifact) -> None:
    loaded().reset(11)
    runtime = tensorrt.open_runtime(artifact, 0)
    pending = runtime.submit(log_mels(40))
    runtime.close()
    runtime.close()
    with pytest.raises(DeviceError, match="lost"):
        pending.result()


def with_profile(folder: Path, *batches: int) -> Artifact:
    """An engine for these batches: at least, tuned for, at most."""
    window = [1, AUDIO.n_mels, AUDIO.frames]
    images = {name: [batch, *window] for name, batch in zip(("min", "opt", "max"), batches, strict=True)}
    return engine(folder, SPEC, CONTENT, profiles={"images": images})


@pytest.fixture
def of_four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """An engine that takes four to eight windows."""
    original = fake_tensorrt.IExecutionContext.set_input_shape
    monkeypatch.setattr(
        fake_tensorrt.IExecutionContext,
        "set_input_shape",
        lambda self, name, shape: 4 <= shape[0] <= 8 and original(self, name, shape),
    )
    return with_profile(tmp_path, 4, 8, 8)


def test_a_profile_with_a_least_batch(of_four: Artifact) -> None:
    with tensorrt.open_runtime(of_four, 0) as runtime:
        for count in (1, 3, 4, 9, 19):
            assert_right(runtime.infer(log_mels(count)), log_mels(count))
        with open_gpu(0).current():
            on_gpu = OnGpu(log_mels(9), runtime._computes)
        assert_right(runtime.infer(on_gpu), log_mels(9))
        with open_gpu(0).current():
            on_gpu.free()


def test_no_batch_is_smaller_than_the_profile_allows(of_four: Artifact, stub: Stub) -> None:
    """The network computes as many windows as its least batch has, and writes as many into its buffers."""
    stub.device(free_bytes=memory_of(7))
    with tensorrt.open_runtime(of_four, 0) as runtime:
        assert runtime.batch == 4
        assert_right(runtime.infer(log_mels(9)), log_mels(9))
    stub.device(free_bytes=memory_of(3))
    with pytest.raises(DeviceMemoryError, match="no memory left for a batch of 4"):
        tensorrt.open_runtime(of_four, 0)


def test_logits_that_were_lost_are_not_given_later(artifact: Artifact, stub: Stub) -> None:
    """Neither to who asks again, nor where another one's batch was told of the error."""
    with tensorrt.open_runtime(artifact, 0) as runtime:
        pending = runtime.submit(log_mels(3))
        stub.inject("cuEventSynchronize", LAUNCH_FAILED)
        with pytest.raises(DeviceError, match="launch failure"):
            pending.result()
        with pytest.raises(DeviceError, match="these logits were lost"):
            pending.result()
        first, second = runtime.submit(log_mels(3)), runtime.submit(log_mels(4))
        stub.inject("cuEventSynchronize", LAUNCH_FAILED)
        with pytest.raises(DeviceError, match="launch failure"):
            runtime.submit(log_mels(5))
        with pytest.raises(DeviceError, match="these logits were lost"):
            first.result()
        assert_right(second.result(), log_mels(4))
