"""ONNX Runtime for any graph, with any inputs and outputs; engine/runtimes opens whole models only."""

from __future__ import annotations

from typing import Any

from ..engine.runtimes.onnxruntime import passes_to_leave_out
from .library_step import library_step


def open_session(model: bytes | str, fused: bool = True) -> Any:
    """ONNX Runtime on the CPU, computing a QDQ graph as it is written.

    Args:
        model: a serialized model, or the path of its file.
        fused: False leaves every node as it stands.

    Raises:
        MerError: it refuses the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its exceptions say it; its log prints names as they stand in the file
    # It would quantize biases too, which TensorRT does not, and does it wrongly in FP16 graphs.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with library_step("loading the graph into ONNX Runtime"):
        return onnxruntime.InferenceSession(
            model,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=passes_to_leave_out(model) if isinstance(model, bytes) else [],
        )
