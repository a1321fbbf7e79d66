"""Which layers INT8 harms most, measured one layer at a time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from ..engine.arrays import Float32
from .onnx_session import open_session
from .precision import Ranges, layers_to_quantize, qdq_from_onnx

_BATCH = 8


@dataclass(frozen=True)
class LayerError:
    """``error``: the norm of the logits' change, with this layer alone in INT8, over the logits' norm."""

    layer: str
    error: float


def rank_layers(
    model: ModelProto, ranges: Ranges, log_mels: Float32, keep: Collection[str] = ()
) -> list[LayerError]:
    """Quantizes each layer alone and measures the logits; the most harmful layer first.

    Args:
        model: FP32.
        ranges: of the activations, from ``ranges_from_log_mels``.
        log_mels: a few real windows ``[windows, 1, mels, frames]``; every layer costs a pass over them.
        keep: layers that will not be quantized anyway.
    """
    reference = _logits(model.SerializeToString(), log_mels)
    scale = max(float(np.linalg.norm(reference)), 1e-12)
    layers = layers_to_quantize(model)
    errors = []
    for layer in layers:
        if layer in keep:
            continue
        alone = qdq_from_onnx(model, ranges, [name for name in layers if name != layer])
        change = _logits(alone.SerializeToString(), log_mels) - reference
        errors.append(LayerError(layer, float(np.linalg.norm(change)) / scale))
    return sorted(errors, key=lambda result: -result.error)


def _logits(content: bytes, log_mels: Float32) -> Float32:
    session = open_session(content)
    starts = range(0, len(log_mels), _BATCH)
    return np.concatenate([session.run(["logits"], {"images": log_mels[i : i + _BATCH]})[0] for i in starts])
