"""Every CNN x FP32, FP16, INT8 x Ampere, Ada, Blackwell: 90 real engines from random weights.

Left out by default for its minutes: ``pytest -m slow tests/export``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from merkit.engine.backbone_names import NETWORKS as KNOWN
from merkit.engine.runtimes import open_runtime
from merkit.engine.spec import QUADRANTS, AudioSpec, ModelSpec
from merkit.engine.spectrogram.presets import PRESETS
from merkit.export.builders import EngineOptions, open_builder
from merkit.export.calibration import ranges_from_log_mels
from merkit.export.checks import LARGEST_TORCH_ERROR, logits_by_batch, parity
from merkit.export.engine_builder import engine_from_onnx
from merkit.export.fp16_range import fp16_range
from merkit.export.precision import (
    FP16_MAX,
    fp16_from_onnx,
    int8_from_onnx,
    layers_to_quantize,
    precision_by_op,
    tensors_to_quantize,
)
from merkit.export.song_log_mels import generated_log_mels
from merkit.export.source import open_source
from merkit.training.networks.backbones import build_backbone
from merkit.training.networks.checkpoint import save_checkpoint
from placement import check_fp16, check_int8

pytest.importorskip("tensorrt_rtx")

NETWORKS = ("alexnet", "vgg16", "resnet18", "resnet50", "mobilenetv2", "mobilenetv3", "densenet121",
            "efficientnet_b0", "squeezenet", "musicnn")  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_exported_in_every_precision_for_every_family(name: str, tmp_path: Path) -> None:
    assert name in KNOWN
    torch.manual_seed(0)
    spec = ModelSpec(name, QUADRANTS, PRESETS["musicnn"] if name == "musicnn" else AudioSpec())
    checkpoint = tmp_path / f"{name}.safetensors"
    save_checkpoint(_settled(build_backbone(name, len(QUADRANTS)), spec), spec, checkpoint)
    source = open_source(str(checkpoint))
    checkpoint.unlink()
    assert source.artifact.spec == spec
    songs = generated_log_mels(spec.audio, 8)

    with open_runtime(source.artifact, "onnxruntime") as runtime:
        fp32 = logits_by_batch(runtime.infer, songs.log_mels, 8)
    assert source.torch_infer is not None
    of_torch = logits_by_batch(source.torch_infer, songs.log_mels, 8)
    assert parity(of_torch, fp32, songs, 1.0).max_error <= LARGEST_TORCH_ERROR

    model = source.model()
    layers = layers_to_quantize(model)
    tensors = tensors_to_quantize(model, layers)
    ranges = ranges_from_log_mels(source.artifact.content, songs.log_mels[:4], tensors, "minmax")
    half = fp16_from_onnx(model)
    check_fp16(half)
    assert 0 < fp16_range(half, songs.log_mels[:1]).peaks[0][1] < FP16_MAX
    eight = int8_from_onnx(model, ranges)
    assert check_int8(eight, model) == len(layers)

    sizes = {}
    for precision, graph in (("fp32", model), ("fp16", half), ("int8", eight)):
        counted = precision_by_op(graph)
        content = graph.SerializeToString()
        for gpu in ("ampere", "ada", "blackwell"):
            options = EngineOptions(gpu=gpu)
            engine = engine_from_onnx(content, options, open_builder("rtx", options))
            sizes[precision, gpu] = len(engine.content)
            # The engine is of the graph's precision, as TensorRT's own parser counts it.
            parsed = engine.facts["precision_parsed"]
            assert parsed["convolution"] == counted["Conv"]
            assert parsed.get("matrix_multiply", {}) == counted.get("Gemm", {})
    assert len(sizes) == 9
    assert all(sizes["fp16", gpu] < sizes["fp32", gpu] for gpu in ("ampere", "ada", "blackwell"))


def _settled(network: torch.nn.Module, spec: ModelSpec) -> torch.nn.Module:
    """With BatchNorm's statistics of real images: else an untrained ResNet-50's logits reach 700."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        network.train()(torch.from_numpy(generated_log_mels(spec.audio, 8).log_mels))
    return network.eval()
