"""A network of ours back from the FP32 .onnx that it was exported to, so that it can be trained further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from ...engine.artifact import Artifact, open_artifact
from ...engine.errors import ArtifactError
from ...engine.runtimes import open_runtime
from ...engine.spec import ModelSpec
from .checkpoint import unfilled_network
from .weights_file import not_finite

_FOLDED = "_bias"  # so the exporter names the bias of a convolution that the norm after it was put into
_CLOSE = 1e-3  # of logits


def network_from_onnx(path: Path) -> tuple[nn.Module, ModelSpec]:
    """The network, in evaluation mode on the CPU, and its ModelSpec.

    An export folds norms into convolutions. Here such a norm changes nothing; ``unfold_norms`` gives it back
    what a training needs. That the network gives the file's logits is tried before it is returned.

    Raises:
        UsageError: no such file, or a backbone that this version does not know.
        ArtifactError: see ``open_artifact``; or the weights hold NaN or infinity, are quantized, in FP16, of
            a graph that was not made from this network, or so changed by the export that they cannot be told.
    """
    artifact = open_artifact(str(path))
    spec = artifact.spec
    graph = onnx.load_from_string(artifact.content).graph
    called = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "Cast"}
    tensors = {
        called.get(tensor.name, tensor.name): torch.from_numpy(
            numpy_helper.to_array(tensor).astype(np.float32)
        )
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT or tensor.name in called  # see with_half_weights
    }
    try:
        network = unfilled_network(spec, tensors).eval()
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from None
    _fill(network, tensors, spec)
    if reason := not_finite(network.state_dict()):
        raise ArtifactError(f"{path}: {reason}")
    if not _agree(network, artifact):
        raise ArtifactError(
            f"{path}: the weights of {spec.backbone} cannot be told from this graph (is it in FP16 or INT8, "
            "or of another version?): give the run's folder or its checkpoint.safetensors"
        )
    return network, spec


def folded_norms(network: nn.Module, log_mels: Tensor) -> list[tuple[str, str]]:
    """Each norm that follows a convolution or a linear layer: the paths of both, that layer's first."""
    outputs: dict[int, str] = {}
    pairs: list[tuple[str, str]] = []
    kept: list[Tensor] = []  # a tensor that has gone would lend its id to another

    def of_layer(name: str):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            kept.append(output)
            outputs[id(output)] = name

        return hook

    def of_norm(name: str):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if id(inputs[0]) in outputs:
                pairs.append((outputs[id(inputs[0])], name))

        return hook

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            handles.append(module.register_forward_hook(of_layer(name)))
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            handles.append(module.register_forward_hook(of_norm(name)))
    with torch.inference_mode():
        network(log_mels)
    for handle in handles:
        handle.remove()
    return pairs


def unfold_norms(network: nn.Module, log_mels: Tensor) -> int:
    """Gives norms that an export folded away their statistics again, in place; the outputs stay the same.

    In a training such a norm would scale its input, which it does not do in evaluation: the network would
    forget at its first step. Here it learns the mean and the deviation of what it gets for ``log_mels``.

    Returns:
        How many there were.
    """
    network.eval()
    folded = [norm for _, norm in folded_norms(network, log_mels[:1]) if _is_folded(network, norm)]

    def learn(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)
        values = inputs[0].transpose(0, 1).flatten(1)
        mean, variance = values.mean(dim=1), values.var(dim=1, correction=0)
        state = module.state_dict()
        module.load_state_dict(
            {
                **state,
                "weight": (variance + module.eps).sqrt(),
                "bias": state["bias"] + mean,
                "running_mean": mean,
                "running_var": variance,
            }
        )

    handles = [network.get_submodule(norm).register_forward_pre_hook(learn) for norm in folded]
    with torch.no_grad():
        network(log_mels)
    for handle in handles:
        handle.remove()
    return len(folded)


def _is_folded(network: nn.Module, norm: str) -> bool:
    module = network.get_submodule(norm)
    assert isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)
    if module.running_mean is None or module.running_var is None or not module.affine:
        return False
    unscaled = bool((module.weight == 1).all() and (module.running_mean == 0).all())
    return unscaled and torch.allclose(
        module.running_var, torch.full_like(module.running_var, 1 - module.eps)
    )


def _fill(network: nn.Module, tensors: dict[str, Tensor], spec: ModelSpec) -> None:
    """Copies every tensor by its name, and the biases of folded norms into those norms."""
    state = network.state_dict()
    audio = spec.audio
    pairs = folded_norms(network, torch.zeros(1, 1, audio.n_mels, audio.frames))
    for layer, norm in pairs:
        bias = tensors.pop(f"{layer}.weight{_FOLDED}", None)
        if bias is not None and bias.shape == state[f"{norm}.bias"].shape:
            module = network.get_submodule(norm)
            tensors[f"{norm}.weight"] = torch.ones_like(bias)
            tensors[f"{norm}.bias"] = bias
            tensors[f"{norm}.running_mean"] = torch.zeros_like(bias)
            tensors[f"{norm}.running_var"] = torch.full_like(bias, 1 - module.eps)  # pyright: ignore
    for name, tensor in tensors.items():
        if name in state and tensor.shape == state[name].shape:
            state[name] = tensor
    network.load_state_dict(state)


@torch.inference_mode()
def _agree(network: nn.Module, artifact: Artifact) -> bool:
    audio = artifact.spec.audio
    log_mels = np.random.default_rng(0).normal(0, 1, (4, 1, audio.n_mels, audio.frames)).astype(np.float32)
    with open_runtime(artifact, "onnxruntime", 1) as runtime:
        expected = runtime.infer(log_mels)[:, : len(artifact.spec.labels)]
    logits = network(torch.from_numpy(log_mels)).numpy()
    return bool(np.abs(logits - expected).max() <= _CLOSE * max(1.0, float(np.abs(expected).max())))
