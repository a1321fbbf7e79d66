"""The CNNs of the two papers, from torchvision, with a stem for one channel; and two that are no image's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from ...engine.backbone_names import BACKBONES, backbone_from_name
from ...engine.errors import MerError, UsageError
from .audiocnn import AudioCNN
from .audioset import TAGS as AUDIOSET_TAGS
from .audioset import AudioSetNet, audioset_state, is_audioset_state
from .musicnn import TAGS as MUSICNN_TAGS
from .musicnn import MusiCNN
from .musicnn_weights import MUSICNN_WEIGHTS, is_musicnn_weights, musicnn_state
from .registry import Backbone, outside_backbone
from .weights_file import load_weights, state_dict_from_file


@dataclass(frozen=True)
class _Family:
    build: Callable[..., nn.Module]
    weights: Any
    stem: str  # the first convolution
    head: str  # the last linear layer (SqueezeNet: 1x1 convolution), 1,000 outputs as built


_FAMILIES: Mapping[str, _Family] = {
    "alexnet": _Family(models.alexnet, models.AlexNet_Weights, "features.0", "classifier.6"),
    "vgg16": _Family(models.vgg16, models.VGG16_Weights, "features.0", "classifier.6"),
    "resnet18": _Family(models.resnet18, models.ResNet18_Weights, "conv1", "fc"),
    "resnet50": _Family(models.resnet50, models.ResNet50_Weights, "conv1", "fc"),
    "mobilenetv2": _Family(models.mobilenet_v2, models.MobileNet_V2_Weights, "features.0.0", "classifier.1"),
    "mobilenetv3": _Family(
        models.mobilenet_v3_small, models.MobileNet_V3_Small_Weights, "features.0.0", "classifier.3"
    ),
    "densenet121": _Family(models.densenet121, models.DenseNet121_Weights, "features.conv0", "classifier"),
    "efficientnet_b0": _Family(
        models.efficientnet_b0, models.EfficientNet_B0_Weights, "features.0.0", "classifier.1"
    ),
    "squeezenet": _Family(models.squeezenet1_0, models.SqueezeNet1_0_Weights, "features.0", "classifier.1"),
}
assert set(_FAMILIES) == set(BACKBONES)

PAPER_BACKBONES = tuple(BACKBONES)
"""The nine of the two papers. ``audiocnn`` is this project's own; ``musicnn`` has weights for music."""

_OURS: Mapping[str, Backbone] = {
    "audiocnn": Backbone(AudioCNN, AudioCNN.HEADS),
    "musicnn": Backbone(MusiCNN, MusiCNN.HEADS),
    "audioset": Backbone(AudioSetNet, AudioSetNet.HEADS),
}
_TAGS = {"musicnn": MUSICNN_TAGS, "audioset": AUDIOSET_TAGS}
_AFTER_EMBEDDING = {"audioset": AudioSetNet.EMBEDDING}  # where that is not the head alone
_CLASSIFIER = "classifier"  # of our own networks, as of most of torchvision's


class ExtraHead(nn.Module):
    """A linear layer of ``classes`` outputs after a backbone's own, as in the Indian classical paper."""

    def __init__(self, backbone: nn.Module, classes: int, outputs: int = 1_000) -> None:
        super().__init__()
        self.backbone = backbone
        self.extra = nn.Linear(outputs, classes)

    def forward(self, log_mels: Tensor) -> Tensor:
        return self.extra(self.backbone(log_mels))


def build_backbone(name: str, classes: int, weights: str = "none", extra_head: bool = False) -> nn.Module:
    """A CNN from log-mels ``[batch, 1, mels, frames]`` to logits ``[batch, classes]``.

    The stem for one channel holds the sum of the three-channel stem's filters. This equals the original
    network on a log-mel repeated in three channels.

    Args:
        name: see ``backbone_from_name``.
        weights: the initial weights: "imagenet" (torchvision's, downloaded once), "none" (random), or a
            safetensors or ``torch.save`` file with torchvision's state dict (see ``weights_file``). Those
            of musicnn: see ``musicnn_state``; those of audioset: the published file.
        extra_head: keep the 1,000 outputs (musicnn and audioset: their tags) and put a layer with
            ``classes`` outputs after them; otherwise the last layer is replaced.

    Raises:
        UsageError: an unknown name, or a weights file that does not exist.
        MerError: weights that cannot be downloaded or do not fit.
    """
    name = backbone_from_name(name)
    if is_musicnn_weights(weights) and name != "musicnn":
        raise UsageError(f"{weights} are weights of musicnn, not of {name}")
    if name in _TAGS:
        return _of_music(name, classes, weights, extra_head)
    if name not in _FAMILIES:
        if weights != "none":
            raise UsageError(
                f"{name} has no published weights; it can only begin with none, or a run of its own"
            )
        network = _other(name).build(1_000 if extra_head else classes)
        return ExtraHead(network, classes) if extra_head else network
    family = _FAMILIES[name]
    network = family.build(weights=None)
    if weights != "none":
        load_weights(network, name, _state_dict(family, name, weights))
    # torchvision's MobileNetV3 has 0.01: with a few hundred clips its running statistics do not
    # converge, and evaluation predicts one class only.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    network.set_submodule(family.stem, one_channel_stem(_get(network, family.stem)))
    if extra_head:
        return ExtraHead(network, classes)
    if classes != 1_000:
        network.set_submodule(family.head, _head(_get(network, family.head), classes))
    return network


