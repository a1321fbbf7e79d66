"""The network that a training begins with: random, published, or trained before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import Clip
from ...engine.spectrogram.log_mel import log_mel_from_decibels
from ..embeddings.head import fit_head
from ..fit.batches import TrainingData
from ..networks.backbones import build_backbone, head_parameters, head_paths, new_outputs
from ..networks.onnx_weights import unfold_norms
from ..networks.trained import names_trained_network, trained_network
from .pretraining import load_pretrained
from .provenance import Job

_NORM_CLIPS = 64  # that norms learn their statistics from, spread over all: folders come label by label
_BATCHES = 900  # that a norm's average over all batches counts as: 20 epochs of 720 clips
_WINDOWS_AT_ONCE = 32


def network_to_train(
    job: Job,
    data: TrainingData,
    clips: Sequence[Clip],
    labels: Sequence[str],
    outputs: int,
    pretrained: Path | None = None,
) -> nn.Module:
    """The network of ``job`` with its initial weights, and with what is not to be trained frozen.

    Args:
        clips: those of ``data``.
        outputs: those of the labels, and after them those of tags and vectors.
        pretrained: a file of ``pretrained_weights``; without one all weights are those of the protocol.
    """
    protocol = job.protocol
    torch.manual_seed(protocol.recipe.seed)
    if names_trained_network(protocol.weights):
        trained = trained_network(protocol.weights)
        network = trained.network
        spread = np.linspace(0, len(data.training) - 1, min(_NORM_CLIPS, len(data.training)))
        unfold_norms(network, _log_mels(data, data.training[spread.astype(int)]))
        _keep_averages(network)
        known = {*trained.labels} == {*labels}
        kept = [trained.labels.index(label) for label in labels] if known else []
        if kept != list(range(outputs)):
            _give_outputs(network, job.model, outputs, kept)
        if not known and job.plan == "head":
            _fit_heads(network, job.model, data, clips, labels, protocol.recipe.balance)
    else:
        network = build_backbone(job.model, outputs, protocol.weights, protocol.extra_head)
    if pretrained:
        load_pretrained(network, pretrained, head_paths(network, job.model))
        _keep_averages(network)
    if protocol.recipe.layers == "head":
        network.requires_grad_(False)
        for parameter in head_parameters(network, job.model):
            parameter.requires_grad_(True)
    return network


def _keep_averages(network: nn.Module) -> None:
    """Lets a norm's average over all batches (momentum None) count as that of ``_BATCHES``.

    Whatever the file says: an .onnx says nothing, and the first batch would be all that such a norm knew.
    """
    for module in network.modules():
        norm = module if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) else None
        if norm and norm.momentum is None and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.fill_(_BATCHES)


def _give_outputs(network: nn.Module, name: str, outputs: int, kept: Sequence[int]) -> None:
    """New heads of random weights, but for the first outputs, which are those of ``kept`` of the old ones."""
    old = {path: network.get_submodule(path).state_dict() for path in head_paths(network, name)}
    new_outputs(network, name, outputs)
    with torch.no_grad():
        for path, state in old.items():
            for key, tensor in network.get_submodule(path).named_parameters():
                tensor[: len(kept)].copy_(state[key][list(kept)])


def _fit_heads(
    network: nn.Module,
    name: str,
    data: TrainingData,
    clips: Sequence[Clip],
    labels: Sequence[str],
    balance: bool,
) -> None:
    """Gives the labels' outputs the weights of a logistic regression on what their layer gets.

    All layers learn then from the first step on; from a random head they would first learn to serve it
    (Kumar et al., 2022). A head that is a convolution keeps its random weights.
    """
    for path in head_paths(network, name):
        layer = network.get_submodule(path)
        if not isinstance(layer, nn.Linear):
            continue
        features = _inputs_of(layer, network, data)
        fitted = fit_head(features, [clips[i] for i in data.training], labels, balance).layer
        with torch.no_grad():
            layer.weight[: len(labels)].copy_(fitted.weight)
            layer.bias[: len(labels)].copy_(fitted.bias)


def _inputs_of(layer: nn.Linear, network: nn.Module, data: TrainingData) -> list[Float32]:
    """What a layer gets for the windows of each training clip, ``[windows, features]``."""
    heard: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0].detach()))
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(data.training), _WINDOWS_AT_ONCE):
            network(_log_mels(data, data.training[start : start + _WINDOWS_AT_ONCE]))
    handle.remove()
    ends = np.cumsum([len(data.windows[i]) for i in data.training])
    return np.split(torch.cat(heard).numpy(), ends[:-1])


def _log_mels(data: TrainingData, chosen: np.ndarray) -> Tensor:
    """All windows of the chosen clips, ``[windows, 1, mels, frames]``."""
    rows = [log_mel_from_decibels(window, data.spec) for i in chosen for window in data.windows[i]]
    return torch.from_numpy(np.stack(rows))[:, None]
