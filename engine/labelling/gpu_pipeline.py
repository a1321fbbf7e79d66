"""Samples in, logits out, on a GPU: DALI computes the log-mels there, and TensorRT takes them from there."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..audio.dali_library import dali_module
from ..closing import ClosedByWith
from ..errors import DaliMissingError, DeviceError, DeviceMemoryError, UsageError
from ..runtimes import DeviceRuntime, Pending
from ..runtimes.cuda_devices import show_only
from ..runtimes.tensorrt import open_runtime
from ..spec import AudioSpec
from ..spectrogram.dali import IN_FLIGHT, DaliLogMel
from .file_windows import FileSamples, WindowOptions, samples_from_file
from .gpu_buffer import GpuBuffer

_RUNNING = 2  # batches that the network has, at most: one is computed while another's logits are copied back
_log = logging.getLogger(__name__)


_Part = tuple[GpuBuffer, int, int]  # windows of a buffer that are computed at once, from .. to


class GpuPipeline(ClosedByWith):
    """A ``FileNetwork`` that takes samples, in batches that hold windows of several files; a context manager.

    While the network has a batch, DALI computes the log-mels of the next, and the caller decodes. Each
    window is computed by itself: its logits do not depend on the others in its batch, up to the rounding
    of kernels that are chosen by a batch's size. Windows are copied once, into memory that the GPU reads.
    All batches have one size: the last is filled up, for kernels and CUDA graphs are made for a size.

    Args:
        runtime: closed with it.
        spec: of the samples.
        open_dali: gives a packed ``DaliLogMel`` for batches of that size; called again for want of memory.
        batch: windows at once; 0 is as many as the runtime takes.
        open_anew: opens another one in the place of this, for ``mended``.

    Raises:
        DeviceError: no memory for the batches.
    """

    def __init__(
        self,
        runtime: DeviceRuntime,
        spec: AudioSpec,
        open_dali: Callable[[int], DaliLogMel],
        batch: int = 0,
        open_anew: Callable[[], GpuPipeline] | None = None,
    ) -> None:
        self.name = runtime.name
        self._runtime, self._open_dali, self._open_anew = runtime, open_dali, open_anew
        self.batch = min(batch or runtime.batch, runtime.batch)
        self._dali: DaliLogMel | None = None
        most = self.batch
        self._free = [
            GpuBuffer(
                runtime.pinned((most, spec.window_samples), np.int16), runtime.pinned((most,), np.float32)
            )
            for _ in range(IN_FLIGHT + _RUNNING)  # one is filled; so many less one are on their way
        ]
        self._filling: GpuBuffer | None = None
        # Windows of full buffers: those that wait for DALI, that DALI has, and that the network has.
        self._waiting: deque[_Part] = deque()
        self._in_dali: deque[_Part] = deque()
        self._in_network: deque[tuple[Pending, _Part]] = deque()
        # Of each file: the windows whose logits are not there, and the logits that are.
        self._missing: dict[Hashable, int] = {}
        self._logits: dict[Hashable, list[Float32]] = {}
        self._is_broken = False

    @property
    def work(self) -> Callable[[str, WindowOptions], FileSamples]:
        return samples_from_file

    def add(self, key: Hashable, file: FileSamples) -> Iterator[tuple[Any, Float32]]:
        """Takes a file's samples; yields (key, logits ``[windows, labels]``) of the files that are done.

        Raises:
            DeviceError: the GPU fails, or has no memory for one window.
        """
        with self._to_its_end():
            self._missing[key], self._logits[key] = len(file.samples), []
            start = 0
            while start < len(file.samples):
                if self._filling is None:
                    self._filling = self._free.pop()
                start += self._filling.fill(key, file, start)
                if self._filling.filled == len(self._filling.samples):
                    yield from self._begin()

    def flush(self) -> Iterator[tuple[Any, Float32]]:
        """Yields (key, logits) of all files that were added, however small the last batch is.

        Raises:
            DeviceError: the GPU fails, or has no memory for one window.
        """
        with self._to_its_end():
            if self._filling is not None:
                yield from self._begin()
            while self._waiting or self._in_dali or self._in_network:
                yield from self._advance()

    def mended(self) -> GpuPipeline:
        """See ``FileNetwork``. All is opened anew: nobody knows what the GPU still has.

        Raises:
            DaliMissingError, DeviceError: as ``open_gpu_pipeline``.
        """
        if not self._is_broken or self._open_anew is None:
            return self
        self.close()
        return self._open_anew()

    def start_dali(self) -> None:
        """Opens DALI and computes log-mels of silence, which nobody gets.

        DALI may fail only when it computes: it does so here, where there is no song to lose yet.

        Raises:
            DaliMissingError: DALI cannot start.
            DeviceMemoryError: the GPU has no memory for one window.
        """
        while self._dali is None:
            try:
                self._dali = self._open_dali(self.batch)
                silence = self._free[0]
                self._dali.put(silence.samples[: self.batch], silence.scales[: self.batch])
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
        self._in_dali.clear()
        self._waiting.clear()
        self._free.clear()
        self._filling = None
        self._runtime.close()  # with the buffers' memory

    @contextmanager
    def _to_its_end(self) -> Iterator[None]:
        """Runs a block after which, if an exception leaves it, nobody knows whose windows the GPU has."""
        if self._is_broken:
            raise DeviceError(
                "another call ended in the middle while the GPU had songs of this one: label them again"
            )
        self._is_broken = True
        yield
        self._is_broken = False

    def _begin(self) -> Iterator[tuple[Any, Float32]]:
        """Has the buffer that is being filled computed."""
        buffer, self._filling = self._filling, None
        assert buffer is not None
        self._wait((buffer, 0, buffer.filled))
        while self._waiting or len(self._in_dali) >= IN_FLIGHT:
            yield from self._advance()

    def _wait(self, part: _Part) -> None:
        """Appends a part's windows to those that wait, in batches."""
        buffer, first, end = part
        self._waiting.extend((buffer, at, min(at + self.batch, end)) for at in range(first, end, self.batch))

    def _advance(self) -> Iterator[tuple[Any, Float32]]:
        """One step: DALI gets a batch, or the network gets DALI's, or the network's oldest is waited for."""
        if self._waiting and len(self._in_dali) < IN_FLIGHT:
            self._put()
        elif self._in_dali and len(self._in_network) < _RUNNING:
            self._pass_on()
        else:
            yield from self._collect()

    def _put(self) -> None:
        """Gives DALI a batch: all rows to its end or the buffer's, also those without a window."""
        buffer, first, _ = self._waiting[0]
        rows = slice(first, first + self.batch)
        try:
            if self._dali is None:
                self._dali = self._open_dali(self.batch)
            self._dali.put(buffer.samples[rows], buffer.scales[rows])
        except DeviceMemoryError as error:
            self._halve(error)
            return
        self._in_dali.append(self._waiting.popleft())

    def _pass_on(self) -> None:
        """Gives the network DALI's oldest batch."""
        assert self._dali is not None
        try:
            log_mels = self._dali.take(self._runtime.stream)
        except DeviceMemoryError as error:
            self._halve(error)
            return
        self._in_network.append((self._runtime.submit(log_mels), self._in_dali.popleft()))

    def _collect(self) -> Iterator[tuple[Any, Float32]]:
        """Waits for the network's oldest batch; yields the files that are done with it."""
        pending, (buffer, first, end) = self._in_network.popleft()
        buffer.logits.append(pending.result()[: end - first])
        if buffer.computed < buffer.filled:
            return
        logits = np.concatenate(buffer.logits)
        owners, buffer.owners, buffer.logits, buffer.filled = buffer.owners, [], [], 0
        self._free.append(buffer)
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
        parts = [*self._in_dali, *self._waiting]
        self._in_dali.clear()
        self._waiting.clear()
        for part in parts:
            self._wait(part)

    def _end_dali(self) -> None:
        if self._dali is not None:
            self._dali.close()
            self._dali = None