def backbone_from_weights(name: str, classes: int, path: Path) -> nn.Module:
    """A network from a whole state dict that someone else saved: torchvision's names, and its own head.

    A stem for three channels is made one for one, as in ``build_backbone``.

    Raises:
        UsageError: an unknown name, or no such file.
        MerError: the file holds no state dict, or one of another network or of other labels.
    """
    name = backbone_from_name(name)
    network = build_backbone(name, classes)
    state = state_dict_from_file(path)
    stem = f"{_FAMILIES[name].stem}.weight" if name in _FAMILIES else ""
    if stem in state and state[stem].ndim == 4 and state[stem].shape[1] == 3:
        state[stem] = state[stem].sum(dim=1, keepdim=True)
    load_weights(network, name, state)
    return network.eval()


def check_weights(names: Iterable[str], weights: str) -> None:
    """Whether ``build_backbone`` can begin each network with ``weights``, before any work is done.

    Nothing is downloaded.

    Raises:
        UsageError, MerError: see ``build_backbone``.
    """
    for name in map(backbone_from_name, names):
        downloaded = MUSICNN_WEIGHTS if name == "musicnn" else ("imagenet",) if name in _FAMILIES else ()
        if weights != "none" and weights not in downloaded:
            build_backbone(name, 2, weights)


def head_paths(network: nn.Module, name: str, embedding: bool = False) -> tuple[str, ...]:
    """The layers that give the logits; with ``embedding`` what comes after the embedding."""
    name = backbone_from_name(name)
    if isinstance(network, ExtraHead):
        return ("extra",)
    if embedding and name in _AFTER_EMBEDDING:
        return (_AFTER_EMBEDDING[name],)
    return (_FAMILIES[name].head,) if name in _FAMILIES else _other(name).heads


def _other(name: str) -> Backbone:
    """A network that is not torchvision's: ours, or another package's."""
    backbone = _OURS.get(name) or outside_backbone(name)
    assert backbone is not None  # backbone_from_name knows the name
    return backbone


def new_outputs(network: nn.Module, name: str, classes: int) -> None:
    """Gives the network, in place, heads of ``classes`` outputs with random weights."""
    for path in head_paths(network, name):
        network.set_submodule(path, _head(_get(network, path), classes))


def keep_outputs(network: nn.Module, name: str, classes: int) -> nn.Module:
    """The network, changed in place to give only its first ``classes`` outputs.

    The outputs after them are those of the tags (``Recipe.tag_weight``).
    """
    for path in head_paths(network, name):
        old = _get(network, path)
        new = _head(old, classes).to(old.weight.device)
        new.load_state_dict({key: tensor[:classes] for key, tensor in old.state_dict().items()})
        network.set_submodule(path, new)
    return network


def head_parameters(network: nn.Module, name: str) -> list[nn.Parameter]:
    """The classifier's parameters: the only ones that the Hindi paper trains."""
    name = backbone_from_name(name)
    if isinstance(network, ExtraHead):
        return [*head_parameters(network.backbone, name), *network.extra.parameters()]
    if name in _FAMILIES:
        heads = (_FAMILIES[name].head.split(".")[0],)
    else:
        heads = (_CLASSIFIER,) if name in _OURS else _other(name).heads
    return [parameter for head in heads for parameter in _get(network, head).parameters()]


def _of_music(name: str, classes: int, weights: str, extra_head: bool) -> nn.Module:
    """MusiCNN or the AudioSet network, whose published weights have many tags as outputs."""
    tags = _TAGS[name]
    network = _OURS[name].build(classes if weights == "none" and not extra_head else tags)
    if weights == "imagenet":
        known = ", ".join((*(MUSICNN_WEIGHTS if name == "musicnn" else ()), "none"))
        raise UsageError(f"{name} hears no images; it begins with {known} or a file")
    if weights != "none":
        load_weights(network, name, _state_of_music(weights))
    if extra_head:
        return ExtraHead(network, classes, tags)
    (head,) = _OURS[name].heads
    if _get(network, head).out_features != classes:
        network.set_submodule(head, _head(_get(network, head), classes))
    return network


def _state_of_music(weights: str) -> Mapping[str, Tensor]:
    if is_musicnn_weights(weights):
        return musicnn_state(weights)
    state = state_dict_from_file(Path(weights))
    return audioset_state(state) if is_audioset_state(state) else state


def one_channel_stem(stem: nn.Conv2d) -> nn.Conv2d:
    """A convolution for one channel, equal to ``stem`` on that channel repeated."""
    one_channel = nn.Conv2d(
        1,
        stem.out_channels,
        stem.kernel_size,  # pyright: ignore[reportArgumentType]
        stem.stride,  # pyright: ignore[reportArgumentType]
        stem.padding,  # pyright: ignore[reportArgumentType]
        bias=stem.bias is not None,
    )
    with torch.no_grad():
        one_channel.weight.copy_(stem.weight.sum(dim=1, keepdim=True))
        if stem.bias is not None and one_channel.bias is not None:
            one_channel.bias.copy_(stem.bias)
    return one_channel


def _head(old: nn.Module, classes: int) -> nn.Module:
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, classes, kernel_size=1)
    assert isinstance(old, nn.Linear)
    return nn.Linear(old.in_features, classes)


def _state_dict(family: _Family, name: str, weights: str) -> Mapping[str, torch.Tensor]:
    if weights == "imagenet":
        try:
            return family.weights.DEFAULT.get_state_dict(progress=False)
        except (OSError, RuntimeError) as error:
            url = family.weights.DEFAULT.url
            raise MerError(
                f"ImageNet weights of {name} cannot be fetched ({error}); download {url} elsewhere "
                "and give the file in place of imagenet"
            ) from None
    return state_dict_from_file(Path(weights))


def _get(network: nn.Module, path: str) -> Any:
    return network.get_submodule(path)
