"""Samples in, logits out, on a GPU: DALI computes the log-mels there, and TensorRT takes them from there."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Self

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..dali_library import dali_module
from ..errors import DaliMissingError, DeviceError, DeviceMemoryError
from ..runtimes import DeviceRuntime, Pending
from ..runtimes.tensorrt import open_runtime
from ..spectrogram.dali import IN_FLIGHT, DaliLogMel
from .file_windows import FileSamples, WindowOptions, samples_from_file
from .rows_on_disk import RowsOnDisk

_RUNNING = 2  # batches that the network has, at most: one is computed while another's logits are copied back
_log = logging.getLogger(__name__)


class GpuPipeline:
    """A ``FileNetwork`` that takes samples, in batches that hold windows of several files; a context manager.

    While the network has a batch, DALI computes the log-mels of the next, and the caller decodes. Each
    window is computed by itself: its logits do not depend on the others in its batch, up to the rounding
    of kernels that are chosen by a batch's size.

    Args:
        runtime: closed with it.
        open_dali: gives a ``DaliLogMel`` for batches of that size; called again after a lack of memory.
    """

    def __init__(self, runtime: DeviceRuntime, open_dali: Callable[[int], DaliLogMel]) -> None:
        self.name = runtime.name
        self._runtime, self._open_dali = runtime, open_dali
        self.batch = runtime.batch
        self._dali: DaliLogMel | None = None
        # What has not reached DALI yet, and the batches that DALI has: keys of files with some windows.
        self._waiting: deque[tuple[Hashable, Float32 | RowsOnDisk]] = deque()
        self._in_dali: deque[list[tuple[Hashable, Float32 | RowsOnDisk]]] = deque()
        # The batches that the network has: keys of files with a number of windows.
        self._in_network: deque[tuple[Pending, list[tuple[Hashable, int]]]] = deque()
        # Of each file: the windows whose logits are not there, and the logits that are.
        self._missing: dict[Hashable, int] = {}
        self._logits: dict[Hashable, list[Float32]] = {}

    @property
    def work(self) -> Callable[[str, WindowOptions], FileSamples]:
        return samples_from_file

    def add(self, key: Hashable, file: FileSamples) -> Iterator[tuple[Any, Float32]]:
        """Takes a file's samples; yields (key, logits ``[windows, labels]``) of the files that are done.

        Raises:
            DeviceError: the GPU fails, or has no memory for one window.
        """
        self._waiting.append((key, file.samples))
        self._missing[key], self._logits[key] = len(file.samples), []
        while sum(len(samples) for _, samples in self._waiting) >= self.batch:
            yield from self._begin()

    def flush(self) -> Iterator[tuple[Any, Float32]]:
        """Yields (key, logits) of all files that were added, however small the last batch is.

        Raises:
            DeviceError: the GPU fails, or has no memory for one window.
        """
        while self._waiting or self._in_dali:
            if self._waiting:
                yield from self._begin()
            else:
                self._pass_on()
        while self._in_network:
            yield from self._collect()

    def start_dali(self, samples: Float32) -> None:
        """Opens DALI and computes the log-mels of ``samples`` (``[1, samples]``), which nobody gets.

        DALI may fail only when it computes: it does so here, where there is no song to lose yet.

        Raises:
            DaliMissingError: DALI cannot start.
            DeviceMemoryError: the GPU has no memory for one window.
        """
        while self._dali is None:
            try:
                self._dali = self._open_dali(self.batch)
                self._dali.put(samples)
                self._dali.take(self._runtime.stream)
            except DeviceMemoryError as error:
                self._halve(error)
            except DeviceError as error:
                self._end_dali()
                raise DaliMissingError(str(error)) from None

    def close(self) -> None:
        """Ends DALI's pipeline and the runtime; what they have is lost."""
        self._end_dali()
        self._in_network.clear()
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> Iterator[tuple[Any, Float32]]:
        """Gives DALI a batch, and the network the log-mels of the batch before."""
        parts = self._cut()
        self._in_dali.append(parts)
        try:
            if self._dali is None:
                self._dali = self._open_dali(self.batch)
            self._dali.put(np.concatenate([np.asarray(samples) for _, samples in parts]))
        except DeviceMemoryError as error:
            self._halve(error)
            return
        if len(self._in_dali) >= IN_FLIGHT:
            self._pass_on()
        while len(self._in_network) > _RUNNING:
            yield from self._collect()

    def _cut(self) -> list[tuple[Hashable, Float32 | RowsOnDisk]]:
        """Takes at most ``batch`` windows from those that wait."""
        parts, room = [], self.batch
        while room and self._waiting:
            key, samples = self._waiting.popleft()
            parts.append((key, samples[:room]))
            if len(samples) > room:
                self._waiting.appendleft((key, samples[room:]))
            room -= len(parts[-1][1])
        return parts

    def _pass_on(self) -> None:
        """Gives the network DALI's oldest batch."""
        assert self._dali is not None
        try:
            log_mels = self._dali.take(self._runtime.stream)
        except DeviceMemoryError as error:
            self._halve(error)
            return
        owners = [(key, len(samples)) for key, samples in self._in_dali.popleft()]
        self._in_network.append((self._runtime.submit(log_mels), owners))

    def _collect(self) -> Iterator[tuple[Any, Float32]]:
        """Waits for the network's oldest batch; yields the files that are done with it."""
        pending, owners = self._in_network.popleft()
        logits = pending.result()
        start = 0
        for key, count in owners:
            self._logits[key].append(logits[start : start + count])
            self._missing[key] -= count
            start += count
            if not self._missing[key]:
                del self._missing[key]
                yield key, np.concatenate(self._logits.pop(key))

    def _halve(self, error: DeviceMemoryError) -> None:
        """For want of memory: smaller batches. The windows that DALI had wait again, in their order."""
        if self.batch == 1:
            raise error
        self.batch //= 2
        _log.warning("%s: batches of %d windows from here on", error, self.batch)
        self._end_dali()
        while self._in_dali:
            self._waiting.extendleft(reversed(self._in_dali.pop()))

    def _end_dali(self) -> None:
        if self._dali is not None:
            self._dali.close()
            self._dali = None


def open_gpu_pipeline(artifact: Artifact, gpu: int = 0) -> GpuPipeline:
    """Opens DALI and TensorRT on the GPU of that number.

    Raises:
        DaliMissingError: DALI is not installed, or cannot start.
        DeviceError: driver, TensorRT or PyCUDA is missing, or the engine does not fit.
    """
    dali_module()  # first: where it is missing, the GPU is left alone
    audio = artifact.spec.audio
    runtime = open_runtime(artifact, 0, gpu)
    pipeline = GpuPipeline(runtime, lambda batch: DaliLogMel(audio, batch, "gpu", device_id=gpu))
    try:
        pipeline.start_dali(np.zeros((1, audio.window_samples), np.float32))
    except BaseException:
        pipeline.close()
        raise
    return pipeline
