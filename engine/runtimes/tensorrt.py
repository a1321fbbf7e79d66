"""Engines of TensorRT (10.8 and newer, 11) and of TensorRT for RTX, on one GPU.

Two streams: one copies log-mels to the GPU, one computes and copies logits back. Two slots of buffers: one
batch is copied while another is computed and the caller prepares a third. No CUDA graph is captured for full
TensorRT (docs/GPU.md computes what one would gain); TensorRT for RTX captures its own.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..closing import ClosedByWith
from ..errors import ArtifactError, DeviceError, DeviceMemoryError
from . import DeviceArray
from .cuda_gpu import Cuda, Gpu, open_gpu
from .cuda_slot import NetworkBuffers, Slot
from .engine_compatibility import check_fit
from .tensorrt_engine import LoadedEngine

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, for which PyCUDA has no name
_SLOTS = 2
_log = logging.getLogger(__name__)

# Brings windows from start on, so many, to the GPU, and gives their address there.
_Place = Callable[[Cuda, Slot, int, int], int]  # CUDA, slot, start, count


@dataclass(eq=False)
class Pending:
    """Logits that are being computed; ``result`` waits for them."""

    _runtime: TensorRtRuntime
    _logits: Float32
    _left: int = 0  # windows
    _held: list[Any] = field(default_factory=list)  # the input

    def result(self) -> Float32:
        """float32 ``[n, labels]``, with further columns as ``Runtime.infer`` gives.

        Raises:
            DeviceError: the GPU failed, or the runtime was closed.
        """
        return self._runtime._finish(self)


class TensorRtRuntime(ClosedByWith):
    """See ``DeviceRuntime``. Inputs larger than ``batch`` are split. Several threads may use it in turns.

    Args:
        engine: closed with it.

    Raises:
        DeviceError: the GPU has no memory for the smallest batch of the profile, or fails.
    """

    def __init__(self, artifact: Artifact, gpu: Gpu, engine: LoadedEngine) -> None:
        self.name = engine.name
        self.gpu = gpu
        self._artifact, self._engine = artifact, engine
        self._lock = threading.RLock()
        self._slots: list[Slot] = []
        self._network: NetworkBuffers | None = None
        self._pinned: list[Any] = []
        self._turn = 0  # how many batches were begun; they take the slots in turns
        self._memory: Any = None
        self._copies: Any = None
        self._computes: Any = None
        self._closed = False
        profile = artifact.facts["profiles"]["images"]
        self._least, self.batch = profile["min"][0], profile["max"][0]
        try:
            with gpu.current() as cuda:
                # Not blocking: they must not wait for what others queue on the default stream.
                self._copies, self._computes = cuda.Stream(_NON_BLOCKING), cuda.Stream(_NON_BLOCKING)
                self._allocate(cuda)
        except BaseException:
            self.close()
            raise

    @property
    def stream(self) -> int:
        return self._computes.handle

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """See ``DeviceRuntime``."""
        with self._lock, self.gpu.current() as cuda:
            array = cuda.pagelocked_empty(shape, dtype)
            self._pinned.append(array.base)
        array[:] = 0
        return array

    def infer(self, log_mels: Float32 | DeviceArray) -> Float32:
        """Logits, float32 ``[n, labels]``; takes and raises what ``submit`` does."""
        return self.submit(log_mels).result()

    def submit(self, log_mels: Float32 | DeviceArray) -> Pending:
        """Begins to compute and returns. NumPy's arrays are copied; the GPU's are held until the result.

        Raises:
            ValueError: not float32 ``[n, 1, mels, frames]``, on the GPU without gaps; or it is closed.
            DeviceError: the GPU or TensorRT fails.
        """
        if isinstance(log_mels, np.ndarray):
            self._check(log_mels.dtype.str, log_mels.shape)
            return self._begin(log_mels, len(log_mels), partial(self._copied, log_mels))
        interface = log_mels.__cuda_array_interface__
        self._check(interface["typestr"], tuple(interface["shape"]), interface.get("strides"))
        if interface.get("stream") is not None:
            self._wait_for(interface["stream"])
        address = int(interface["data"][0])
        return self._begin(log_mels, interface["shape"][0], partial(self._there, address))

    def close(self) -> None:
        """Waits for the GPU and frees everything; logits that nobody asked for are lost.

        After an error of the GPU it frees what it can, and raises no error that would hide the first one.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                with self.gpu.current() as cuda:
                    with suppress(cuda.Error):  # then nothing runs any longer
                        cuda.Context.synchronize()
                    self._free_slots()
                    self._engine.close()  # before the memory that it computes in
                    while self._pinned:
                        with suppress(cuda.Error):
                            self._pinned.pop().free()
                    with suppress(cuda.Error):
                        self._free_memory()
                    self._copies = self._computes = None
            except DeviceError as error:
                _log.warning("not all is freed: %s", error)
                # Kept for ever: on a GPU that failed, PyCUDA's destructors would abort the process.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def _allocate(self, cuda: Cuda) -> None:
        """Takes the memory for the largest batch that there is room for, halving it from the profile's."""
        most = self.batch
        while not self._has_allocated(cuda):
            if self.batch == self._least:
                raise DeviceMemoryError(
                    f"{self.gpu.name} has no memory left for a batch of {self.batch} windows: "
                    "end what else uses it"
                )
            self.batch = max(self.batch // 2, self._least)
        if self.batch < most:
            _log.warning("%s has memory for batches of %d windows, not %d", self.gpu.name, self.batch, most)

    def _has_allocated(self, cuda: Cuda) -> bool:
        """Takes the memory for ``batch`` windows; where there is not enough, takes none."""
        audio = self._artifact.spec.audio
        log_mels = (self.batch, 1, audio.n_mels, audio.frames)
        outputs = {name: (self.batch, count) for name, count in self._artifact.spec.outputs.items()}
        size = self._engine.activation_bytes(self.batch)
        try:
            if size:
                self._memory = cuda.mem_alloc(size)
            self._network = NetworkBuffers(cuda, log_mels, outputs)
            for _ in range(_SLOTS):
                self._slots.append(Slot(cuda, log_mels, outputs))
        except cuda.MemoryError:
            self._free_slots()
            self._free_memory()
            return False
        if self._memory is not None:
            self._engine.use_memory(int(self._memory), size)
        return True

    def _free_slots(self) -> None:
        for slot in self._slots:
            slot.close()
        self._slots.clear()
        if self._network is not None:
            self._network.close()
            self._network = None

    def _free_memory(self) -> None:
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.free()

    def _check(self, typestr: str, shape: tuple[int, ...], strides: tuple[int, ...] | None = None) -> None:
        """Compares an array, as the CUDA Array Interface describes it, with what the network takes."""
        window = (1, self._artifact.spec.audio.n_mels, self._artifact.spec.audio.frames)
        expected = f"float32 [n, {', '.join(map(str, window))}]"
        # DALI's typestr is "=f", not the interface's own "<f4".
        if np.dtype(typestr) != np.float32 or len(shape) != 4 or shape[1:] != window or not shape[0]:
            raise ValueError(f"log-mels must be {expected} with n above 0, not {typestr} {list(shape)}")
        gapless = tuple(4 * int(np.prod(shape[axis:])) for axis in range(1, 5))
        if strides is not None and tuple(strides) != gapless:
            raise ValueError(f"log-mels must be {expected} without gaps, not strides {strides}")

    def _wait_for(self, stream: int) -> None:
        """Waits for another's stream: for the whole GPU, since PyCUDA waits for none that it did not make."""
        with self._lock, self.gpu.current() as cuda:  # locked, for it would break another thread's capture
            if not self._closed and stream != self.stream:
                cuda.Context.synchronize()

    def _begin(self, log_mels: Any, count: int, place: _Place) -> Pending:
        """Queues all windows, in batches."""
        with self._lock, self.gpu.current() as cuda:
            if self._closed:
                raise ValueError("the runtime is closed")
            columns = sum(self._artifact.spec.outputs.values())
            pending = Pending(self, np.empty((count, columns), np.float32))
            pending._held.append(log_mels)
            for start in range(0, count, self.batch):
                part = min(self.batch, count - start)
                slot = self._slots[self._turn % _SLOTS]
                self._turn += 1
                self._collect(slot)
                self._compute(cuda, slot, place(cuda, slot, start, part), part)
                slot.work = (pending, start, part)
                pending._left += part
            return pending

    def _copied(self, log_mels: Float32, cuda: Cuda, slot: Slot, start: int, count: int) -> int:
        """Copies windows to the GPU by way of the slot's pinned buffer; the kernels wait for the copy."""
        slot.log_mels_host[:count] = log_mels[start : start + count]
        cuda.memcpy_htod_async(slot.log_mels, slot.log_mels_host[:count], self._copies)
        slot.copied.record(self._copies)
        self._computes.wait_for_event(slot.copied)
        return slot.log_mels

    def _there(self, address: int, cuda: Cuda, slot: Slot, start: int, count: int) -> int:
        """Windows that are on the GPU already."""
        return address + start * self._window_bytes

    def _compute(self, cuda: Cuda, slot: Slot, source: int, count: int) -> None:
        """Queues a batch. The computing stream alone uses the network's buffers, one batch after the other.

        Where the profile allows no batch so small, the rows after it hold anything.
        """
        network = self._network
        assert network is not None
        cuda.memcpy_dtod_async(network.log_mels, source, count * self._window_bytes, self._computes)
        self._engine.enqueue(self.stream, max(count, self._least), network.log_mels, network.outputs)
        for name, host in slot.outputs_host.items():
            cuda.memcpy_dtoh_async(host[:count], network.outputs[name], self._computes)
        slot.done.record(self._computes)

    @property
    def _window_bytes(self) -> int:
        audio = self._artifact.spec.audio
        return 4 * audio.n_mels * audio.frames

    def _collect(self, slot: Slot) -> None:
        """Waits for the batch that a slot has, and copies its logits out."""
        if slot.work is None:
            return
        pending, start, count = slot.work
        slot.work = None
        slot.done.synchronize()
        outputs = [host[:count] for host in slot.outputs_host.values()]
        np.concatenate(outputs, axis=1, out=pending._logits[start : start + count])
        pending._left -= count
        if not pending._left:
            pending._held.clear()

    def _finish(self, pending: Pending) -> Float32:
        with self._lock, self.gpu.current():
            for turn in range(self._turn, self._turn + _SLOTS):  # the oldest first
                slot = self._slots[turn % _SLOTS] if self._slots else None
                if slot is not None and slot.work is not None and slot.work[0] is pending:
                    self._collect(slot)
            if pending._left:
                raise DeviceError("these logits were lost: the GPU failed, or the runtime was closed")
            return pending._logits


def open_runtime(artifact: Artifact, threads: int, gpu: int = 0) -> TensorRtRuntime:
    """See ``merkit.engine.runtimes.open_runtime``; everything is checked before the engine is touched.

    Raises:
        ArtifactError: no engine with a sidecar, or its tensors are not those of its ModelSpec.
        DeviceError: no driver, GPU or package that fits the engine.
    """
    if not artifact.facts:
        raise ArtifactError(f"{artifact.path} is no engine: TensorRT runs what mer-export makes of it")
    name = artifact.facts["builder"]
    try:
        trt = import_module(name)
    except (ImportError, OSError) as error:
        extra = {"tensorrt": "gpu", "tensorrt_rtx": "rtx"}[name]
        raise DeviceError(f'{name} is not installed ({error}): pip install "merkit[{extra}]"') from None
    device = open_gpu(gpu)
    check_fit(artifact, trt.__version__, device)
    with device.current():
        engine = LoadedEngine(artifact, trt)
    return TensorRtRuntime(artifact, device, engine)
