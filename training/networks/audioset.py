"""A small MobileNetV3 that heard AudioSet (Schmid, Koutini and Widmer, 2023), and its published weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.mobilenetv3 import InvertedResidual, MobileNetV3, _mobilenet_v3_conf
from torchvision.ops.misc import SqueezeExcitation

from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import mel_filters
from ...engine.spectrogram.presets import PRESETS

TAGS = 527
"""Outputs of the published weights: AudioSet's classes, in its order."""

PUBLISHED_WINDOW_S = 10.0
"""Seconds of the windows that the weights were trained on."""

NOTICE = """\
The AudioSet network mn04_as (https://github.com/fschmid56/EfficientAT), MIT licence:

Copyright (c) 2022 Florian Schmid

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without
limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the
Software, and to permit persons to whom the Software is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions
of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
"""
"""Of the authors; it goes wherever their weights go, also trained further."""

_WIDTH = 0.4
_EPS = 1e-3
_MOMENTUM = 0.1  # of BatchNorm: at the published 0.01 a few hundred clips leave it where it was
_PRE_EMPHASIS = 0.97
_FLOOR = 1e-5  # added to the power
_SQUEEZE = ".conc_se_layers.0."


class AudioSetNet(nn.Module):
    """Log-mels ``[batch, 1, mels, frames]`` to logits ``[batch, classes]``.

    The log-mels are those of the "audioset" preset, or of "audioset-16k", which has the first 103 of its 128
    mels. The published network hears Kaldi's mels of a sound with pre-emphasis: next to no more than a gain
    for each mel, which stands in ``gain``. Then ``(ln(power + 1e-5) + 4.5) / 5``.
    """

    HEADS = ("classifier.3",)
    """Path of the layer that gives the logits."""

    EMBEDDING = "classifier"
    """What comes after the 384 features that are given as the embedding."""

    MIDDLE = 8
    """The block of its 17 from which on ``means`` tells emotions best, for weights as published."""

    gain: Tensor

    def __init__(self, classes: int = TAGS) -> None:
        super().__init__()
        settings, last = _mobilenet_v3_conf("mobilenet_v3_large", width_mult=_WIDTH)
        network = MobileNetV3(
            settings,
            last,
            classes,
            block=partial(InvertedResidual, se_layer=partial(SqueezeExcitation, scale_activation=nn.Sigmoid)),
            norm_layer=partial(nn.BatchNorm2d, eps=_EPS, momentum=_MOMENTUM),
        )
        stem = network.features[0]
        assert isinstance(stem, nn.Sequential)
        stem[0] = nn.Conv2d(1, stem[0].out_channels, 3, 2, 1, bias=False)  # pyright: ignore
        self.features = network.features
        self.classifier = network.classifier
        # A buffer, so that it stands in every checkpoint.
        self.register_buffer("gain", torch.from_numpy(_gain(PRESETS["audioset"])))

    def forward(self, log_mels: Tensor) -> Tensor:
        return self.classifier(self.features(self._heard(log_mels)).mean(dim=(2, 3)))

    def means(self, log_mels: Tensor, first: int) -> list[Tensor]:
        """The mean of what each block from ``first`` on gives, ``[batch, channels]``."""
        heard, means = self._heard(log_mels), list[Tensor]()
        for number, block in enumerate(self.features):
            heard = block(heard)
            if number >= first:
                means.append(heard.mean(dim=(2, 3)))
        return means

    def _heard(self, log_mels: Tensor) -> Tensor:
        audio = PRESETS["audioset"]
        gain = self.gain[: log_mels.shape[2], None]
        nats = (log_mels * audio.std[0] + audio.mean[0] + gain) * (math.log(10) / 10)
        above = nats - math.log(_FLOOR)
        # ln(exp(x) + 1) without exp(x), which leaves the range of FP16.
        softplus = functional.relu(above) + torch.log(torch.exp(-above.abs()) + 1)
        return (softplus + math.log(_FLOOR) + 4.5) / 5


def is_audioset_state(names: Iterable[str]) -> bool:
    """Whether weights of these names are the published ones."""
    return any(_SQUEEZE in name for name in names)


def audioset_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published tensors by the names and in the shapes of an ``AudioSetNet`` with all its tags."""
    state: dict[str, Tensor] = {}
    for name, tensor in published.items():
        own = name.replace(_SQUEEZE, ".")
        if own != name and name.endswith(".weight"):  # a linear layer there, a 1x1 convolution here
            tensor = tensor[..., None, None]
        for theirs, ours in (("classifier.2.", "classifier.0."), ("classifier.5.", "classifier.3.")):
            own = own.replace(theirs, ours)
        state[own] = tensor
    return {**state, "gain": torch.from_numpy(_gain(PRESETS["audioset"]))}


def _gain(audio: AudioSpec) -> np.ndarray:
    """dB of the pre-emphasis for each mel, ``[mels]``."""
    filters = mel_filters(audio)
    angles = 2 * np.pi * np.arange(filters.shape[1]) / audio.n_fft
    emphasis = 1 + _PRE_EMPHASIS**2 - 2 * _PRE_EMPHASIS * np.cos(angles)
    return (10 * np.log10((filters @ emphasis) / filters.sum(axis=1))).astype(np.float32)
