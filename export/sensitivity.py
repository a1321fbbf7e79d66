"""Which layers INT8 hurts, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from ..engine.arrays import Float32
from .precision import Ranges, layers_to_quantize, qdq_from_onnx


@dataclass(frozen=True)
class LayerError:
    """``error`` is the norm of the logits' change over the norm of the logits, this layer alone in INT8."""

    layer: str
    error: float


def rank_layers(
    model: ModelProto,
    ranges: Ranges,
    images: Float32,
    keep: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[LayerError]:
    """Quantizes each layer alone and measures the logits; the most harmful first.

    Args:
        model: FP32.
        images: a few real windows; every layer costs a pass over them.
        keep: layers that are not quantized anyway.
        progress: is called with (layers done, layers).
    """
    reference = _logits(model.SerializeToString(), images)
    scale = max(float(np.linalg.norm(reference)), 1e-12)
    layers = [name for name in layers_to_quantize(model) if name not in set(keep)]
    found = []
    for done, layer in enumerate(layers):
        if progress:
            progress(done, len(layers))
        alone = qdq_from_onnx(model, ranges, [name for name in layers_to_quantize(model) if name != layer])
        change = _logits(alone.SerializeToString(), images) - reference
        found.append(LayerError(layer, float(np.linalg.norm(change)) / scale))
    return sorted(found, key=lambda each: -each.error)


def open_session(content: bytes) -> Any:
    """ONNX Runtime on the CPU, computing a QDQ graph as it is written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # It would quantize biases too, which TensorRT does not, and in FP16 graphs does it wrongly.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _logits(content: bytes, images: Float32) -> Float32:
    session = open_session(content)
    parts = [session.run(["logits"], {"images": images[at : at + 8]})[0] for at in range(0, len(images), 8)]
    return np.concatenate(parts)
