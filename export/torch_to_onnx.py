"""A trained network to one ONNX file that carries its ModelSpec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from ..engine.arrays import Float32
from ..engine.artifact import SPEC_KEY
from ..engine.files import write_whole
from ..engine.spec import ModelSpec
from . import OPSET
from .evidence import without_evidence


def onnx_from_checkpoint(path: Path, target: Path) -> Callable[[Float32], Float32]:
    """Writes a safetensors checkpoint's network as ``target`` and returns the network itself as a function.

    The function maps log-mels ``[batch, 1, mels, frames]`` to logits ``[batch, labels]``.

    Raises:
        UsageError: no such file.
        ArtifactError: a pickle, no ModelSpec, or tensors that do not fit.
    """
    from ..training.networks.checkpoint import evidence_from_checkpoint, network_from_checkpoint

    network, spec = network_from_checkpoint(path)
    return _written(network, spec, target, evidence_from_checkpoint(path))


def onnx_from_weights(path: Path, spec: ModelSpec, target: Path) -> Callable[[Float32], Float32]:
    """As ``onnx_from_checkpoint``, from a state dict of the spec's backbone that someone else saved.

    Raises:
        UsageError: no such file, or an unknown backbone.
        MerError: a pickle of something else, or weights that do not fit.
    """
    from ..training.networks.backbones import backbone_from_weights

    return _written(backbone_from_weights(spec.backbone, len(spec.labels), path), spec, target)


def _written(
    network: nn.Module, spec: ModelSpec, target: Path, evidence: nn.Module | None = None
) -> Callable[[Float32], Float32]:
    onnx_from_network(network, spec, target, evidence)

    def infer(log_mels: Float32) -> Float32:
        with torch.inference_mode():
            return network(torch.from_numpy(np.ascontiguousarray(log_mels))).numpy()

    return infer


def onnx_from_network(
    network: nn.Module, spec: ModelSpec, target: Path, evidence: nn.Module | None = None
) -> None:
    """Writes FP32 ONNX: ``images`` ``[batch, 1, mels, frames]`` to ``logits`` ``[batch, labels]``.

    The file is there whole or not at all.

    Args:
        evidence: gives ``evidence`` ``[batch, 2]`` of the same images; to be there where the spec has some.

    Raises:
        OSError: it cannot be written.
    """
    model = _exported(network, spec, "logits")
    if evidence is not None:
        # By itself, so that the names of the network's weights stay those of its state dict.
        _, part = without_evidence(_exported(evidence, spec, "evidence"))
        assert part is not None
        model = part.added_to(model)
    onnx.helper.set_model_props(model, {SPEC_KEY: spec.to_json()})
    onnx.checker.check_model(model, full_check=True)
    write_whole(target, model.SerializeToString())


def _exported(network: nn.Module, spec: ModelSpec, output: str) -> onnx.ModelProto:
    network = network.eval().to("cpu", memory_format=torch.contiguous_format)  # pyright: ignore
    example = torch.zeros(2, 1, spec.audio.n_mels, spec.audio.frames)
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=[output],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    _clear_traces(model.graph)
    return model


def _clear_traces(graph: onnx.GraphProto) -> None:
    """torch writes each node's stack trace into the file, with paths of this machine."""
    parts = (graph.node, graph.value_info, graph.input, graph.output, graph.initializer)
    for part in (graph, *(item for items in parts for item in items)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
