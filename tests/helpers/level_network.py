"""A network that hears nothing but the level of white noise, so that what it says is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import soundfile
from merkit.engine.artifact import SPEC_KEY
from merkit.engine.labelling.file_windows import WindowOptions, log_mels_from_file
from merkit.engine.spec import AudioSpec, ModelSpec
from onnx import TensorProto, helper, numpy_helper

AUDIO = AudioSpec(window_samples=16_000, frames=32, n_mels=32)
RATE = 16_000


def noise(rms_db: float, seed: int, seconds: float = 3.0) -> np.ndarray:
    """White noise; ``rms_db`` is below full scale."""
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (10 ** (rms_db / 20) * samples / np.sqrt(np.mean(samples**2))).astype(np.float32)


def write_noise(path: Path, rms_db: float, seed: int, seconds: float = 3.0) -> Path:
    """The same as a WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(rms_db, seed, seconds), RATE, subtype="FLOAT")
    return path


def write_level_network(
    path: Path,
    labels: Sequence[str] = ("loud", "quiet"),
    edge_db: float = -25,
    slope: float = 1,
    **facts: Any,
) -> Path:
    """The first label above ``edge_db`` RMS of white noise, else the second; others have logits of -20.

    The mean log-mel is linear in the level, so a larger ``slope`` is surer.
    """
    at_edge = write_noise(path.with_suffix(".edge.wav"), edge_db, 0)
    edge = float(np.mean(log_mels_from_file(str(at_edge), WindowOptions(AUDIO)).log_mels))
    at_edge.unlink()
    weight, bias = np.zeros((1, len(labels)), np.float32), np.full(len(labels), -20, np.float32)
    weight[0, :2] = slope, -slope
    bias[:2] = -slope * edge, slope * edge
    shape = ["batch", 1, AUDIO.n_mels, AUDIO.frames]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
            helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
        ],
        "level",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(labels)])],
        [
            numpy_helper.from_array(np.array([2, 3]), "axes"),
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    spec = ModelSpec("level", tuple(labels), AUDIO, provenance=facts)
    helper.set_model_props(network, {SPEC_KEY: spec.to_json()})
    onnx.save(network, path)
    return path
