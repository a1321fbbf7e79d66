"""CUDA in the GPU's primary context, which DALI and TensorRT use too.

``Cuda`` is all that is asked of CUDA: PyCUDA's names for it. PyCUDA itself has them where it is installed;
elsewhere cuda_bindings.py has them, by NVIDIA's own package.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from ..errors import DeviceError, DeviceMemoryError

_MODES = {
    2: "it is in the compute mode PROHIBITED: nvidia-smi -c DEFAULT changes that",
    3: "it is in the compute mode EXCLUSIVE_PROCESS, and another process may have it: nvidia-smi lists them",
}


class Cuda(Protocol):
    """CUDA's driver, with one GPU's context current in the calling thread.

    Streams have ``handle``, ``wait_for_event`` and ``synchronize``, events ``record`` and ``synchronize``.
    What is allocated has ``free``, on the GPU also ``int``, its address; the ``base`` of a pinned array is
    what is allocated.
    """

    Error: Any
    """CUDA's errors; ``MemoryError`` is one of them."""
    MemoryError: Any
    Stream: Any
    """``Stream(flags)``"""
    Event: Any
    """``Event(flags)``, of ``event_flags.DISABLE_TIMING`` and ``BLOCKING_SYNC``."""
    event_flags: Any
    Context: Any
    """``Context.synchronize()`` waits for all that the GPU has to do in this context."""
    mem_alloc: Any
    """``(bytes)``"""
    mem_get_info: Any
    """``()`` to bytes on the GPU, free and in all."""
    pagelocked_empty: Any
    """``(shape, dtype)`` to an array in pinned memory of the host."""
    memcpy_htod_async: Any
    """``(address, array, stream)``"""
    memcpy_dtoh_async: Any
    """``(array, address, stream)``"""
    memcpy_dtod_async: Any
    """``(address, source's address, bytes, stream)``"""


class Gpu:
    """One GPU; see ``GpuInfo``.

    Its primary context is retained once, until the process ends: PyCUDA can release it only in the thread
    that retained it, and leaves it pushed there.
    """

    def __init__(self, cuda: Any, index: int) -> None:
        self._cuda, self._process = cuda, os.getpid()
        device = cuda.Device(index)
        self.name = str(device.name())
        self.capability = ".".join(map(str, device.compute_capability()))
        version = cuda.get_driver_version()
        self.driver = f"{version // 1_000}.{version % 1_000 // 10}"
        self._context = device.retain_primary_context()
        # Else its destructor would treat it as a context that is not the primary one, and complain.
        atexit.register(self._detach)

    @contextmanager
    def current(self) -> Iterator[Cuda]:
        """Makes this GPU's context current in the calling thread.

        Raises:
            DeviceMemoryError: the GPU's memory does not suffice.
            DeviceError: another error of CUDA, or this process is a fork of the one that opened the GPU.
        """
        if self._process != os.getpid():
            raise DeviceError(
                f"{self.name} was in use before this process was forked, and CUDA works in no fork: "
                'start processes by multiprocessing.get_context("spawn")'
            )
        try:
            self._context.push()
            try:
                yield self._cuda
            except BaseException:
                with suppress(self._cuda.Error):  # after some errors every call fails: the first one counts
                    self._context.pop()
                raise
            self._context.pop()
        except self._cuda.MemoryError as error:
            raise DeviceMemoryError(f"{self.name}: {error}") from None
        except self._cuda.Error as error:
            raise DeviceError(f"{self.name}: CUDA failed: {error}") from None

    def _detach(self) -> None:
        with suppress(self._cuda.Error):  # after some errors every call fails: the first one was told
            self._context.detach()


def cuda_module() -> Any:
    """PyCUDA where it is installed, else cuda_bindings.py; no GPU is opened.

    Raises:
        DeviceError: neither is installed, or PyCUDA finds no driver that fits.
    """
    try:
        if find_spec("pycuda"):
            return import_module("pycuda.driver")
        import_module("cuda.bindings.driver")
        return import_module(f"{__package__}.cuda_bindings")
    except ModuleNotFoundError as error:
        raise DeviceError(f'no package for CUDA is installed ({error}): pip install "merkit[gpu]"') from None
    except ImportError as error:  # it does not find all of the driver's functions
        raise _no_driver(error) from None


def started_cuda() -> Any:
    """``cuda_module``, with CUDA started in this process; no context is opened.

    Raises:
        DeviceError: the package for CUDA, the driver or any GPU is missing.
    """
    cuda = cuda_module()
    try:
        cuda.init()
    except ImportError as error:
        raise _no_driver(error) from None
    except cuda.Error as error:
        raise DeviceError(f"no GPU can be used: {error}") from None
    return cuda


@lru_cache
def open_gpu(index: int) -> Gpu:
    """The GPU of that number, opened once in a process.

    Raises:
        DeviceError: the package for CUDA, the driver or such a GPU is missing, or others have the GPU.
    """
    cuda = started_cuda()
    mode = None
    try:
        count = cuda.Device.count()
        if index >= count:
            raise DeviceError(f"no GPU number {index}: this machine has {count}")
        mode = cuda.Device(index).get_attribute(cuda.device_attribute.COMPUTE_MODE)
        return Gpu(cuda, index)
    except cuda.Error as error:
        why = _MODES.get(int(mode)) if mode is not None else None
        raise DeviceError(f"no GPU can be used: {error}{f'; {why}' if why else ''}") from None


def _no_driver(error: ImportError) -> DeviceError:
    return DeviceError(f"no NVIDIA driver that fits ({error}): install or update it")
