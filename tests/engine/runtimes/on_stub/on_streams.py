"""Log-mels that another library's stream writes, and several threads: who waits, and under which lock."""

from __future__ import annotations

from typing import Any

import pytest
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError
from merkit.engine.runtimes import tensorrt
from merkit.engine.runtimes.cuda_gpu import open_gpu
from stub_cuda.arrays import OnGpu, assert_right, cuda, log_mels
from stub_cuda.stub import LAUNCH_FAILED, Stub, loaded


@pytest.mark.parametrize("announced", ["its handle", 1, 2])
@pytest.mark.parametrize("seed", range(1, 9))
def test_log_mels_of_a_stream_that_is_not_ours_are_waited_for(
    artifact: Artifact, seed: int, announced: int | str
) -> None:
    """1 and 2 are the default streams of the CUDA Array Interface."""
    loaded().reset(seed)
    with tensorrt.open_runtime(artifact, 0) as runtime:
        with open_gpu(0).current():
            theirs = cuda.Stream(1)
            stream = theirs.handle if announced == "its handle" else announced
            on_gpu = OnGpu(log_mels(3), theirs, stream=stream)
        assert_right(runtime.infer(on_gpu), log_mels(3))
        with open_gpu(0).current():
            on_gpu.free()
            del theirs


def test_log_mels_of_our_own_stream_are_not_waited_for(artifact: Artifact, stub: Stub) -> None:
    """What is queued there comes first in any case; waiting for all the GPU would cost the overlap."""
    with tensorrt.open_runtime(artifact, 0) as runtime:
        with open_gpu(0).current():
            on_gpu = OnGpu(log_mels(3), runtime._computes, stream=runtime.stream)
        stub.inject("cuCtxSynchronize", LAUNCH_FAILED)
        assert_right(runtime.infer(on_gpu), log_mels(3))
        stub.reset()
        with open_gpu(0).current():
            on_gpu.free()


class Watched:
    """CUDA that notes at each wait for the whole GPU whether the runtime's lock is held."""

    def __init__(self, runtime: Any) -> None:
        self._cuda, self._lock = runtime.gpu._cuda, runtime._lock
        self.Context = self
        self.held: list[bool] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cuda, name)

    def synchronize(self) -> None:
        self.held.append(self._lock._is_owned())
        self._cuda.Context.synchronize()


def test_the_whole_gpu_is_waited_for_under_the_lock(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may capture a graph in the middle of a batch, which such a wait breaks."""
    with tensorrt.open_runtime(artifact, 0) as runtime:
        watched = Watched(runtime)
        monkeypatch.setattr(runtime.gpu, "_cuda", watched)
        with open_gpu(0).current():
            theirs = cuda.Stream(1)
            on_gpu = OnGpu(log_mels(3), theirs, stream=theirs.handle)
        assert_right(runtime.infer(on_gpu), log_mels(3))
        assert watched.held == [True]
        with open_gpu(0).current():
            on_gpu.free()
            del theirs
    with pytest.raises(ValueError, match="closed"):
        runtime.submit(on_gpu)


def test_slots_are_emptied_under_the_lock(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``submit``, which wants the slot, and by ``result``: else two threads could empty one."""
    held: list[bool] = []

    def collect(self: Any, slot: Any) -> None:
        held.append(self._lock._is_owned())
        original(self, slot)

    original = tensorrt.TensorRtRuntime._collect
    monkeypatch.setattr(tensorrt.TensorRtRuntime, "_collect", collect)
    with tensorrt.open_runtime(artifact, 0) as runtime:
        assert_right(runtime.infer(log_mels(70)), log_mels(70))
    assert held == [True] * 5  # of three batches two slots are wanted anew, and the last two are finished


def test_nothing_is_freed_while_another_thread_queues(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is closed is closed under the lock: else a thread could be in the middle of a batch."""
    held: list[bool] = []

    def close(self: Any) -> None:
        held.append(runtime._lock._is_owned())
        original(self)

    original = tensorrt.LoadedEngine.close
    monkeypatch.setattr(tensorrt.LoadedEngine, "close", close)
    runtime: Any = tensorrt.open_runtime(artifact, 0)
    runtime.close()
    assert held == [True]


def test_an_error_of_a_stream_that_is_not_ours_is_told(artifact: Artifact, stub: Stub) -> None:
    """What was waited for is wrong then."""
    with tensorrt.open_runtime(artifact, 0) as runtime:
        with open_gpu(0).current():
            theirs = cuda.Stream(1)
            on_gpu = OnGpu(log_mels(3), theirs, stream=theirs.handle)
        stub.inject("cuCtxSynchronize", LAUNCH_FAILED)
        with pytest.raises(DeviceError, match="launch failure"):
            runtime.submit(on_gpu)
        with open_gpu(0).current():
            on_gpu.free()
            del theirs
