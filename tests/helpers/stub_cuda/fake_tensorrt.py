"""TensorRT's runtime API over ONNX Runtime and the stub driver: an "engine" is an ONNX file.

``execute_async_v3`` queues the network on the stream, and it runs when the stream comes to it, on the
addresses it was given: a wrong address, shape or a missing synchronization gives wrong logits.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import weakref
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnxruntime
from stub_cuda.stub import loaded

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_ACTIVATIONS = 1_000  # bytes a window
_QUEUED: deque[Any] = deque(maxlen=1_000)
ENDED: list[str] = []
"""Runtimes, engines, contexts and caches in the order in which they ended: each must outlive what it made."""


def _end(what: str) -> None:
    ENDED.append(what if loaded().pushed else f"{what}, without a GPU")


def _needs_gpu(method: Callable[..., Any]) -> Callable[..., Any]:
    """TensorRT works on the GPU that is current to the calling thread, and fails or takes another without."""

    @functools.wraps(method)
    def checked(*arguments: Any) -> Any:
        assert loaded().pushed, f"{method.__qualname__} without a GPU that is current"
        return method(*arguments)

    return checked


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1


class TensorIOMode(enum.Enum):
    INPUT = 0
    OUTPUT = 1


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 2


class CudaGraphStrategy(enum.Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = range(3)

    def log(self, severity: Any, message: str) -> None:
        raise NotImplementedError


class Runtime:
    _takes_code = False  # engines that carry code of their own; no others may bring any

    @_needs_gpu
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger
        self.engine_host_code_allowed = False

    @_needs_gpu
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        assert self.engine_host_code_allowed is self._takes_code
        try:
            session = _session(serialized_engine)
        except Exception:
            self.logger.log(ILogger.ERROR, "magic tag does not match")
            return None
        return ICudaEngine(session)

    def __del__(self) -> None:
        _end("runtime")


class ICudaEngine:
    types: ClassVar[dict[str, DataType]] = {}

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = {
            **{tensor.name: (TensorIOMode.INPUT, tensor.shape) for tensor in session.get_inputs()},
            **{tensor.name: (TensorIOMode.OUTPUT, tensor.shape) for tensor in session.get_outputs()},
        }

    def __del__(self) -> None:
        _end("engine")

    @property
    def device_memory_size_v2(self) -> int:
        return IExecutionContext.most * _ACTIVATIONS

    @property
    def num_io_tensors(self) -> int:
        return len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return list(self._names)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._names[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in self._names[name][1])

    def get_tensor_dtype(self, name: str) -> DataType:
        return self.types.get(name, DataType.FLOAT)

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    @_needs_gpu
    def create_execution_context(self, strategy: Any) -> IExecutionContext | None:
        if isinstance(strategy, IRuntimeConfig):
            assert strategy._cache is not None
            assert strategy.cuda_graph_strategy is CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            strategy = strategy._strategy
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        return IExecutionContext(self)


class IRuntimeCache:
    compatible = True

    def __init__(self) -> None:
        self.content = b""

    def __del__(self) -> None:
        _end("cache")

    @_needs_gpu
    def deserialize(self, blob: bytes) -> bool:
        self.content = bytes(blob) if self.compatible else self.content
        return self.compatible

    @_needs_gpu
    def serialize(self) -> bytes:
        return self.content or b"compiled kernels"


class IRuntimeConfig:
    def __init__(self) -> None:
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self._strategy = ExecutionContextAllocationStrategy.STATIC
        self._cache: IRuntimeCache | None = None

    def set_execution_context_allocation_strategy(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> None:
        self._strategy = strategy

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self._cache = cache
        return True


class IExecutionContext:
    most = 32
    fails = False

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = weakref.proxy(engine)  # it keeps no engine alive
        self._shape: tuple[int, ...] = ()
        self._addresses: dict[str, int] = {}
        self._memory = (0, 0)

    def __del__(self) -> None:
        _end("context")
        if self._memory[1]:
            loaded().may_touch(*self._memory)

    @_needs_gpu
    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        expected = self._engine.get_tensor_shape(name)
        if not 1 <= shape[0] <= self.most or tuple(shape[1:]) != expected[1:]:
            return False
        self._shape = tuple(shape)
        return True

    def update_device_memory_size_for_shapes(self) -> int:
        return self._shape[0] * _ACTIVATIONS

    def set_device_memory(self, memory: int, size: int) -> None:
        assert memory % 256 == 0
        assert size >= self._engine.device_memory_size_v2
        self._memory = (memory, size)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine._names and memory % 256 == 0

    @_needs_gpu
    def execute_async_v3(self, stream_handle: int) -> bool:
        shape, addresses = self._shape, dict(self._addresses)
        memory, size = self._memory
        if self.fails or size < shape[0] * _ACTIVATIONS or set(addresses) != set(self._engine._names):
            return False
        session = self._engine._session
        names = [tensor.name for tensor in session.get_outputs()]
        columns = {name: self._engine.get_tensor_shape(name)[1] for name in names}
        touched = {
            memory: shape[0] * _ACTIVATIONS,
            addresses["images"]: 4 * int(np.prod(shape)),
            **{addresses[name]: 4 * shape[0] * count for name, count in columns.items()},
        }

        def run(_: Any) -> None:
            if not all(loaded().may_touch(*block) for block in touched.items()):
                return
            _floats(memory, shape[0] * _ACTIVATIONS // 4)[:] = np.random.default_rng(0).standard_normal()
            log_mels = _floats(addresses["images"], int(np.prod(shape))).reshape(shape).copy()
            for name, output in zip(names, session.run(names, {"images": log_mels}), strict=True):
                _floats(addresses[name], output.size)[:] = output.ravel()

        call = _CALLBACK(run)
        _QUEUED.append(call)  # what the stub may still call
        launch = loaded().library.cuLaunchHostFunc
        return launch(ctypes.c_void_p(stream_handle), call, None) == 0


@functools.lru_cache(maxsize=4)
def _session(content: bytes) -> Any:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def _floats(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))


def module(version: str = "11.4.0.106") -> Any:
    """What ``import tensorrt`` would give."""
    names = (
        DataType, TensorIOMode, ExecutionContextAllocationStrategy, CudaGraphStrategy, ILogger, Runtime,
        ICudaEngine, IRuntimeCache, IRuntimeConfig, IExecutionContext,
    )  # fmt: skip
    return SimpleNamespace(__version__=version, **{kind.__name__: kind for kind in names})
