"""Engines of TensorRT (10.8 and newer, 11) and of TensorRT for RTX, on one GPU.

Two streams: one copies images to the GPU, one computes and copies logits back; two slots of buffers, so that
one batch is copied while another is computed and the caller prepares a third. No CUDA graph is captured
for full TensorRT (docs/GPU.md has the reckoning); TensorRT for RTX captures its own.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..errors import ArtifactError, DeviceError, DeviceMemoryError
from ..files import write_whole
from .cuda_gpu import Gpu, open_gpu
from .cuda_slot import Slot
from .engine_compatibility import check_fit

_ALIGNED = 256  # bytes, as IExecutionContext.set_tensor_address wants
_SLOTS = 2
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Pending:
    """Logits that are being computed; ``result`` waits for them."""

    _runtime: TensorRtRuntime
    _logits: Float32
    _left: int = 0
    _held: list[Any] = field(default_factory=list)

    def result(self) -> Float32:
        """float32 ``[n, labels]``.

        Raises:
            DeviceError: the GPU failed.
        """
        return self._runtime._finish(self)


class TensorRtRuntime:
    """See ``Runtime``. ``batch`` windows are computed at once, at most; larger inputs are split.

    Safe from several threads, which take turns. ``stream`` is the handle of the stream that computes:
    what is queued there before ``submit`` is seen by it.
    """

    def __init__(self, artifact: Artifact, gpu: Gpu, trt: Any) -> None:
        self.name = artifact.facts["builder"]
        self._gpu, self._trt, self._artifact = gpu, trt, artifact
        self._lock = threading.RLock()
        self._slots: list[Slot] = []
        self._turn = 0
        self._said: list[str] = []
        self._memory: Any = None
        self._context: Any = None
        self._engine: Any = None
        self._runtime: Any = None
        self._cache: Any = None
        self._copies: Any = None
        self._computes: Any = None
        self._closed = False
        least, _, most = _profile(artifact)
        self._least, self.batch = least, most
        try:
            with gpu.current() as cuda:
                # Not blocking: nothing of ours shall wait for what others queue on the default stream.
                self._copies, self._computes = cuda.Stream(_NON_BLOCKING), cuda.Stream(_NON_BLOCKING)
                self._load()
                self._allocate(cuda)
        except BaseException:
            self.close()
            raise

    @property
    def stream(self) -> int:
        return self._computes.handle

    @property
    def gpu(self) -> Gpu:
        """The GPU that it runs on."""
        return self._gpu

    def infer(self, images: Any) -> Float32:
        """Logits of images: NumPy's, or of the GPU by ``__cuda_array_interface__``, which are not copied."""
        return self.submit(images).result()

    def submit(self, images: Any) -> Pending:
        """Begins to compute and returns; ``images`` are held, and must not be changed, until the result.

        Raises:
            ValueError: not float32 ``[n, 1, mels, frames]`` without gaps.
            DeviceError: the GPU or TensorRT fails.
        """
        count, address = self._checked(images)
        audio = self._artifact.spec.audio
        stride = 4 * audio.n_mels * audio.frames
        with self._lock, self._gpu.current() as cuda:
            if self._closed:
                raise ValueError("the runtime is closed")
            pending = Pending(self, np.empty((count, len(self._artifact.spec.labels)), np.float32))
            pending._held.append(images)
            if address is not None and images.__cuda_array_interface__.get("stream") is not None:
                # Its producer's stream is not ours, and PyCUDA cannot wait for a stream it did not make.
                cuda.Context.synchronize()
            for at in range(0, count, self.batch):
                part = min(self.batch, count - at)
                slot = self._slots[self._turn % _SLOTS]
                self._turn += 1
                self._collect(slot)
                if address is None:
                    source = self._copied(cuda, slot, np.asarray(images)[at : at + part])
                else:
                    source = self._aligned(cuda, slot, address + at * stride, part)
                self._compute(cuda, slot, source, part)
                slot.work = (pending, at, part)
                pending._left += part
            return pending

    def close(self) -> None:
        """Waits for the GPU and frees what was taken; what was not collected is lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with self._gpu.current() as cuda:
                cuda.Context.synchronize()
                for slot in self._slots:
                    slot.close()
                self._slots.clear()
                self._keep_cache()
                # In this order: an engine must outlive its contexts, a runtime its engines.
                self._context = self._cache = None
                self._engine = self._runtime = None
                if self._memory is not None:
                    self._memory.free()
                self._memory = self._copies = self._computes = None

    def __enter__(self) -> TensorRtRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self) -> None:
        """Deserializes the engine and makes its context, whose memory is ours to give."""
        trt, artifact = self._trt, self._artifact
        self._runtime = runtime = trt.Runtime(_logger(trt, self._said))
        if artifact.facts["options"].get("version_compatible"):
            runtime.engine_host_code_allowed = True  # it carries its own lean runtime; its hash was checked
        self._engine = engine = runtime.deserialize_cuda_engine(artifact.content)
        if engine is None:
            raise DeviceError(f"{artifact.path}: {self.name} cannot load it: {self._reason()}")
        _check_tensors(engine, artifact, trt)
        managed = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.name == "tensorrt_rtx":
            config = engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(managed)
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._cache = config.create_runtime_cache()
            if self._cache_path.is_file():
                self._cache.deserialize(self._cache_path.read_bytes())  # False: another driver's; made anew
            config.set_runtime_cache(self._cache)
            self._context = engine.create_execution_context(config)
        else:
            self._context = engine.create_execution_context(managed)
        if self._context is None:
            raise DeviceError(f"{artifact.path}: no execution context: {self._reason()}")

    def _allocate(self, cuda: Any) -> None:
        """Takes the memory for the largest batch there is room for, halving it from the profile's."""
        audio, wanted = self._artifact.spec.audio, self.batch
        while True:
            self._shape(self.batch)
            size = self._context.update_device_memory_size_for_shapes()
            images = (self.batch, 1, audio.n_mels, audio.frames)
            logits = (self.batch, len(self._artifact.spec.labels))
            try:
                if size:
                    self._memory = cuda.mem_alloc(size)
                for _ in range(_SLOTS):
                    self._slots.append(Slot(cuda, images, logits))
                break
            except cuda.MemoryError:
                for slot in self._slots:
                    slot.close()
                self._slots.clear()
                if self._memory is not None:
                    self._memory.free()
                    self._memory = None
                if self.batch // 2 < max(1, self._least):
                    raise DeviceMemoryError(
                        f"{self._gpu.name} has no memory left for a batch of {self.batch} windows: "
                        "end what else uses it"
                    ) from None
                self.batch //= 2
        if self._memory is not None:
            self._context.set_device_memory(int(self._memory), size)
        if self.batch < wanted:
            _log.warning(
                "%s has memory for batches of %d windows, not %d", self._gpu.name, self.batch, wanted
            )

    def _checked(self, images: Any) -> tuple[int, int | None]:
        """How many images, and where on the GPU they are (None: in NumPy's memory)."""
        audio = self._artifact.spec.audio
        one = (1, audio.n_mels, audio.frames)
        found = getattr(images, "__cuda_array_interface__", None)
        if found is None:
            kind, shape = np.asarray(images).dtype.str, np.asarray(images).shape
        else:
            kind, shape = found["typestr"], tuple(found["shape"])
        wanted = f"float32 [n, {', '.join(map(str, one))}]"
        if kind != "<f4" or len(shape) != 4 or tuple(shape[1:]) != one or not shape[0]:
            raise ValueError(f"images must be {wanted} with n above 0, not {kind} {list(shape)}")
        if found is None:
            return shape[0], None
        gapless = tuple(4 * int(np.prod(shape[at:])) for at in range(1, 5))
        if found.get("strides") is not None and tuple(found["strides"]) != gapless:
            raise ValueError(f"images must be {wanted} without gaps, not strides {found['strides']}")
        return shape[0], int(found["data"][0])

    def _copied(self, cuda: Any, slot: Slot, images: Float32) -> int:
        """Images from NumPy, by way of the slot's pinned buffer; the kernels wait for the copy."""
        count = max(len(images), self._least)
        slot.images_host[: len(images)] = images
        slot.images_host[len(images) : count] = 0  # a profile may know no smaller batch
        cuda.memcpy_htod_async(slot.images, slot.images_host[:count], self._copies)
        slot.copied.record(self._copies)
        self._computes.wait_for_event(slot.copied)
        return slot.images

    def _aligned(self, cuda: Any, slot: Slot, address: int, count: int) -> int:
        """Images that are on the GPU, where they are, unless TensorRT could not take them there."""
        if address % _ALIGNED == 0 and count >= self._least:
            return address
        audio = self._artifact.spec.audio
        cuda.memcpy_dtod_async(slot.images, address, 4 * count * audio.n_mels * audio.frames, self._computes)
        return slot.images

    def _compute(self, cuda: Any, slot: Slot, source: int, count: int) -> None:
        self._shape(max(count, self._least))
        for name, address in (("images", source), ("logits", slot.logits)):
            if not self._context.set_tensor_address(name, address):
                raise DeviceError(f"{self.name} refuses its buffer of {name}: {self._reason()}")
        if not self._context.execute_async_v3(self._computes.handle):
            raise DeviceError(f"{self.name} cannot run {count} windows: {self._reason()}")
        cuda.memcpy_dtoh_async(slot.logits_host[:count], slot.logits, self._computes)
        slot.done.record(self._computes)

    def _shape(self, count: int) -> None:
        audio = self._artifact.spec.audio
        if not self._context.set_input_shape("images", (count, 1, audio.n_mels, audio.frames)):
            raise DeviceError(f"{self.name} refuses a batch of {count}: {self._reason()}")

    def _collect(self, slot: Slot) -> None:
        """Waits for what a slot computes, and hands it over."""
        if slot.work is None:
            return
        pending, at, count = slot.work
        slot.work = None
        slot.done.synchronize()
        pending._logits[at : at + count] = slot.logits_host[:count]
        pending._left -= count
        if not pending._left:
            pending._held.clear()

    def _finish(self, pending: Pending) -> Float32:
        with self._lock, self._gpu.current():
            for turn in range(self._turn, self._turn + _SLOTS):  # the oldest first
                slot = self._slots[turn % _SLOTS] if self._slots else None
                if slot is not None and slot.work is not None and slot.work[0] is pending:
                    self._collect(slot)
            if pending._left:
                raise DeviceError("these logits were lost: the GPU failed, or the runtime was closed")
            return pending._logits

    @property
    def _cache_path(self) -> Path:
        return self._artifact.path.with_name(self._artifact.path.name + ".cache")

    def _keep_cache(self) -> None:
        """Writes what RTX compiled for this GPU beside the engine, so that the next start is quick."""
        if self._cache is None:
            return
        content = bytes(self._cache.serialize())
        try:
            if not self._cache_path.is_file() or self._cache_path.read_bytes() != content:
                write_whole(self._cache_path, content)
        except OSError as error:
            _log.warning("%s cannot be written (%s): the next start compiles again", self._cache_path, error)

    def _reason(self) -> str:
        return self._said[-1] if self._said else "it gives no reason"


