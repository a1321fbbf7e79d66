import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from merkit.engine.artifact import open_artifact
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import EvidenceSpec, ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.export.fp16_range import fp16_range
from merkit.export.precision import (
    FP16_MAX,
    fp16_from_onnx,
    int8_from_onnx,
    layers_to_quantize,
    tensors_to_quantize,
)
from merkit.export.torch_to_onnx import onnx_from_network
from merkit.training.networks.audiocnn import AudioCNN
from merkit.training.networks.evidence import Evidence
from merkit.training.networks.musicnn import MusiCNN
from placement import check_fp16, check_int8
from torch import nn


def test_a_file_is_the_network_and_says_nothing_of_the_machine(tmp_path: Path, spec: ModelSpec) -> None:
    torch.manual_seed(0)
    network = AudioCNN(len(spec.labels))
    path = tmp_path / "net.onnx"
    onnx_from_network(network, spec, path)
    assert open_artifact(str(path)).spec == spec
    content = path.read_bytes()
    for trace in (b".py", b"site-packages", str(tmp_path).encode(), str(Path.home()).encode()):
        assert trace not in content
    log_mels = np.random.default_rng(0).standard_normal(
        (3, 1, spec.audio.n_mels, spec.audio.frames), np.float32
    )
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": log_mels})
    with torch.inference_mode():
        np.testing.assert_allclose(np.asarray(logits), network(torch.from_numpy(log_mels)), atol=1e-5)


def test_the_evidence_comes_beside_the_logits(tmp_path: Path, spec: ModelSpec) -> None:
    """And the network's weights keep their names, by which a later training finds them."""
    torch.manual_seed(0)
    spec = dataclasses.replace(spec, evidence=EvidenceSpec(0.0, (0.0, 1.0), 1.0, 0.3))
    network = nn.Sequential(
        nn.AvgPool2d((1, spec.audio.frames)), nn.Flatten(), nn.Linear(spec.audio.n_mels, 4)
    )
    evidence = Evidence(spec.audio.n_mels, spec.audio.frames)
    onnx_from_network(network, spec, tmp_path / "net.onnx", evidence)
    artifact = open_artifact(str(tmp_path / "net.onnx"))
    assert artifact.spec == spec
    names = {tensor.name for tensor in onnx.load(artifact.path).graph.initializer}
    assert {"2.weight", "2.bias"} < names
    assert any(name.startswith("evidence/") for name in names)
    log_mels = np.random.default_rng(0).standard_normal(
        (3, 1, spec.audio.n_mels, spec.audio.frames), np.float32
    )
    with torch.inference_mode():
        expected = torch.hstack([network(torch.from_numpy(log_mels)), evidence(torch.from_numpy(log_mels))])
    with open_runtime(artifact) as runtime:
        np.testing.assert_allclose(runtime.infer(log_mels), expected, atol=1e-4)


def test_musicnn_in_every_precision(tmp_path: Path) -> None:
    """Loud and silent images too: nothing leaves FP16's range, and all layers can be INT8."""
    torch.manual_seed(0)
    audio = PRESETS["musicnn"]
    network, path = MusiCNN(2).eval(), tmp_path / "musicnn.onnx"
    onnx_from_network(network, ModelSpec("musicnn", ("happy", "sad"), audio), path)
    model = onnx.load(path)
    decibels = np.random.default_rng(0).uniform(-100, 60, (2, 1, audio.n_mels, audio.frames))
    log_mels = ((decibels - audio.mean[0]) / audio.std[0]).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(log_mels)).numpy()
    layers = layers_to_quantize(model)
    assert len(layers) == 5 + 3 + 2
    half = fp16_from_onnx(model)
    check_fp16(half)
    assert 0 < fp16_range(half, log_mels[:1]).peaks[0][1] < FP16_MAX
    eight = int8_from_onnx(model, dict.fromkeys(tensors_to_quantize(model, layers), (-8.0, 8.0)))
    assert check_int8(eight, model) == len(layers)
    for graph, tolerance in ((model, 1e-5), (half, 5e-3)):
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        (logits,) = session.run(["logits"], {"images": log_mels})
        np.testing.assert_allclose(np.asarray(logits), expected, atol=tolerance)
