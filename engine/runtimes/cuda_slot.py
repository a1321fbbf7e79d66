"""The buffers of one batch on the GPU, and their counterparts in pinned memory of the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import Float32
from .cuda_gpu import Cuda


class Slot:
    """The buffers and events of one batch in flight: log-mels and outputs, each on the GPU and on the host.

    It is made and closed inside ``Gpu.current``. ``work`` is for its user: what the slot computes. ``copied``
    and ``done`` are events: the log-mels are on the GPU; the outputs are on the host.

    Args:
        log_mels: the shape of a float32 array.
        outputs: shapes by name, likewise.

    Raises:
        Cuda.MemoryError: there is no memory for it; none is taken.
    """

    def __init__(self, cuda: Cuda, log_mels: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> None:
        self._owned: list[Any] = []
        self.work: Any = None
        self.copied: Any = None
        self.done: Any = None
        try:
            self.log_mels_host, self.log_mels = self._pair(cuda, log_mels)
            pairs = {name: self._pair(cuda, shape) for name, shape in outputs.items()}
            self.outputs_host = {name: host for name, (host, _) in pairs.items()}
            self.outputs = {name: device for name, (_, device) in pairs.items()}
            self.copied = cuda.Event(cuda.event_flags.DISABLE_TIMING)
            self.done = cuda.Event(cuda.event_flags.DISABLE_TIMING | cuda.event_flags.BLOCKING_SYNC)
        except BaseException:
            self.close()
            raise

    def _pair(self, cuda: Cuda, shape: tuple[int, ...]) -> tuple[Float32, int]:
        """A buffer in pinned memory, and the address of one on the GPU."""
        device = cuda.mem_alloc(4 * int(np.prod(shape)))
        self._owned.append(device)
        host = cuda.pagelocked_empty(shape, np.float32)
        self._owned.append(host.base)
        return host, int(device)

    def close(self) -> None:
        """Frees the buffers; no copy or kernel may be using them."""
        for buffer in self._owned:
            buffer.free()
        self._owned.clear()
        self.work = self.copied = self.done = None
