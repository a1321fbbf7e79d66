"""CUDA by PyCUDA, in the GPU's primary context, which DALI and TensorRT use too."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

from ..errors import DeviceError, DeviceMemoryError


class Gpu:
    """One GPU; see ``GpuInfo``.

    Its primary context is retained once, until the process ends: PyCUDA can release it only in the thread
    that retained it, and leaves it pushed there.
    """

    def __init__(self, cuda: Any, index: int) -> None:
        self._cuda = cuda
        device = cuda.Device(index)
        self.index, self.name = index, str(device.name())
        self.capability = ".".join(map(str, device.compute_capability()))
        version = cuda.get_driver_version()
        self.driver = f"{version // 1_000}.{version % 1_000 // 10}"
        self._context = device.retain_primary_context()
        # Else its destructor would treat it as a context that is not the primary one, and complain.
        atexit.register(self._context.detach)

    @contextmanager
    def current(self) -> Iterator[Any]:
        """Makes this GPU's context current in the calling thread, and gives the module ``pycuda.driver``.

        Raises:
            DeviceMemoryError: the GPU's memory does not suffice.
            DeviceError: another error of CUDA.
        """
        self._context.push()
        try:
            yield self._cuda
        except self._cuda.MemoryError as error:
            raise DeviceMemoryError(f"{self.name}: {error}") from None
        except self._cuda.Error as error:
            raise DeviceError(f"{self.name}: CUDA failed: {error}") from None
        finally:
            self._context.pop()


@lru_cache
def open_gpu(index: int) -> Gpu:
    """The GPU of that number, opened once in a process.

    Raises:
        DeviceError: PyCUDA, the driver or such a GPU is missing.
    """
    try:
        cuda = import_module("pycuda.driver")
    except ModuleNotFoundError as error:
        raise DeviceError(f'PyCUDA is not installed ({error}): pip install "merkit[gpu]"') from None
    except ImportError as error:  # PyCUDA is there, and does not find all of the driver's functions
        raise DeviceError(f"no NVIDIA driver that fits ({error}): install or update it") from None
    try:
        cuda.init()
        count = cuda.Device.count()
        if index >= count:
            raise DeviceError(f"no GPU number {index}: this machine has {count}")
        return Gpu(cuda, index)
    except cuda.Error as error:
        raise DeviceError(f"no GPU can be used: {error}") from None
