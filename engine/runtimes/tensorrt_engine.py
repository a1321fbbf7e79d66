"""A TensorRT engine that is loaded: its execution context, its tensors, and what RTX compiled for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..artifact import Artifact
from ..errors import ArtifactError, DeviceError, EngineLoadError
from .kernel_cache import read_kernels, write_kernels

_log = logging.getLogger(__name__)


class LoadedEngine:
    """An engine and its execution context, which computes one batch at a time.

    It is opened, used and closed inside ``Gpu.current``. Memory for activations is given by the caller.

    Args:
        trt: the module ``tensorrt`` or ``tensorrt_rtx``, whichever built the engine.

    Raises:
        ArtifactError: its tensors are not those of its ModelSpec.
        EngineLoadError: TensorRT refuses it, or does not start.
    """

    def __init__(self, artifact: Artifact, trt: Any) -> None:
        self.name: str = artifact.facts["builder"]
        self._artifact = artifact
        self._messages: list[str] = []
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._cache: Any = None
        try:
            self._load(trt)
        except BaseException:
            self.close()
            raise

    def activation_bytes(self, batch: int) -> int:
        """The GPU memory that a batch of so many windows needs beside its input and output.

        TensorRT asks for that of the profile's largest batch at least, whatever a batch itself would need.
        """
        self._set_shape(batch)
        return max(self._context.update_device_memory_size_for_shapes(), self._engine.device_memory_size_v2)

    def use_memory(self, address: int, size: int) -> None:
        """Gives it memory for activations, which must outlive it."""
        self._context.set_device_memory(address, size)

    def enqueue(self, stream: int, batch: int, log_mels: int, outputs: Mapping[str, int]) -> None:
        """Queues one batch on a CUDA stream.

        Args:
            stream: its handle.
            batch: windows; the profile must allow so many.
            log_mels: the address on the GPU of float32 ``[batch, 1, mels, frames]``.
            outputs: where float32 ``[batch, columns]`` of each of ``ModelSpec.outputs`` is written.

        Raises:
            DeviceError: TensorRT refuses a size or an address, or cannot compute.
        """
        self._set_shape(batch)
        for name, address in (("images", log_mels), *outputs.items()):
            if not self._context.set_tensor_address(name, address):
                raise DeviceError(f"{self.name} refuses its buffer of {name}: {self._reason()}")
        if not self._context.execute_async_v3(stream):
            raise DeviceError(f"{self.name} cannot run {batch} windows: {self._reason()}")

    def close(self) -> None:
        """Writes what RTX compiled, and frees the engine; nothing of it may be running."""
        if self._cache is not None:
            try:
                kernels = self._cache.serialize()  # None where it fails: then the next start compiles again
            except Exception as error:  # after an error of the GPU anything may fail; what follows must not
                kernels = None
                _log.warning("compiled kernels cannot be kept (%s): the next start compiles again", error)
            write_kernels(self._artifact, b"" if kernels is None else bytes(kernels))
        # In this order: an engine must outlive its contexts, a runtime its engines.
        self._context = self._cache = None
        self._engine = self._runtime = None

    def _load(self, trt: Any) -> None:
        artifact = self._artifact
        try:
            self._runtime = trt.Runtime(error_logger(trt, self._messages))
        except TypeError as error:  # pybind11's: "factory function returned nullptr"
            raise EngineLoadError(why_not_started(self.name, self._messages, error)) from None
        if artifact.facts["options"].get("version_compatible"):
            # It carries a runtime of its own, which is code; the hash of the file was checked.
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(artifact.content)
        if self._engine is None:
            raise EngineLoadError(f"{artifact.path}: {self.name} cannot load it: {self._reason()}")
        _check_tensors(self._engine, artifact, trt)
        self._context = self._new_context(trt)
        if self._context is None:
            raise EngineLoadError(f"{artifact.path}: no execution context: {self._reason()}")

    def _new_context(self, trt: Any) -> Any:
        """A context that takes its memory from the caller; None where TensorRT refuses."""
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.name != "tensorrt_rtx":
            return self._engine.create_execution_context(strategy)
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._cache = config.create_runtime_cache()
        kernels = read_kernels(self._artifact)
        if kernels:
            self._cache.deserialize(kernels)  # False if another driver's: then they are compiled again
        config.set_runtime_cache(self._cache)
        return self._engine.create_execution_context(config)

    def _set_shape(self, batch: int) -> None:
        audio = self._artifact.spec.audio
        if not self._context.set_input_shape("images", (batch, 1, audio.n_mels, audio.frames)):
            raise DeviceError(f"{self.name} refuses a batch of {batch}: {self._reason()}")

    def _reason(self) -> str:
        return self._messages[-1] if self._messages else "it gives no reason"


def _check_tensors(engine: Any, artifact: Artifact, trt: Any) -> None:
    spec = artifact.spec
    expected = {
        "images": (trt.TensorIOMode.INPUT, (-1, 1, spec.audio.n_mels, spec.audio.frames)),
        **{name: (trt.TensorIOMode.OUTPUT, (-1, count)) for name, count in spec.outputs.items()},
    }
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    tensors = {name: (engine.get_tensor_mode(name), tuple(engine.get_tensor_shape(name))) for name in names}
    any_batch = {name: (mode, (-1, *shape[1:])) for name, (mode, shape) in tensors.items()}
    if any_batch != expected or any(engine.get_tensor_dtype(name) != trt.DataType.FLOAT for name in names):
        raise ArtifactError(f"{artifact.path} takes and gives {tensors}, not float32 as its ModelSpec says")


def why_not_started(name: str, messages: Sequence[str], error: TypeError) -> str:
    """What to do where TensorRT's classes cannot be made; ``messages`` are those of ``error_logger``."""
    reason = messages[-1] if messages else error
    return (
        f"{name} does not start ({reason}): update the NVIDIA driver, or install a {name} for the CUDA "
        "that it knows"
    )


def error_logger(trt: Any, messages: list[str]) -> Any:
    """TensorRT's logger that keeps errors, the only place where TensorRT says why something failed."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                messages.append(message)

    return Logger()