_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which PyCUDA does not name


def open_runtime(artifact: Artifact, threads: int, gpu: int = 0) -> TensorRtRuntime:
    """See ``merkit.engine.runtimes.open_runtime``; everything is checked before the engine is touched.

    Raises:
        ArtifactError: no engine with a sidecar.
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
    opened = open_gpu(gpu)
    check_fit(artifact, trt.__version__, opened)
    return TensorRtRuntime(artifact, opened, trt)


def _profile(artifact: Artifact) -> tuple[int, int, int]:
    shapes = artifact.facts["profiles"]["images"]
    return shapes["min"][0], shapes["opt"][0], shapes["max"][0]


def _check_tensors(engine: Any, artifact: Artifact, trt: Any) -> None:
    spec = artifact.spec
    wanted = {
        "images": (trt.TensorIOMode.INPUT, (-1, 1, spec.audio.n_mels, spec.audio.frames)),
        "logits": (trt.TensorIOMode.OUTPUT, (-1, len(spec.labels))),
    }
    names = [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)]
    found = {name: (engine.get_tensor_mode(name), tuple(engine.get_tensor_shape(name))) for name in names}
    fixed = {name: (mode, (-1, *shape[1:])) for name, (mode, shape) in found.items()}
    if fixed != wanted or any(engine.get_tensor_dtype(name) != trt.DataType.FLOAT for name in names):
        raise ArtifactError(f"{artifact.path} takes and gives {found}, not float32 as its ModelSpec says")


def _logger(trt: Any, said: list[str]) -> Any:
    class Logger(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                said.append(message)

    return Logger()
