"""TensorRT's runtime API over torch: an "engine" is an ONNX file, computed on the addresses it was given.

What the real runtime does wrong on the real driver (a wrong address, a missing wait, memory freed too early)
gives wrong logits here, as it would with TensorRT, on a machine that has no TensorRT.
"""

from __future__ import annotations

import ctypes
import enum
import functools
from collections import OrderedDict, deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from .onnx_in_torch import OnnxInTorch, Precision

VERSION = "11.0.0"
_ACTIVATIONS = 4_096  # bytes a window, overwritten by every batch as TensorRT would
_GRAPHS = 64  # that are kept
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

DataType = enum.Enum("DataType", ["FLOAT", "HALF"])
TensorIOMode = enum.Enum("TensorIOMode", ["INPUT", "OUTPUT"])
ExecutionContextAllocationStrategy = enum.Enum(
    "ExecutionContextAllocationStrategy", ["STATIC", "USER_MANAGED"]
)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = range(3)

    def log(self, severity: Any, message: str) -> None:
        raise NotImplementedError


class Engine:
    def __init__(
        self, network: OnnxInTorch, window: tuple[int, ...], graphs: bool, stub: Any, logger: ILogger
    ) -> None:
        self.network, self.graphs, self.stub, self.logger = network, graphs, stub, logger
        self._tensors = {
            network.input: (TensorIOMode.INPUT, (-1, *window)),
            **{name: (TensorIOMode.OUTPUT, (-1, columns)) for name, columns in network.outputs.items()},
        }
        self.num_io_tensors = len(self._tensors)
        self.device_memory_size_v2 = _ACTIVATIONS  # of the least batch

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name][1]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT

    def create_execution_context(self, strategy: Any) -> Context:
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        return Context(self)


class Context:
    """As TensorRT: shapes and addresses are those of the moment of the call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shape: tuple[int, ...] = ()
        self._addresses: dict[str, int] = {}
        self._memory = (0, 0)
        self._graphs: OrderedDict[Any, torch.cuda.CUDAGraph] = OrderedDict()
        self._queued: deque[Any] = deque(maxlen=1_000)  # what the stub driver may still call

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = tuple(shape)
        return self._shape[1:] == self._engine.get_tensor_shape(name)[1:]

    def update_device_memory_size_for_shapes(self) -> int:
        return self._shape[0] * _ACTIVATIONS

    def set_device_memory(self, memory: int, size: int) -> None:
        self._memory = (memory, size)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory % 256 == 0

    def execute_async_v3(self, stream: int) -> bool:
        memory, size = self._memory
        if memory % 256 or size < self._shape[0] * _ACTIVATIONS:
            return False
        shape, addresses = self._shape, dict(self._addresses)
        if self._engine.stub is not None:
            return self._queue_on_stub(stream, shape, addresses)
        try:
            self._queue(stream, shape, addresses)
        except RuntimeError as error:  # of torch, also where an earlier kernel failed
            self._engine.logger.log(ILogger.ERROR, str(error).splitlines()[0])
            return False
        return True

    def _queue(self, stream: int, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
        given = torch.cuda.ExternalStream(stream)
        if self._engine.graphs:
            graph = self._graph(shape, addresses)
            with torch.cuda.stream(given):
                graph.replay()
            return
        # On a stream of its own between two waits: torch keeps memory for each stream that it ever saw, and
        # what a runtime that was closed took would look like a leak.
        own = _own_stream()
        own.wait_stream(given)
        with torch.cuda.stream(own):
            self._compute(self._views(shape, addresses))
        given.wait_stream(own)

    def _views(self, shape: tuple[int, ...], addresses: dict[str, int]) -> dict[str, torch.Tensor]:
        """What is read and written, as tensors where it is; "" is the memory for activations."""
        at_address = tensor_on_host if self._engine.stub is not None else tensor_on_gpu
        columns = self._engine.network.outputs
        shapes = {name: (shape[0], columns[name]) if name in columns else shape for name in addresses}
        return {
            "": at_address(self._memory[0], (shape[0] * _ACTIVATIONS // 4,)),
            **{name: at_address(address, shapes[name]) for name, address in addresses.items()},
        }

    def _compute(self, views: dict[str, torch.Tensor]) -> None:
        views[""].fill_(float("nan"))
        network = self._engine.network
        for name, result in network(views[network.input]).items():
            views[name].copy_(result)

    def _graph(self, shape: tuple[int, ...], addresses: dict[str, int]) -> torch.cuda.CUDAGraph:
        """A graph for these addresses, captured at their first use, as TensorRT for RTX does."""
        key = shape, *sorted(addresses.items())
        graph = self._graphs.pop(key, None)
        if graph is None:
            # What is queued must be done before: the trial runs overwrite the outputs.
            torch.cuda.synchronize()
            side, views = _own_stream(), self._views(shape, addresses)
            with torch.cuda.stream(side):
                for _ in range(2):
                    self._compute(views)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                self._compute(views)
        self._graphs[key] = graph
        if len(self._graphs) > _GRAPHS:
            torch.cuda.synchronize()
            self._graphs.popitem(last=False)
        return graph

    def _queue_on_stub(self, stream: int, shape: tuple[int, ...], addresses: dict[str, int]) -> bool:
        stub, views = self._engine.stub, self._views(shape, addresses)

        def run(_: Any) -> None:
            may_touch = [
                stub.stub_touch(ctypes.c_void_p(view.data_ptr()), ctypes.c_size_t(view.nbytes))
                for view in views.values()
            ]
            if all(may_touch):
                self._compute(views)

        call = _CALLBACK(run)
        self._queued.append(call)
        return stub.cuLaunchHostFunc(ctypes.c_void_p(stream), call, None) == 0


@functools.lru_cache
def _own_stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()


class _Memory:
    """Memory of the GPU, as the CUDA Array Interface describes it."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "<f4",
            "data": (address, False),
            "strides": None,
        }


def tensor_on_gpu(address: int, shape: tuple[int, ...]) -> torch.Tensor:
    """float32 of that shape, where it is."""
    return torch.as_tensor(_Memory(address, shape), device="cuda")


def tensor_on_host(address: int, shape: tuple[int, ...]) -> torch.Tensor:
    """The same for a stub driver, whose GPU's memory is the host's."""
    count = int(np.prod(shape))
    array = np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))
    return torch.from_numpy(array).reshape(shape)


def stand_in(window: tuple[int, ...], precision: Precision, graphs: bool, stub: Any = None) -> Any:
    """What ``import tensorrt`` would give.

    Args:
        window: the shape of one log-mel, ``(1, mels, frames)``.
        graphs: batches are replayed as CUDA graphs, one for each size and set of addresses.
        stub: the stub driver's library; None for a GPU.
    """
    # FP32 is compared with FP32: by default convolutions would round factors to TF32's 10 bits.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    networks: dict[int, OnnxInTorch] = {}  # by the hash of the content: 10,000 opens share one

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            self._logger = logger
            self.engine_host_code_allowed = False

        def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
            key = hash(content)
            if key not in networks:
                device = "cpu" if stub is not None else "cuda"
                networks[key] = OnnxInTorch(content, device, precision)
                if stub is None:  # its weights are copied and rounded on another stream than computes
                    torch.cuda.synchronize()
            return Engine(networks[key], window, graphs, stub, self._logger)

    return SimpleNamespace(
        __version__=VERSION,
        DataType=DataType,
        TensorIOMode=TensorIOMode,
        ExecutionContextAllocationStrategy=ExecutionContextAllocationStrategy,
        ILogger=ILogger,
        Runtime=Runtime,
    )
