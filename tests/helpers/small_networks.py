"""A small network with every structure that precision depends on, and generated labelled music."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import soundfile
from merkit.engine.artifact import SPEC_KEY
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from onnx import ModelProto, TensorProto, helper, numpy_helper

AUDIO = AudioSpec(window_samples=16_000, frames=32, n_mels=32)
"""One second: small log-mels, fast tests."""


class Net:
    """Writes a graph node by node."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def weight(self, name: str, *shape: int, gain: float = 1.0) -> str:
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        values = self.rng.standard_normal(shape) * gain * np.sqrt(2 / fan)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def constant(self, name: str, values: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def conv(
        self, name: str, source: str, ins: int, outs: int, kernel: int = 1, stride: int = 1, group: int = 1,
        gain: float = 1.0,
    ) -> str:  # fmt: skip
        pad = kernel // 2
        weight = self.weight(f"{name}.weight", outs, ins // group, kernel, kernel, gain=gain)
        bias = self.weight(f"{name}.bias", outs)
        return self.op("Conv", name, source, weight, bias, kernel_shape=[kernel, kernel], group=group,
                       strides=[stride, stride], pads=[pad] * 4)  # fmt: skip


def small_network(
    seed: int = 0, gain: float = 1.0, audio: AudioSpec = AUDIO, **provenance: Any
) -> ModelProto:
    """Stem, depthwise, squeeze-excite, hard-swish, a plain and a projected shortcut, global mean, Gemm.

    ``gain`` scales the stem's weights: a large one overflows FP16.
    """
    net = Net(seed)
    stem = net.op("HardSwish", "stem_act", net.conv("stem", "images", 1, 8, 3, 2, gain=gain))
    # an inverted residual: expand, depthwise, squeeze-excite, project, plain shortcut
    wide = net.op("HardSwish", "expand_act", net.conv("expand", stem, 8, 16))
    deep = net.op("HardSwish", "depth_act", net.conv("depth", wide, 16, 16, 3, group=16))
    axes = net.constant("axes", np.array([2, 3]))
    squeezed = net.op("ReduceMean", "se_mean", deep, axes, keepdims=1)
    gate = net.op("Relu", "se_relu", net.conv("se_reduce", squeezed, 16, 4))
    gate = net.op("HardSigmoid", "se_gate", net.conv("se_expand", gate, 4, 16))
    scaled = net.op("Mul", "se_mul", deep, gate)
    first = net.op("Add", "add_plain", net.conv("project", scaled, 16, 8), stem)
    # a ResNet block whose shortcut is a convolution
    left = net.op("Relu", "res_relu", net.conv("res_1", first, 8, 16, 3, 2))
    left = net.conv("res_2", left, 16, 16, 3)
    right = net.conv("res_down", first, 8, 16, 1, 2)
    block = net.op("Relu", "res_out", net.op("Add", "add_down", left, right))
    mean = net.op("ReduceMean", "pool", block, axes, keepdims=0)
    matrix, bias = net.weight("head.weight", 4, 16), net.weight("head.bias", 4)
    net.nodes.append(helper.make_node("Gemm", [mean, matrix, bias], ["logits"], name="head", transB=1))
    shape = ["batch", 1, audio.n_mels, audio.frames]
    graph = helper.make_graph(
        net.nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        net.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    spec = ModelSpec("small", QUADRANTS, audio, provenance=provenance)
    helper.set_model_props(model, {SPEC_KEY: spec.to_json()})
    return onnx.shape_inference.infer_shapes(model)


def write_network(path: Path, **options: Any) -> Path:
    """Writes ``small_network(**options)``."""
    path.write_bytes(small_network(**options).SerializeToString())
    return path


def write_music(folder: Path, artists: int = 5) -> Path:
    """Generates two clips of three seconds for each of ``artists`` artists a label, listed in a CSV."""
    rows = ["path,label,group"]
    time = np.arange(3 * 16_000) / 16_000
    for position, label in enumerate(QUADRANTS):
        for artist in range(artists):
            for take in range(2):
                rng = np.random.default_rng([position, artist, take])
                tone = np.sin(2 * np.pi * (110 * (position + 1) + 7 * artist + take) * time)
                samples = 0.4 * tone + 0.1 * rng.standard_normal(len(time))
                name = f"{label}-{artist}-{take}.wav"
                soundfile.write(folder / name, samples.astype(np.float32), 16_000)
                rows.append(f"{name},{label},{label}-{artist}")
    (folder / "clips.csv").write_text("\n".join(rows))
    return folder / "clips.csv"
