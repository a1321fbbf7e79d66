"""Opening a GPU, and a machine that does not fit the engine."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_files import engine
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError, DeviceMemoryError
from merkit.engine.runtimes.cuda_devices import check_gpu_count
from merkit.engine.runtimes.cuda_gpu import cuda_module, open_gpu
from merkit.engine.runtimes.tensorrt import open_runtime
from merkit.export.builders import gpu_capability
from stub_cuda import fake_tensorrt
from stub_cuda.arrays import CONTENT, SPEC, assert_right, log_mels
from stub_cuda.stub import BUSY, INVALID_HANDLE, NO_DEVICE, OUT_OF_MEMORY, Stub


@pytest.fixture
def reopened() -> Iterator[None]:
    """Each GPU is opened anew, and not kept for the next test."""
    open_gpu.cache_clear()
    yield
    open_gpu.cache_clear()


@pytest.mark.usefixtures("reopened")
def test_each_gpu_is_the_one_of_its_number(stub: Stub) -> None:
    stub.device(count=3)
    gpus = [open_gpu(index) for index in range(3)]
    assert [gpu.name for gpu in gpus] == ["stub 0", "stub 1", "stub 2"]
    assert [gpu.capability for gpu in gpus] == ["8.9", "9.0", "9.1"]
    for index, gpu in enumerate(gpus):
        with gpu.current():
            assert stub.current == index


@pytest.mark.usefixtures("reopened")
def test_an_engine_is_loaded_and_computes_on_the_gpu_that_was_asked_for(
    tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int | None] = []
    for kind, name in (
        (fake_tensorrt.Runtime, "deserialize_cuda_engine"),
        (fake_tensorrt.IExecutionContext, "execute_async_v3"),
    ):
        original = getattr(kind, name)
        monkeypatch.setattr(
            kind, name, lambda *given, original=original: used.append(stub.current) or original(*given)
        )
    stub.device(count=2)
    of_second = {"target": "this GPU", "capabilities": ["9.0"]}
    with open_runtime(engine(tmp_path, SPEC, CONTENT, compute_capability=of_second), 0, gpu=1) as runtime:
        assert_right(runtime.infer(log_mels(3)), log_mels(3))
    assert used == [1, 1]


def test_a_machine_that_does_not_fit(artifact: Artifact, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**device: Any) -> None:
        open_gpu.cache_clear()
        stub.device(**device)
        with pytest.raises(DeviceError) as caught:
            open_runtime(artifact, 0)
        messages.append(str(caught.value))

    messages: list[str] = []
    try:
        refuse(capability=86)
        refuse(driver=12_040)
        refuse(count=0)
        stub.reset()
        open_gpu.cache_clear()
        stub.inject("cuInit", NO_DEVICE)
        with pytest.raises(DeviceError, match="no GPU can be used"):
            open_runtime(artifact, 0)
        for number in (1, 3):
            with pytest.raises(DeviceError, match=f"no GPU number {number}: this machine has 1"):
                open_runtime(artifact, 0, gpu=number)
        monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.module("11.3.0.1"))
        with pytest.raises(DeviceError, match=r"was built by .* 11\.4\.0\.106, and 11\.3\.0\.1 is inst"):
            open_runtime(artifact, 0)
    finally:
        open_gpu.cache_clear()
    assert (
        "was compiled for 8.9, and stub 0 has 8.6; rebuild it: mer-export -m tiny.onnx --fp16" in messages[0]
    )
    assert "knows CUDA 12.4, and tensorrt needs CUDA 13: update the NVIDIA driver" in messages[1]
    assert "no GPU" in messages[2]


def test_the_package_is_the_one_that_was_asked_for() -> None:
    """Else the tests would run twice on PyCUDA."""
    expected = {"pycuda": "pycuda.driver", "cuda-bindings": "merkit.engine.runtimes.cuda_bindings"}
    assert cuda_module().__name__ == expected[os.environ["STUB_CUDA"]]


def test_what_was_left_is_freed_and_what_was_freed_is_not_freed_again(stub: Stub) -> None:
    """Also by another thread, and where no context is current: garbage is collected anywhere."""

    def clear() -> None:
        with gpu.current():
            left.clear()

    gpu = open_gpu(0)
    before = stub.live()
    with gpu.current() as cuda:
        left = [cuda.mem_alloc(64), cuda.pagelocked_empty((2, 3), np.float32), cuda.Stream(1), cuda.Event(2)]
        taken = {name: count - before[name] for name, count in stub.live().items()}
        assert taken == {"memory": 1, "pinned": 1, "streams": 1, "events": 1, "contexts": 0}
        freed = cuda.mem_alloc(64)
        freed.free()
        del freed
    thread = threading.Thread(target=clear)
    thread.start()
    thread.join()
    gc.collect()
    assert stub.live() == before
    with gpu.current() as cuda:
        left = [cuda.mem_alloc(64), cuda.pagelocked_empty((2, 3), np.float32), cuda.Stream(1), cuda.Event(2)]
    left.clear()
    gc.collect()
    assert stub.live() == before


def test_cudas_errors(stub: Stub) -> None:
    gpu = open_gpu(0)
    for code, kind, text in (
        (OUT_OF_MEMORY, DeviceMemoryError, "stub 0: .*out of memory"),
        (INVALID_HANDLE, DeviceError, "stub 0: CUDA failed: .*invalid resource handle"),
    ):
        stub.inject("cuMemAlloc_v2", code)
        stub.inject("cuMemAlloc_v2", code)  # PyCUDA collects garbage and tries again
        with pytest.raises(kind, match=text) as caught, gpu.current() as cuda:
            cuda.mem_alloc(64)
        assert type(caught.value) is kind
        stub.reset()
    with gpu.current() as cuda:
        assert cuda.mem_get_info() == (8 << 30, 8 << 30)
        block = cuda.mem_alloc(1 << 20)
        assert cuda.mem_get_info() == ((8 << 30) - (1 << 20), 8 << 30)
        block.free()


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_pinned_memory_has_the_bytes_of_its_array(stub: Stub, kind: Any) -> None:
    with open_gpu(0).current() as cuda:
        array = cuda.pagelocked_empty((3, 5), kind)
        assert stub.sizes("pinned")[-1] == array.nbytes == 15 * np.dtype(kind).itemsize
        array.base.free()


def test_an_array_with_gaps_is_not_copied() -> None:
    """Its bytes do not lie together: a copy would bring others."""
    with open_gpu(0).current() as cuda:
        array, block = cuda.pagelocked_empty((2, 6), np.float32), cuda.mem_alloc(64)
        stream = cuda.Stream(1)
        with pytest.raises(ValueError, match=r"contiguous|without gaps"):
            cuda.memcpy_htod_async(int(block), array[:, ::2], stream)
        with pytest.raises(ValueError, match=r"contiguous|without gaps"):
            cuda.memcpy_dtoh_async(array[:, ::2], int(block), stream)
        block.free()
        array.base.free()
        del stream


@pytest.mark.usefixtures("reopened")
@pytest.mark.parametrize("gpu", [0, 1])
def test_a_gpu_that_another_process_has(stub: Stub, gpu: int) -> None:
    """It is this GPU's mode that may be why, and no other's."""
    for mode, why in ((3, "EXCLUSIVE_PROCESS, and another process may"), (2, "PROHIBITED"), (0, "")):
        stub.reset()
        stub.device(count=2)
        stub.compute_mode(mode, gpu)
        stub.compute_mode(2 if mode == 0 else 0, 1 - gpu)
        stub.inject("cuDevicePrimaryCtxRetain", BUSY)
        with pytest.raises(DeviceError, match=r"no GPU can be used: .*busy or unavailable") as caught:
            open_gpu(gpu)
        assert why in str(caught.value)
        assert ("compute mode" in str(caught.value)) == bool(mode)


def test_mer_exports_own_look_at_the_gpu() -> None:
    assert gpu_capability() == "8.9"


def test_counting_opens_no_context(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stub.device(count=2)
    before = stub.live()["contexts"]
    check_gpu_count(2)
    with pytest.raises(DeviceError, match=r"^3 GPUs were asked for, and there are 2$"):
        check_gpu_count(3)
    assert stub.live()["contexts"] == before


@pytest.mark.parametrize("last", ["", "\nfrom stub_cuda.stub import loaded; loaded().break_down(719)"])
def test_the_process_ends_quietly(last: str) -> None:
    """PyCUDA's own end of a primary context would complain on stderr; so would ours on a GPU that failed."""
    code = "import sys\n"
    if cuda_module().__name__ != "pycuda.driver":
        code += "sys.modules['pycuda'] = None\n"
    code += "from merkit.engine.runtimes.cuda_gpu import open_gpu\n"
    code += "with open_gpu(0).current() as cuda: cuda.Stream(1)\n"
    code += last
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    if last and cuda_module().__name__ == "pycuda.driver":  # its destructors warn of it, each in two lines
        assert "Traceback" not in done.stderr
    else:
        assert done.stderr == ""


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_stream_and_an_event_are_waited_for(stub: Stub, seed: int) -> None:
    """Whatever the order in which streams come to their work."""
    stub.reset(seed)
    with open_gpu(0).current() as cuda:
        block, stream, event = cuda.mem_alloc(64), cuda.Stream(1), cuda.Event(2)
        source, target = (cuda.pagelocked_empty((16,), np.float32) for _ in range(2))
        for number, wait in enumerate((stream.synchronize, event.synchronize), 1):
            source[:] = number
            cuda.memcpy_htod_async(int(block), source, stream)
            cuda.memcpy_dtoh_async(target, int(block), stream)
            event.record(stream)
            wait()
            assert set(target) == {number}
        for owned in (block, source.base, target.base):
            owned.free()
