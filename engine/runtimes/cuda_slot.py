"""Buffers on the GPU: the network's own; those of a batch in flight, with pinned ones of the host."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from ..arrays import Float32
from .cuda_gpu import Cuda


class NetworkBuffers:
    """Where the network reads and writes on the GPU: one place for all batches.

    Graphs that were captured with these addresses can be replayed. It is made and closed inside
    ``Gpu.current``.

    Args:
        log_mels: the shape of a float32 array.
        outputs: shapes by name, likewise.

    Raises:
        Cuda.MemoryError: there is no memory for it; none is taken.
    """

    def __init__(self, cuda: Cuda, log_mels: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> None:
        self._cuda = cuda
        self._owned: list[Any] = []
        try:
            for shape in (log_mels, *outputs.values()):
                self._owned.append(_on_gpu(cuda, shape))
        except BaseException:
            self.close()
            raise
        self.log_mels, *addresses = map(int, self._owned)
        self.outputs = dict(zip(outputs, addresses, strict=True))

    def close(self) -> None:
        """Frees the buffers; no copy or kernel may be using them. One that cannot be freed is left."""
        _free(self._cuda, self._owned)


class Slot:
    """The buffers and events of one batch in flight: log-mels on the GPU and the host, outputs on the host.

    It is made and closed inside ``Gpu.current``. ``work`` is for its user: what the slot computes. ``copied``
    and ``done`` are events: the log-mels are on the GPU; the outputs are on the host.

    Args:
        log_mels: the shape of a float32 array.
        outputs: shapes by name, likewise.

    Raises:
        Cuda.MemoryError: there is no memory for it; none is taken.
    """

    def __init__(self, cuda: Cuda, log_mels: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> None:
        self._cuda = cuda
        self._owned: list[Any] = []
        self.work: Any = None
        self.copied: Any = None
        self.done: Any = None
        try:
            self._owned.append(_on_gpu(cuda, log_mels))
            self.log_mels = int(self._owned[0])
            self.log_mels_host = self._pinned(cuda, log_mels)
            self.outputs_host = {name: self._pinned(cuda, shape) for name, shape in outputs.items()}
            self.copied = cuda.Event(cuda.event_flags.DISABLE_TIMING)
            self.done = cuda.Event(cuda.event_flags.DISABLE_TIMING | cuda.event_flags.BLOCKING_SYNC)
        except BaseException:
            self.close()
            raise

    def _pinned(self, cuda: Cuda, shape: tuple[int, ...]) -> Float32:
        host = cuda.pagelocked_empty(shape, np.float32)
        self._owned.append(host.base)
        return host

    def close(self) -> None:
        """Frees the buffers; no copy or kernel may be using them. One that cannot be freed is left."""
        _free(self._cuda, self._owned)
        self.work = self.copied = self.done = None


def _on_gpu(cuda: Cuda, shape: tuple[int, ...]) -> Any:
    """Memory for a float32 array."""
    return cuda.mem_alloc(4 * int(np.prod(shape)))


def _free(cuda: Cuda, owned: list[Any]) -> None:
    """Frees what can be: where one buffer cannot, what comes after it is still to be freed."""
    while owned:
        with suppress(cuda.Error):  # after some errors every call fails
            owned.pop().free()
