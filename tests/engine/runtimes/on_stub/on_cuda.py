"""Opening a GPU, and a machine that does not fit the engine."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from merkit.engine.artifact import Artifact
from merkit.engine.errors import DeviceError
from merkit.engine.runtimes.cuda_gpu import open_gpu
from merkit.engine.runtimes.tensorrt import open_runtime
from stub_cuda.stub import NO_DEVICE, Stub


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


def test_the_process_ends_quietly(artifact: Artifact) -> None:
    """PyCUDA's own end of a primary context would complain on stderr."""
    code = "from merkit.engine.runtimes.cuda_gpu import open_gpu\n"
    code += "with open_gpu(0).current() as cuda: cuda.Stream(1)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
