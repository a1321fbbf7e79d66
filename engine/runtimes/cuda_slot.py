"""The buffers of one batch on the GPU, and their pinned copies on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Float32


class Slot:
    """The buffers and events of one batch in flight: images in, logits out, both sides of the bus.

    Must be made, and closed, inside ``Gpu.current``.

    Raises:
        pycuda.driver.MemoryError: there is no room; nothing is left behind.
    """

    def __init__(self, cuda: Any, images: tuple[int, ...], logits: tuple[int, ...]) -> None:
        self._owned: list[Any] = []
        self.work: Any = None
        self.copied: Any = None
        self.done: Any = None
        try:
            self.images_host, self.images = self._pair(cuda, images)
            self.logits_host, self.logits = self._pair(cuda, logits)
            self.copied = cuda.Event(cuda.event_flags.DISABLE_TIMING)
            self.done = cuda.Event(cuda.event_flags.DISABLE_TIMING | cuda.event_flags.BLOCKING_SYNC)
        except BaseException:
            self.close()
            raise

    def _pair(self, cuda: Any, shape: tuple[int, ...]) -> tuple[Float32, int]:
        device = cuda.mem_alloc(4 * int(np.prod(shape)))
        self._owned.append(device)
        host = cuda.pagelocked_empty(shape, np.float32)
        self._owned.append(host.base)
        return host, int(device)

    def close(self) -> None:
        """Frees all of it; nothing of it may be in use."""
        for each in self._owned:
            each.free()
        self._owned.clear()
        self.work = self.copied = self.done = None
