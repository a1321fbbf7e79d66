"""Opening a GPU, and a machine that does not fit the engine."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError, DeviceMemoryError
from merkit.engine.runtimes.cuda_devices import check_gpu_count
from merkit.engine.runtimes.cuda_gpu import cuda_module, open_gpu
from merkit.engine.runtimes.tensorrt import open_runtime
from stub_cuda.stub import BUSY, INVALID_HANDLE, NO_DEVICE, OUT_OF_MEMORY, Stub


def test_a_machine_that_does_not_fit(artifact: Artifact, stub: Stub) -> None:
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
        with pytest.raises(DeviceError, match="no GPU number 3: this machine has 1"):
            open_runtime(artifact, 0, gpu=3)
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
    """Also by another thread, to which the context must be current."""

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


def test_a_gpu_that_another_process_has(stub: Stub) -> None:
    try:
        for mode, why in ((3, "EXCLUSIVE_PROCESS, and another process may"), (2, "PROHIBITED"), (0, "")):
            open_gpu.cache_clear()
            stub.reset()
            stub.compute_mode(mode)
            stub.inject("cuDevicePrimaryCtxRetain", BUSY)
            with pytest.raises(DeviceError, match=r"no GPU can be used: .*busy or unavailable") as caught:
                open_gpu(0)
            assert why in str(caught.value)
            assert ("compute mode" in str(caught.value)) == bool(mode)
    finally:
        open_gpu.cache_clear()


def test_counting_opens_no_context(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stub.device(count=2)
    before = stub.live()["contexts"]
    check_gpu_count(2)
    with pytest.raises(DeviceError, match=r"^3 GPUs were asked for, and there are 2$"):
        check_gpu_count(3)
    assert stub.live()["contexts"] == before


def test_the_process_ends_quietly(artifact: Artifact) -> None:
    """PyCUDA's own end of a primary context would complain on stderr."""
    code = "import sys\n"
    if cuda_module().__name__ != "pycuda.driver":
        code += "sys.modules['pycuda'] = None\n"
    code += "from merkit.engine.runtimes.cuda_gpu import open_gpu\n"
    code += "with open_gpu(0).current() as cuda: cuda.Stream(1)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
