"""A plain CNN for log-mel images, as a tenth backbone beside the papers' nine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHANNELS = (16, 32, 64, 128)
_COEFFICIENTS = 30
_LAGS = (1, 2, 4)  # frames
_SILENCE = 1e-5
_STILL = 1e-3  # a power of the standardised cepstrum that no recording falls below


class AudioCNN(nn.Module):
    """What convolutions hear, and what the statistics of the cepstrum say: the mean of both's logits.

    Images ``[batch, channels, mels, frames]`` to logits ``[batch, classes]``; in training to both's
    apart, ``[2, batch, classes]``, so that each learns all it can and their errors stay different: as
    one sum, one of them only learns what the other leaves. The convolutions are a
    5x5 stem of stride 2 and four blocks of two 3x3, after PANNs' Cnn10 (Kong et al., 2020) at a
    quarter of its width, pooled to mean, maximum and deviation: a few hundred clips do not fill more.
    ``CepstrumStatistics`` stand beside them, since so few clips do not teach convolutions to count.
    """

    HEADS = ("classifier.1", "statistics.classifier.4")
    """The layers whose outputs are the classes."""

    def __init__(self, classes: int = 1_000, dropout: float = 0.3, channels: int = 3) -> None:
        super().__init__()
        width = _CHANNELS[0]
        parts: list[nn.Module] = [
            nn.Conv2d(channels, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
        for width in _CHANNELS:
            parts.append(_block(channels, width))
            channels = width
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(3 * channels, classes))
        self.statistics = CepstrumStatistics(classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        mean = features.mean(dim=(2, 3))
        pooled = [mean, features.amax(dim=(2, 3)), _deviation(features - mean[:, :, None, None])]
        heard, counted = self.classifier(torch.cat(pooled, dim=1)), self.statistics(images)
        return torch.stack([heard, counted]) if self.training else (heard + counted) / 2


class CepstrumStatistics(nn.Module):
    """Mean and deviation over time of 30 cepstral coefficients, and how much they move, to logits.

    The cepstrum is the DCT of an image's columns (MFCC, Davis and Mermelstein, 1980); its movement is
    the mean square of its differences over 1, 2 and 4 frames. One hidden layer takes it from there:
    wide, and without the noise that BatchNorm makes of batches of 16.
    """

    def __init__(self, classes: int, hidden: int = 512) -> None:
        super().__init__()
        count = _COEFFICIENTS * (2 + len(_LAGS))
        self.scale = nn.BatchNorm1d(count, affine=False, momentum=None)
        self.classifier = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(count, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        cepstrum = _dct(images.shape[2]).to(images) @ images.mean(dim=1)
        mean = cepstrum.mean(dim=2)
        moved = [cepstrum - mean[:, :, None]]
        moved += [cepstrum[:, :, lag:] - cepstrum[:, :, :-lag] for lag in _LAGS]
        powers = [(part.square().mean(dim=2) + _STILL).log() for part in moved]
        found = torch.cat([mean, *powers], dim=1)
        # Scaled by the average of all batches so far, in training too: one batch's would be noise.
        if self.training:
            self.scale(found)
        return self.classifier(functional.batch_norm(found, self.scale.running_mean, self.scale.running_var))


def _deviation(differences: Tensor) -> Tensor:
    """Root mean square of each channel; of silence too its gradient is finite."""
    return (differences.square().mean(dim=(2, 3)) + _SILENCE).sqrt()


def _dct(mels: int) -> Tensor:
    """The first rows of the orthonormal DCT-II, ``[30, mels]``."""
    rows, columns = torch.arange(_COEFFICIENTS)[:, None], torch.arange(mels) + 0.5
    matrix = torch.cos(torch.pi / mels * rows * columns) * (2 / mels) ** 0.5
    matrix[0] /= 2**0.5
    return matrix


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
    )
