"""OpenVINO on the CPU: FP32, bf16 where the CPU computes it, INT8 from our QDQ graphs."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..closing import ClosedByWith
from ..errors import MerError
from .answers import checked, failure
from .stopping import EndedBySignal

# A batch that takes longer is computed in a thread of OpenVINO's, since only there it can be cancelled; that
# costs up to 3 % of a fast one.
_SLOW_S = 0.25

Precision = Literal["fp32", "bf16"]


class OpenVino(ClosedByWith):
    """See ``Runtime``. Threads may share it: it computes for one after the other.

    Args:
        threads: 0 leaves it to OpenVINO.
        precision: of the layers that the graph does not quantize; INT8 layers run in INT8.
        streams: "latency" computes a batch on all cores at once, which is fastest for single windows;
            "throughput" cuts it over as many streams as OpenVINO thinks best for the machine.

    Raises:
        ArtifactError: OpenVINO refuses the graph; of ``infer``, it cannot compute it.
        ComputationStoppedError: of ``infer``, a signal ended it.
        MerError: it is not installed, or bf16 on a CPU that does not compute it, where OpenVINO would use
            FP32 without a word.
    """

    name: str

    def __init__(
        self,
        artifact: Artifact,
        threads: int = 0,
        precision: Precision = "fp32",
        streams: Literal["latency", "throughput"] = "latency",
    ) -> None:
        core = _core()
        if precision == "bf16" and not has_bf16():
            raise MerError("this CPU does not compute bf16 (no AMX and no AVX512-BF16)")
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": streams.upper(),
            # OpenVINO would choose bf16 where the CPU has AMX, and labels would depend on the machine.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            with _signal_stack_kept():
                model = core.compile_model(core.read_model(artifact.content), "CPU", options)
        except RuntimeError as error:
            raise failure(artifact, "OpenVINO refuses it", error) from None
        self.name = "openvino-bf16" if precision == "bf16" else "openvino"
        self._artifact = artifact
        count = 1 if streams == "latency" else model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [model.create_infer_request() for _ in range(count)]
        self._lock = threading.RLock()  # a request computes one batch at a time, into memory of its own
        self._computing = EndedBySignal(self._cancel)
        self._slow = True  # until the first batch has shown that it is not

    def infer(self, log_mels: Float32) -> Float32:
        if not len(log_mels):  # which it would refuse to compute
            return np.zeros((0, sum(self._artifact.spec.outputs.values())), np.float32)
        try:
            with self._lock, self._computing:
                began = time.perf_counter()
                outputs = self._computed(log_mels)
                self._slow = time.perf_counter() - began > _SLOW_S
        except RuntimeError as error:
            self._computing.check()
            raise failure(self._artifact, "OpenVINO cannot compute it", error) from None
        return checked(outputs, log_mels, self._artifact)

    def _computed(self, log_mels: Float32) -> list[Float32]:
        names = list(self._artifact.spec.outputs)
        parts = np.array_split(log_mels, min(len(self._requests), len(log_mels)))
        used = list(zip(self._requests, parts, strict=False))
        if len(used) == 1 and not self._slow:
            given = self._requests[0].infer({"images": log_mels}, share_inputs=True)
            return [given[name] for name in names]
        for request, part in used:
            request.start_async({"images": part}, share_inputs=True)
        for request, _ in used:
            request.wait()
        return [np.concatenate([request.get_tensor(name).data for request, _ in used]) for name in names]

    def close(self) -> None:
        self._requests.clear()

    def _cancel(self) -> None:
        """Ends the computation; called in another thread."""
        for request in self._requests:
            request.cancel()


def has_bf16() -> bool:
    """Whether OpenVINO computes bf16 on this CPU."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@contextmanager
def _signal_stack_kept() -> Iterator[None]:
    """After the block the thread has its own stack for signals' handlers again.

    OpenVINO sets another, and frees that in whichever thread closes the network: the next signal of this one
    would be a crash.
    """
    if sys.platform != "linux":  # OpenVINO does so there alone
        yield
        return
    libc = ctypes.CDLL(None)
    before = ctypes.create_string_buffer(64)  # a stack_t, which has 24 bytes
    libc.sigaltstack(None, before)
    try:
        yield
    finally:
        libc.sigaltstack(before, None)


def _core() -> Any:
    """OpenVINO itself. Imported here, so that this module can be imported without it."""
    try:
        import openvino
    except ModuleNotFoundError:
        raise MerError('OpenVINO is not installed: pip install "merkit[openvino]"') from None
    return openvino.Core()


def open_runtime(artifact: Artifact, threads: int) -> OpenVino:
    """See ``merkit.engine.runtimes.open_runtime``."""
    return OpenVino(artifact, threads)
