"""Fixtures that every part's tests share: generated audio and a network small enough to run at once."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parent))

from mer.engine.artifact import SPEC_KEY
from mer.engine.spec import QUADRANTS, AudioSpec, ModelSpec

# Shells start background jobs with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No deadline: other work may slow the machine. CI tries the same examples every time.
settings.register_profile("mer", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("mer")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees, or touches, the models of the machine it runs on."""
    monkeypatch.setenv("MER_HOME", str(tmp_path / "mer-home"))


@pytest.fixture
def spec() -> ModelSpec:
    """The default sound, four quadrants."""
    return ModelSpec("tiny", QUADRANTS, AudioSpec(), provenance={"made": "by a test"})


def tiny_onnx(spec: ModelSpec | None, seed: int = 0) -> onnx.ModelProto:
    """Mean over time, then one linear layer: labels depend on the spectrum, and nothing is trained."""
    audio, classes = (spec.audio, len(spec.labels)) if spec else (AudioSpec(), 4)
    weight = np.random.default_rng(seed).standard_normal((audio.n_mels, classes)).astype(np.float32) / 100
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weight"], ["logits"]),
        ],
        "tiny",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.FLOAT, ["batch", 1, audio.n_mels, audio.frames]
            )
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array([1, 3]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if spec:
        helper.set_model_props(model, {SPEC_KEY: spec.to_json()})
    return model


@pytest.fixture
def tiny_model(tmp_path: Path, spec: ModelSpec) -> Path:
    """An .onnx file with a ModelSpec."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_onnx(spec).SerializeToString())
    return path
