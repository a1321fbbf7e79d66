"""What the TensorRT runtime takes of the GPU and the host, how, and that it gives it back whatever fails."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError, EngineLoadError
from merkit.engine.runtimes import tensorrt
from merkit.engine.runtimes.cuda_gpu import open_gpu
from stub_cuda import fake_tensorrt
from stub_cuda.stub import INVALID_HANDLE, LAUNCH_FAILED, Stub


@pytest.mark.parametrize(
    ("function", "after"),
    [
        ("cuCtxSynchronize", 0),
        *(("cuMemFree_v2", after) for after in range(6)),
        *(("cuMemFreeHost", after) for after in range(6)),
    ],
)
def test_what_can_be_freed_is_freed(artifact: Artifact, stub: Stub, function: str, after: int) -> None:
    """Whichever block cannot be: those after it are freed, and the engine is closed."""
    open_gpu(0)  # its context is kept
    before = stub.live()
    runtime = tensorrt.open_runtime(artifact, 0)
    taken = sum(stub.live().values()) - sum(before.values())
    fake_tensorrt.ENDED.clear()
    stub.inject(function, LAUNCH_FAILED, after)
    runtime.close()
    assert fake_tensorrt.ENDED == ["context", "engine", "runtime"]
    left = sum(stub.live().values()) - sum(before.values())
    assert taken > 10
    assert left == (function != "cuCtxSynchronize")
    gc.collect()
    stub.forget()


def test_flags_of_streams_events_and_pinned_memory(artifact: Artifact, stub: Stub) -> None:
    """Streams that wait for no default stream; events without times, of which one in two spares the CPU.

    And memory that the CPU reads as fast as any: it reads write-combined memory slowly.
    """
    with tensorrt.open_runtime(artifact, 0) as runtime:
        array = runtime.pinned((4, 7), np.int16)
        assert stub.flags("streams") == [1, 1]
        assert stub.flags("events") == [2, 3, 2, 3]
        assert set(stub.flags("pinned")) == {0}
        del array


def test_pinned_memory_is_zeros_and_is_freed_with_the_runtime(artifact: Artifact, stub: Stub) -> None:
    runtime = tensorrt.open_runtime(artifact, 0)
    array = runtime.pinned((4, 7), np.int16)
    assert (array.shape, array.dtype) == ((4, 7), np.int16)
    assert not array.any()
    runtime.close()
    assert stub.live()["pinned"] == 0
    del array


def test_an_error_that_is_none_of_memory_is_told_as_what_it_is(artifact: Artifact, stub: Stub) -> None:
    """Smaller batches would not help, and nobody should be told to free memory."""
    stub.inject("cuMemAlloc_v2", LAUNCH_FAILED)
    with pytest.raises(DeviceError, match="launch failure") as caught:
        tensorrt.open_runtime(artifact, 0)
    assert type(caught.value) is DeviceError


def test_a_runtime_that_cannot_be_opened_gives_back_all_at_once(artifact: Artifact, stub: Stub) -> None:
    """Not when somebody lets go of the error, which holds every variable on its way."""
    for function in ("cuStreamCreate", "cuMemAlloc_v2", "cuMemHostAlloc", "cuEventCreate"):
        for after in (0, 1):
            fake_tensorrt.ENDED.clear()
            stub.inject(function, INVALID_HANDLE, after)
            with pytest.raises(DeviceError) as caught:
                tensorrt.open_runtime(artifact, 0)
            assert {**stub.live(), "contexts": 0} == dict.fromkeys(stub.live(), 0)
            assert fake_tensorrt.ENDED == ["context", "engine", "runtime"]
            del caught


def test_an_engine_that_cannot_be_used_is_given_back_at_once(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt.ICudaEngine, "create_execution_context", lambda *_: None)
    gc.collect()
    fake_tensorrt.ENDED.clear()
    with pytest.raises(EngineLoadError) as caught:
        tensorrt.open_runtime(artifact, 0)
    assert fake_tensorrt.ENDED == ["engine", "runtime"]
    del caught
