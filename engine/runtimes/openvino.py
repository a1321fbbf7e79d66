"""OpenVINO on the CPU: FP32, bf16 where the CPU computes it, INT8 from our QDQ graphs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..errors import ArtifactError, MerError

Precision = Literal["fp32", "bf16"]


class OpenVino:
    """See ``Runtime``. One image after the other it is fastest with ``streams`` "latency": all cores at one.

    With "throughput" a batch is cut over as many streams as OpenVINO thinks best for the machine.
    INT8 layers of a graph run as INT8 whatever ``precision`` says of the others.

    Raises:
        ArtifactError: OpenVINO refuses the graph.
        MerError: not installed, or bf16 on a CPU that does not compute it: OpenVINO would use FP32 and
            say nothing.
    """

    name = "openvino"

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
            # Its own choice would be bf16 where there is AMX: labels would depend on the machine.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.compile_model(core.read_model(artifact.content), "CPU", options)
        except RuntimeError as error:
            raise ArtifactError(f"{artifact.path}: OpenVINO refuses it: {error}") from None
        count = 1 if streams == "latency" else model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [model.create_infer_request() for _ in range(count)]

    def infer(self, images: Float32) -> Float32:
        parts = np.array_split(images, min(len(self._requests), len(images)))
        used = list(zip(self._requests, parts, strict=False))
        if len(used) == 1:
            return self._requests[0].infer({"images": images}, share_inputs=True)["logits"]
        for request, part in used:
            request.start_async({"images": part}, share_inputs=True)
        for request, _ in used:
            request.wait()
        return np.concatenate([request.get_tensor("logits").data for request, _ in used])

    def close(self) -> None:
        self._requests.clear()

    def __enter__(self) -> OpenVino:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def has_bf16() -> bool:
    """Whether OpenVINO computes bf16 on this CPU."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _core() -> Any:
    """Imported here, so that every module of the engine imports in a base install."""
    try:
        import openvino
    except ModuleNotFoundError:
        raise MerError('OpenVINO is not installed: pip install "merkit[openvino]"') from None
    return openvino.Core()


def open_runtime(artifact: Artifact, threads: int) -> OpenVino:
    """See ``merkit.engine.runtimes.open_runtime``."""
    return OpenVino(artifact, threads)
