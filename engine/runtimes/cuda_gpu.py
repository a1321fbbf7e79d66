"""CUDA through PyCUDA, on the GPU's primary context: the one that DALI and TensorRT use too."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

from ..errors import DeviceError, DeviceMemoryError


class Gpu:
    """One GPU; ``capability`` such as "8.9", ``driver`` the newest CUDA that its driver knows, as "13.0".

    Its primary context is retained once and for the life of the process: PyCUDA releases it only from
    the thread that retained it, and leaves it pushed there.
    """

    def __init__(self, cuda: Any, index: int) -> None:
        self._cuda = cuda
        device = cuda.Device(index)
        self.index, self.name = index, str(device.name())
        self.capability = ".".join(map(str, device.compute_capability()))
        version = cuda.get_driver_version()
        self.driver = f"{version // 1_000}.{version % 1_000 // 10}"
        self._context = device.retain_primary_context()
        atexit.register(self._context.detach)  # its destructor would detach it as if it were no primary one

    @contextmanager
    def current(self) -> Iterator[Any]:
        """Makes the GPU the calling thread's, and gives ``pycuda.driver``.

        Raises:
            DeviceMemoryError: the GPU's memory does not suffice.
            DeviceError: anything else that CUDA refuses.
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
    """A GPU by its number, opened once a process.

    Raises:
        DeviceError: PyCUDA, the driver or such a GPU is not there.
    """
    try:
        cuda = import_module("pycuda.driver")
    except ImportError as error:
        if "libcuda" in str(error) or "undefined symbol: cu" in str(error):
            raise DeviceError(f"no NVIDIA driver that fits ({error}): install or update it") from None
        raise DeviceError(f'PyCUDA is not installed ({error}): pip install "merkit[gpu]"') from None
    try:
        cuda.init()
        count = cuda.Device.count()
        if index >= count:
            raise DeviceError(f"no GPU number {index}: this machine has {count}")
        return Gpu(cuda, index)
    except cuda.Error as error:
        raise DeviceError(f"no GPU can be used: {error}") from None
