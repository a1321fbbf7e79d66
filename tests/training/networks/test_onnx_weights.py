"""A network comes back from its own export, and its norms learn as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from merkit.engine.artifact import open_artifact, path_from_model
from merkit.engine.errors import ArtifactError
from merkit.engine.runtimes import open_runtime
from merkit.export.precision import fp16_from_onnx
from merkit.training.networks.onnx_weights import network_from_onnx, unfold_norms
from torch import nn


@pytest.mark.parametrize("name", ["accurate", "audiocnn", "audioset", "hindi5", "mobilenetv3", "squeezenet"])
def test_a_bundled_network_gives_its_own_logits(name: str):
    path = path_from_model(name)
    network, spec = network_from_onnx(path)
    audio = spec.audio
    log_mels = np.random.default_rng(5).normal(0, 1, (2, 1, audio.n_mels, audio.frames)).astype(np.float32)
    with torch.inference_mode():
        ours = network(torch.from_numpy(log_mels)).numpy()
    with open_runtime(open_artifact(str(path)), "onnxruntime", 1) as runtime:
        assert np.allclose(ours, runtime.infer(log_mels)[:, : len(spec.labels)], atol=1e-3)


def test_unfolded_norms_change_no_output_and_scale_what_they_get():
    network, spec = network_from_onnx(path_from_model("audiocnn"))
    audio = spec.audio
    log_mels = torch.from_numpy(
        np.random.default_rng(5).normal(0, 1, (4, 1, audio.n_mels, audio.frames)).astype(np.float32)
    )
    with torch.inference_mode():
        before = network(log_mels)
    assert unfold_norms(network, log_mels) == 9
    assert unfold_norms(network, log_mels) == 0  # done
    norm = network.get_submodule("features.1")
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.inference_mode():
        assert torch.allclose(network(log_mels), before, atol=1e-3)
        stem = network.get_submodule("features.0")(log_mels)
        in_training = torch.nn.functional.batch_norm(
            stem, None, None, norm.weight, norm.bias, training=True, eps=norm.eps
        )
        assert torch.allclose(in_training, norm.eval()(stem), atol=1e-3)


def test_what_is_no_fp32_network_of_ours_is_refused(tmp_path: Path):
    model = onnx.load(path_from_model("squeezenet"))
    half = fp16_from_onnx(model)
    (tmp_path / "half.onnx").write_bytes(half.SerializeToString())
    other = onnx.load(path_from_model("squeezenet"))
    weights = {tensor.name for tensor in other.graph.initializer}
    for tensor in other.graph.initializer:
        tensor.name += "_x"
    for node in other.graph.node:
        node.input[:] = [f"{name}_x" if name in weights else name for name in node.input]
    (tmp_path / "renamed.onnx").write_bytes(other.SerializeToString())
    for name in ("half", "renamed"):
        with pytest.raises(ArtifactError, match="cannot be told from this graph"):
            network_from_onnx(tmp_path / f"{name}.onnx")
