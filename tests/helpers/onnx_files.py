"""A network small enough to run at once. Not in conftest.py: spawned children would import another one."""

from __future__ import annotations

import numpy as np
import onnx
from merkit.engine.artifact import SPEC_KEY
from merkit.engine.spec import AudioSpec, ModelSpec
from onnx import TensorProto, helper, numpy_helper


def tiny_onnx(spec: ModelSpec | None, seed: int = 0) -> onnx.ModelProto:
    """Mean over time, then a linear layer an output: they depend on the spectrum, and nothing is trained."""
    audio, outputs = (spec.audio, spec.outputs) if spec else (AudioSpec(), {"logits": 4})
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.standard_normal((audio.n_mels, columns)).astype(np.float32) / 100
        for name, columns in outputs.items()
    }
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images", "axes"], ["means"], keepdims=0),
            *(helper.make_node("MatMul", ["means", f"{name}_weight"], [name]) for name in outputs),
        ],
        "tiny",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.FLOAT, ["batch", 1, audio.n_mels, audio.frames]
            )
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns])
            for name, columns in outputs.items()
        ],
        [
            *(numpy_helper.from_array(weight, f"{name}_weight") for name, weight in weights.items()),
            numpy_helper.from_array(np.array([1, 3]), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if spec:
        helper.set_model_props(model, {SPEC_KEY: spec.to_json()})
    return model