def tuned_batch(artifact: Artifact, batch: int = 0) -> int:
    """How many windows an engine computes at once: so many, or by default as many as it is tuned for.

    Raises:
        UsageError: the engine takes no batch of that size.
    """
    profile = artifact.facts["profiles"]["images"]
    least, tuned, most = (profile[name][0] for name in ("min", "opt", "max"))
    if batch and not least <= batch <= most:
        raise UsageError(f"{artifact.path.name} takes {least} to {most} windows at once, not {batch}")
    return batch or tuned


def open_gpu_pipeline(artifact: Artifact, gpu: int = 0, batch: int = 0) -> GpuPipeline:
    """Opens DALI and TensorRT on the GPU of that number.

    Args:
        batch: windows at once; 0 is what the engine is tuned for.

    Raises:
        DaliMissingError: DALI is not installed, or cannot start.
        DeviceError: driver, TensorRT or the package for CUDA is missing, or the engine does not fit.
        UsageError: the engine takes fewer windows at once.
    """
    size = tuned_batch(artifact, batch)
    dali_module()  # first: where it is missing, the GPU is left alone
    audio = artifact.spec.audio
    runtime = open_runtime(artifact, 0, gpu)
    try:
        pipeline = GpuPipeline(
            runtime,
            audio,
            lambda windows: DaliLogMel(audio, windows, "gpu", device_id=gpu, packed=True),
            size,
            partial(open_gpu_pipeline, artifact, gpu, batch),
        )
    except BaseException:
        runtime.close()
        raise
    try:
        pipeline.start_dali()
    except BaseException:
        pipeline.close()
        raise
    return pipeline


def open_on_its_gpu(artifact: Artifact, gpu: int, batch: int = 0) -> GpuPipeline:
    """``open_gpu_pipeline`` in a process of its own, to which no other GPU is visible from here on.

    So it has no context on another GPU, which would take memory there, or be refused.

    Raises:
        DaliMissingError, DeviceError, UsageError: as ``open_gpu_pipeline``.
    """
    show_only(gpu)
    return open_gpu_pipeline(artifact, batch=batch)
