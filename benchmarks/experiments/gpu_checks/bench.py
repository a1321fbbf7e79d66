"""The machine that is checked: its driver by ctypes, and the real runtime with a stand-in for TensorRT."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....engine.arrays import Float32
from ....engine.artifact import Artifact, open_artifact
from ....engine.errors import DeviceError
from ....engine.runtimes import tensorrt
from ....engine.runtimes.cuda_gpu import open_gpu
from ....engine.runtimes.tensorrt import TensorRtRuntime
from ....engine.spec import AudioSpec

if TYPE_CHECKING:  # torch is imported where a check runs
    from .onnx_in_torch import Precision

LAUNCH_FAILED = 719
# A kernel that writes where nothing is: after it, every call in its process fails.
_FAULT = b"""
.version 7.0
.target sm_70
.address_size 64
.visible .entry fault()
{
    .reg .b64 %a;
    .reg .b32 %v;
    mov.u64 %a, 16;
    mov.u32 %v, 1;
    st.global.u32 [%a], %v;
    ret;
}
\0"""


class CheckFailed(Exception):
    """What was checked is not so; the message says what was found."""


class CheckSkipped(Exception):
    """It cannot be checked on this machine; the message says why."""


def require(condition: bool, otherwise: str) -> None:
    """Raises CheckFailed with that message unless the condition holds."""
    if not condition:
        raise CheckFailed(otherwise)


@dataclasses.dataclass(frozen=True)
class Bench:
    """What a check is given.

    Args:
        models: .onnx files by name; the first one is that of the checks which need one network.
        seconds: about how long to measure.
        folder: for files.
        songs: real music, if somebody gave any.
    """

    models: Mapping[str, Path]
    seconds: float
    folder: Path
    songs: Path | None = None

    @functools.cached_property
    def first(self) -> Artifact:
        return open_artifact(str(next(iter(self.models.values()))))

    def open(
        self,
        artifact: Artifact | None = None,
        precision: Precision = "fp32",
        graphs: bool = False,
        batch: int = 64,
    ) -> TensorRtRuntime:
        """The real runtime on the real driver, with the ONNX file's network in torch as its engine."""
        return tensorrt.open_runtime(self.engine(artifact, precision, graphs, batch), 0)

    def engine(
        self,
        artifact: Artifact | None = None,
        precision: Precision = "fp32",
        graphs: bool = False,
        batch: int = 64,
    ) -> Artifact:
        """An ONNX file's artifact as that of an engine; from here on ``tensorrt`` is the stand-in."""
        from . import stand_in

        artifact = artifact or self.first
        gpu, audio = open_gpu(0), artifact.spec.audio
        window = (1, audio.n_mels, audio.frames)
        facts = {
            "builder": "tensorrt",
            "builder_version": stand_in.VERSION,
            "compute_capability": {"capabilities": [gpu.capability]},
            "options": {},
            "precision": precision,
            "profiles": {"images": {"min": [1, *window], "opt": [batch, *window], "max": [batch, *window]}},
        }
        sys.modules["tensorrt"] = _stand_in(window, precision, graphs)
        return dataclasses.replace(artifact, facts=facts)


@functools.lru_cache
def _stand_in(window: tuple[int, ...], precision: Precision, graphs: bool) -> Any:
    from .stand_in import stand_in

    return stand_in(window, precision, graphs, stub_library())


def log_mels(spec: AudioSpec, count: int, seed: int = 0) -> Float32:
    """Log-mels that no network takes for one another: each of another level, spectrum and rhythm."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 1, (count, 1, 1, 1))
    spectrum = rng.normal(0, 1, (count, 1, spec.n_mels, 1)).cumsum(2) / np.sqrt(spec.n_mels)
    rhythm = rng.normal(0, 1, (count, 1, 1, spec.frames))
    noise = rng.normal(0, 0.5, (count, 1, spec.n_mels, spec.frames))
    decibels = -30 + 12 * (level + spectrum + rhythm + noise)
    mean, std = (np.asarray(values)[:, None] for values in (spec.mean, spec.std))
    return ((decibels - mean) / std).astype(np.float32)


class Reference:
    """ONNX Runtime's logits on the CPU, and what may be called equal to them.

    Raises:
        CheckFailed: the network answers to all of ``log_mels`` alike, so that it would show no mistake.
    """

    def __init__(self, artifact: Artifact, count: int, tolerance: float = 2e-3) -> None:
        from ....engine.runtimes.onnxruntime import OnnxRuntime

        self.log_mels = log_mels(artifact.spec.audio, count)
        with OnnxRuntime(artifact, 0) as runtime:
            parts = np.array_split(self.log_mels, max(1, count // 16))
            self.logits = np.concatenate([runtime.infer(part) for part in parts])
        self.largest = float(np.abs(self.logits).max()) or 1.0
        self.tolerance = tolerance
        between = np.abs(self.logits[1:] - self.logits[:-1]).max(axis=1)
        self.apart = float(np.median(between)) / self.largest
        require(self.apart > 4 * tolerance, f"all windows have nearly the same logits ({self.apart:.2g})")

    def error(self, logits: Float32, start: int = 0) -> float:
        """The largest difference, relative to the largest logit; infinite where one is not finite."""
        difference = float(np.abs(logits - self.logits[start : start + len(logits)]).max()) / self.largest
        return difference if np.isfinite(difference) else float("inf")

    def check(self, logits: Float32, what: str, start: int = 0) -> None:
        """Raises CheckFailed where they are others' logits."""
        error = self.error(logits, start)
        require(error <= self.tolerance, f"wrong logits, off by {error:.2g} of the largest: {what}")


