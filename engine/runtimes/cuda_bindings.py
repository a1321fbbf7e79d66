"""CUDA by NVIDIA's cuda-bindings, under PyCUDA's names: what ``cuda_gpu.Cuda`` asks for, and nothing else.

cuda-bindings comes as a wheel; PyCUDA is compiled where it is installed. It has functions only, which answer
with an error code; here are the objects that PyCUDA has, which free what they own when they are deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

_driver: Any = None
with suppress(ModuleNotFoundError):  # in a base install; ``cuda_module`` says what is missing
    _driver = import_module("cuda.bindings.driver")
_NO_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class Error(Exception):
    """An error that CUDA answers with."""


class MemoryError(Error):  # PyCUDA's name
    """The GPU's memory, or what can be pinned of the host's, does not suffice."""


class event_flags:
    BLOCKING_SYNC, DISABLE_TIMING = 1, 2


class device_attribute:
    COMPUTE_MODE, COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 20, 75, 76


def init() -> None:
    """Starts CUDA in this process.

    Raises:
        ImportError: there is no driver, or one that lacks a function; as importing PyCUDA does.
        Error: the driver finds no GPU, or does not work.
    """
    try:
        answer = _driver.cuInit(0)
    except RuntimeError as error:  # the driver's library cannot be loaded
        raise ImportError(str(error)) from None
    _checked(answer)


def get_driver_version() -> int:
    """13020 for a driver that knows CUDA 13.2."""
    return _checked(_driver.cuDriverGetVersion())


def mem_get_info() -> tuple[int, int]:
    """Bytes of the GPU's memory: free, and in all."""
    free, total = _checked(_driver.cuMemGetInfo())
    return free, total


class Device:
    """A GPU by its number."""

    def __init__(self, index: int) -> None:
        self._device = _checked(_driver.cuDeviceGet(index))

    @staticmethod
    def count() -> int:
        return _checked(_driver.cuDeviceGetCount())

    def name(self) -> str:
        return _checked(_driver.cuDeviceGetName(256, self._device)).split(b"\0")[0].decode("utf-8", "replace")

    def get_attribute(self, attribute: int) -> int:
        return _checked(_driver.cuDeviceGetAttribute(_driver.CUdevice_attribute(attribute), self._device))

    def compute_capability(self) -> tuple[int, int]:
        kinds = device_attribute
        return (
            self.get_attribute(kinds.COMPUTE_CAPABILITY_MAJOR),
            self.get_attribute(kinds.COMPUTE_CAPABILITY_MINOR),
        )

    def retain_primary_context(self) -> Context:
        return Context(self._device)


class Context:
    """A GPU's primary context, retained until ``detach``."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._context = _checked(_driver.cuDevicePrimaryCtxRetain(device))

    def push(self) -> None:
        _checked(_driver.cuCtxPushCurrent(self._context))

    @staticmethod
    def pop() -> None:
        _checked(_driver.cuCtxPopCurrent())

    @staticmethod
    def synchronize() -> None:
        _checked(_driver.cuCtxSynchronize())

    def detach(self) -> None:
        _checked(_driver.cuDevicePrimaryCtxRelease(self._device))


class _Owned:
    """What the current context gave, and gets back once: by ``free``, or when nobody refers to it."""

    def __init__(self, handle: int, give_back: Callable[[int], Any]) -> None:
        self.handle = handle
        self._give_back: Callable[[int], Any] | None = give_back
        self._context = _checked(_driver.cuCtxGetCurrent())

    def free(self) -> None:
        if self._give_back is None:
            return
        give_back, self._give_back = self._give_back, None
        _checked(_driver.cuCtxPushCurrent(self._context))  # garbage is collected in any thread
        try:
            _checked(give_back(self.handle))
        finally:
            _checked(_driver.cuCtxPopCurrent())

    def __del__(self) -> None:
        with suppress(Exception):  # nobody could be told; the GPU may have failed, or the process may end
            self.free()


class mem_alloc(_Owned):
    """Memory on the GPU; ``int`` is its address."""

    def __init__(self, size: int) -> None:
        super().__init__(int(_checked(_driver.cuMemAlloc(size))), _driver.cuMemFree)

    def __int__(self) -> int:
        return self.handle


class _Pinned(_Owned):
    """Memory of the host that the GPU copies from and to; NumPy's arrays have it as ``base``."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        kind = np.dtype(dtype)
        size = max(1, int(np.prod(shape)) * kind.itemsize)
        super().__init__(int(_checked(_driver.cuMemHostAlloc(size, 0))), _driver.cuMemFreeHost)
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": kind.str,
            "data": (self.handle, False),
        }


class Stream(_Owned):
    """A queue of copies and kernels; ``handle`` is the CUstream."""

    def __init__(self, flags: int = 0) -> None:
        super().__init__(int(_checked(_driver.cuStreamCreate(flags))), _driver.cuStreamDestroy)

    def wait_for_event(self, event: Event) -> None:
        _checked(_driver.cuStreamWaitEvent(self.handle, event.handle, 0))

    def synchronize(self) -> None:
        _checked(_driver.cuStreamSynchronize(self.handle))


class Event(_Owned):
    """A mark in a stream, with ``event_flags``."""

    def __init__(self, flags: int = 0) -> None:
        super().__init__(int(_checked(_driver.cuEventCreate(flags))), _driver.cuEventDestroy)

    def record(self, stream: Stream) -> None:
        _checked(_driver.cuEventRecord(self.handle, stream.handle))

    def synchronize(self) -> None:
        _checked(_driver.cuEventSynchronize(self.handle))


def pagelocked_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in pinned memory, which ``array.base.free()`` gives back."""
    return np.asarray(_Pinned(shape, dtype))


def memcpy_htod_async(to: int, array: np.ndarray, stream: Stream) -> None:
    _checked(_driver.cuMemcpyHtoDAsync(to, _address(array), array.nbytes, stream.handle))


def memcpy_dtoh_async(array: np.ndarray, source: int, stream: Stream) -> None:
    _checked(_driver.cuMemcpyDtoHAsync(_address(array), source, array.nbytes, stream.handle))


def memcpy_dtod_async(to: int, source: int, size: int, stream: Stream) -> None:
    _checked(_driver.cuMemcpyDtoDAsync(to, source, size, stream.handle))


def _address(array: np.ndarray) -> int:
    if not array.flags.c_contiguous:
        raise ValueError("only an array without gaps can be copied")
    return array.__array_interface__["data"][0]


def _checked(answer: tuple[Any, ...]) -> Any:
    """What a function answered, without its error code.

    Raises:
        MemoryError: there is too little memory.
        Error: another error code.
    """
    code, *values = answer
    if code:
        _, text = _driver.cuGetErrorString(code)
        said = text.decode("utf-8", "replace") if text else f"error {int(code)}"
        raise (MemoryError if code == _NO_MEMORY else Error)(said)
    return values[0] if len(values) == 1 else tuple(values)
