"""Samples straight into a network on a GPU: DALI makes the log-mels there, and TensorRT takes them there."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..dali_library import dali_module
from ..errors import DeviceMemoryError
from ..runtimes import DeviceRuntime, Pending
from ..runtimes.tensorrt import open_runtime
from ..spectrogram.dali import IN_FLIGHT, DaliLogMel
from .file_windows import FileSamples, WindowOptions, samples_from_file

_RUNNING = 2  # batches that the network has, at most: one computes while another's logits are copied back
_log = logging.getLogger(__name__)


class GpuPipeline:
    """A ``FileNetwork`` that takes samples, in batches that cross files; a context manager.

    While the network has a batch, DALI makes the log-mels of the next, and the caller decodes. Every
    log-mel is made by itself and every row of logits depends on its log-mel alone, up to the rounding of
    kernels that are chosen by a batch's size.

    Args:
        runtime: closed with it.
        make: gives what makes log-mels in batches of a size.
    """

    def __init__(self, runtime: DeviceRuntime, make: Callable[[int], DaliLogMel]) -> None:
        self.name = runtime.name
        self._runtime, self._make = runtime, make
        self.batch = runtime.batch
        self._dali: DaliLogMel | None = None
        self._waiting: deque[tuple[int, Float32]] = deque()
        self._making: deque[list[tuple[int, Float32]]] = deque()
        self._running: deque[tuple[Pending, list[tuple[int, int]]]] = deque()
        self._missing: dict[int, int] = {}
        self._parts: dict[int, list[Float32]] = {}

    @property
    def work(self) -> Callable[[str, WindowOptions], FileSamples]:
        return samples_from_file

    def add(self, position: int, file: FileSamples) -> Iterator[tuple[int, Float32]]:
        """Takes a file's samples, and yields (position, logits) of the files that are done.

        Raises:
            DeviceError: the GPU fails, or has no room for one window.
        """
        self._waiting.append((position, file.samples))
        self._missing[position], self._parts[position] = len(file.samples), []
        while sum(len(samples) for _, samples in self._waiting) >= self.batch:
            yield from self._begin()

    def flush(self) -> Iterator[tuple[int, Float32]]:
        """Yields the logits of all that was added, however small the last batch is."""
        while self._waiting or self._making:
            if self._waiting:
                yield from self._begin()
            else:
                self._run()
        while self._running:
            yield from self._collect()

    def close(self) -> None:
        """Ends DALI's pipeline and the runtime."""
        self._end_dali()
        self._running.clear()
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> Iterator[tuple[int, Float32]]:
        """Gives DALI a batch, then the network the log-mels of the one before."""
        parts = self._cut()
        self._making.append(parts)
        try:
            if self._dali is None:
                self._dali = self._make(self.batch)
            self._dali.put(np.concatenate([samples for _, samples in parts]))
        except DeviceMemoryError as error:
            self._halve(error)
            return
        if len(self._making) >= IN_FLIGHT:
            self._run()
        while len(self._running) > _RUNNING:
            yield from self._collect()

    def _cut(self) -> list[tuple[int, Float32]]:
        """Takes at most ``batch`` windows from those that wait."""
        parts, room = [], self.batch
        while room and self._waiting:
            position, samples = self._waiting.popleft()
            parts.append((position, samples[:room]))
            if len(samples) > room:
                self._waiting.appendleft((position, samples[room:]))
            room -= len(parts[-1][1])
        return parts

    def _run(self) -> None:
        """The oldest log-mels from DALI to the network."""
        assert self._dali is not None
        try:
            log_mels = self._dali.take(self._runtime.stream)
        except DeviceMemoryError as error:
            self._halve(error)
            return
        owners = [(position, len(samples)) for position, samples in self._making.popleft()]
        self._running.append((self._runtime.submit(log_mels), owners))

    def _collect(self) -> Iterator[tuple[int, Float32]]:
        pending, owners = self._running.popleft()
        logits = pending.result()
        start = 0
        for position, count in owners:
            self._parts[position].append(logits[start : start + count])
            self._missing[position] -= count
            start += count
            if not self._missing[position]:
                del self._missing[position]
                yield position, np.concatenate(self._parts.pop(position))

    def _halve(self, error: DeviceMemoryError) -> None:
        """After DALI ran out of memory: smaller batches, with the windows of those that were lost."""
        if self.batch == 1:
            raise error
        self.batch //= 2
        _log.warning("%s: batches of %d windows from here on", error, self.batch)
        self._end_dali()
        while self._making:
            self._waiting.extendleft(reversed(self._making.pop()))

    def _end_dali(self) -> None:
        if self._dali is not None:
            self._dali.close()
            self._dali = None


def open_gpu_pipeline(artifact: Artifact, gpu: int = 0) -> GpuPipeline:
    """DALI and TensorRT on a GPU.

    Raises:
        DaliMissingError: DALI is not installed.
        DeviceError: driver, TensorRT or PyCUDA is missing, or the engine does not fit.
    """
    dali_module()  # first: without it the GPU need not be touched
    audio = artifact.spec.audio
    return GpuPipeline(
        open_runtime(artifact, 0, gpu), lambda batch: DaliLogMel(audio, batch, "gpu", device_id=gpu)
    )