@functools.lru_cache
def _library() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise DeviceError("no NVIDIA driver (libcuda.so.1): install it") from None


def require_gpu() -> None:
    """Raises DeviceError unless there is a driver with a GPU, and torch; takes nothing of the GPU."""
    if find_spec("torch") is None:
        raise DeviceError("PyTorch is not installed, which computes the networks here")
    library, count = _library(), ctypes.c_int()
    code = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        raise DeviceError(f"the driver finds no GPU (CUDA error {code})")


def stub_library() -> Any:
    """The driver's library if it is the tests' stub, whose GPU is the CPU; None for a real one."""
    library = _library()
    return library if hasattr(library, "stub_reset") else None


def require_real_gpu() -> None:
    """Raises CheckSkipped on a stub driver, where neither TensorRT nor DALI runs."""
    if stub_library() is not None:
        raise CheckSkipped("a stub driver runs neither TensorRT nor DALI")


class Driver:
    """The few calls of CUDA's driver that the checks make themselves; it frees what it took."""

    def __init__(self) -> None:
        self._library = _library()
        self._free: list[tuple[str, Any]] = []

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise DeviceError(f"{name} failed: CUDA error {code}")

    def memory(self, size: int) -> int:
        """The address of so many bytes on the GPU."""
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self._free.append(("cuMemFree_v2", address))
        return int(address.value)

    def pinned(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A copy in page-locked memory."""
        address = ctypes.c_void_p()
        self.call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(array.nbytes), 0)
        self._free.append(("cuMemFreeHost", address))
        block = (ctypes.c_char * array.nbytes).from_address(address.value or 0)
        copy = np.frombuffer(memoryview(block), array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    def stream(self) -> int:
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), 1)
        self._free.append(("cuStreamDestroy_v2", stream))
        return stream.value or 0

    def copy(self, to: int, array: np.ndarray[Any, Any], stream: int) -> None:
        """Queues a copy to the GPU; the array is in page-locked memory, or the call waits."""
        source, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self.call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(to), source, size, ctypes.c_void_p(stream))

    def synchronize(self) -> None:
        self.call("cuCtxSynchronize")

    def free_bytes(self) -> int:
        """Memory of the GPU that nobody has."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return int(free.value)

    def delay(self, stream: int, microseconds: float) -> None:
        """Queues a pause; the stub driver runs its streams as late as it likes, and needs none."""
        if stub_library() is None:
            import torch

            with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
                torch.cuda._sleep(int(microseconds * 1_500))  # cycles

    def fault(self, stream: int) -> None:
        """Queues what no process recovers from."""
        stub = stub_library()
        if stub is not None:
            stub.stub_inject(b"cuEventSynchronize", LAUNCH_FAILED, 0)
            return
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), _FAULT)
        self.call("cuModuleGetFunction", ctypes.byref(function), module, b"fault")
        self.call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, ctypes.c_void_p(stream), None, None)

    def free(self) -> None:
        """Waits for the GPU and frees all that was taken by this object."""
        self.synchronize()
        for name, value in reversed(self._free):
            self.call(name, value)
        self._free.clear()


@contextmanager
def driver() -> Iterator[Driver]:
    """The first GPU's driver, its context current in this thread."""
    with open_gpu(0).current():
        calls = Driver()
        yield calls
        calls.free()


class OnGpu:
    """Log-mels in the GPU's memory, as another library gives them.

    Args:
        stream: what brings them there.
        announced: the stream that the consumer must wait for; None if it need not.
        offset: bytes, to lie crooked.
    """

    def __init__(
        self, calls: Driver, array: Float32, stream: int, announced: int | None = None, offset: int = 0
    ) -> None:
        address = calls.memory(array.nbytes + offset) + offset
        calls.copy(address, calls.pinned(array), stream)
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": "<f4",
            "data": (address, False),
            "strides": None,
            "stream": announced,
        }
