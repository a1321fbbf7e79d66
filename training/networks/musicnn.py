"""MusiCNN: a CNN whose filters are as tall as timbres and as long as rhythms (Pons and Serra, 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...engine.spectrogram.presets import PRESETS

TAGS = 50
"""Outputs of the published weights."""

_TIMBRAL = ((204, 38), (204, 67))  # channels, height in mels; 7 frames wide
_TEMPORAL = ((51, 128), (51, 64), (51, 32))  # channels, width in frames; 1 mel tall
_MIDDLE = 64
_FEATURES = 200
_EPS = 1e-3  # TensorFlow's, with which the weights were published


class MusiCNN(nn.Module):
    """Log-mels ``[batch, 1, 96, frames]`` to logits ``[batch, classes]``.

    The log-mels are those of the "musicnn" preset. The published network hears ``log10(10000 power + 1)``,
    which is computed here from their decibels; it never leaves the range of FP16, as the power itself does.

    Its front takes the maximum over the mels after bias, ReLU and a norm. All three are monotonic, so here it
    is taken before them (the minimum where the norm's scale is negative, which ``sign`` says): the same
    values at half the cost. That norm is a scale and a shift: the published statistics are those of values
    before the maximum, which a batch does not have here.
    """

    HEADS = ("classifier",)
    """Path of the layer that gives the logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, classes: int = TAGS) -> None:
        super().__init__()
        audio = PRESETS["musicnn"]
        # Buffers, so that they stand in every checkpoint.
        self.register_buffer("mean", torch.tensor(audio.mean[0]))
        self.register_buffer("std", torch.tensor(audio.std[0]))
        self.norm = nn.BatchNorm2d(1, _EPS)
        self.timbral = nn.ModuleList(_Filters(width, (mels, 7)) for width, mels in _TIMBRAL)
        self.temporal = nn.ModuleList(_Filters(width, (1, frames)) for width, frames in _TEMPORAL)
        front = sum(width for width, _ in (*_TIMBRAL, *_TEMPORAL))
        self.middle = nn.ModuleList(_middle(width) for width in (front, _MIDDLE, _MIDDLE))
        pooled = 2 * (front + 3 * _MIDDLE)
        self.embedding = nn.Sequential(
            nn.BatchNorm1d(pooled, _EPS),
            nn.Dropout(0.5),
            nn.Linear(pooled, _FEATURES),
            nn.ReLU(),
            nn.BatchNorm1d(_FEATURES, _EPS),
            nn.Dropout(0.5),
        )
        self.classifier = nn.Linear(_FEATURES, classes)

    def forward(self, log_mels: Tensor) -> Tensor:
        return self.classifier(self.features(log_mels))

    def features(self, log_mels: Tensor) -> Tensor:
        """The 200 values ``[batch, 200]`` that the logits are computed from."""
        image = self.norm(self._compressed(log_mels))
        front = torch.cat([part(image) for part in (*self.timbral, *self.temporal)], dim=1)
        first = self.middle[0](front)
        second = self.middle[1](first) + first
        third = self.middle[2](second) + second
        series = torch.cat([front, first, second, third], dim=1)
        return self.embedding(torch.cat([series.amax(dim=(2, 3)), series.mean(dim=(2, 3))], dim=1))

    def _compressed(self, log_mels: Tensor) -> Tensor:
        """``log10(10000 power + 1)``."""
        exponent = (log_mels * self.std + self.mean + 40) * (math.log(10) / 10)  # of e, for 10000 power
        # log(exp(x) + 1) without exp(x), which reaches 10^6.
        return (functional.relu(exponent) + torch.log(torch.exp(-exponent.abs()) + 1)) / math.log(10)


class _Filters(nn.Module):
    """``[batch, 1, mels, frames]`` to ``[batch, width, 1, frames]``: the best match at any mel."""

    sign: Tensor

    def __init__(self, width: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        before = (kernel[1] - 1) // 2  # an even kernel looks one frame further ahead, as TensorFlow's does
        self.pad = nn.ZeroPad2d((before, kernel[1] - 1 - before, 0, 0))
        self.filters = nn.Conv2d(1, width, kernel, bias=False)
        self.register_buffer("sign", torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, image: Tensor) -> Tensor:
        peaks = self.filters(self.pad(image)).amax(dim=2, keepdim=True)
        sign, bias, scale, shift = (
            values[:, None, None] for values in (self.sign, self.bias, self.scale, self.shift)
        )
        return functional.relu(peaks * sign + bias) * scale + shift


def _middle(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, _MIDDLE, (1, 7), padding=(0, 3)), nn.ReLU(), nn.BatchNorm2d(_MIDDLE, _EPS)
    )
