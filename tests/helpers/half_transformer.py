"""A part of a transformer in FP16, as exporters of PyTorch write it: a pass of ONNX Runtime crashes on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from merkit.engine.artifact import SPEC_KEY
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from onnx import TensorProto, helper, numpy_helper

AUDIO = AudioSpec(window_samples=16_000, frames=32, n_mels=32)
_CHANNELS = 16


def half_transformer() -> onnx.ModelProto:
    """Log-mels to logits; its one convolution makes the pass look at what comes after it."""
    rng = np.random.default_rng(0)

    def half(*shape: int) -> Any:
        return (rng.standard_normal(shape) / 4).astype(np.float16)

    weights = {
        "filters": half(_CHANNELS, 1, 32, 4),
        "bias": half(_CHANNELS),
        "sequence": np.array([0, _CHANNELS, -1]),
        "scale": np.ones(_CHANNELS, np.float16),
        "shift": np.zeros(_CHANNELS, np.float16),
        "matrix": half(_CHANNELS, 4),
        "time": np.array([0]),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "filters", "bias"], ["patches"], strides=[32, 4]),
        helper.make_node("Reshape", ["patches", "sequence"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("LayerNormalization", ["tokens", "scale", "shift"], ["normal"], axis=-1),
        helper.make_node("Transpose", ["normal"], ["by_time"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["by_time", "matrix"], ["all"]),
        helper.make_node("Cast", ["all"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["whole", "time"], ["logits"], keepdims=0),
    ]
    shape = ["batch", 1, AUDIO.n_mels, AUDIO.frames]
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {SPEC_KEY: ModelSpec("half", QUADRANTS, AUDIO).to_json()})
    return model
