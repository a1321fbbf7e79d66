"""AudioCNN: a small CNN for log-mels with cepstral statistics beside it, in addition to the papers' nine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import create_dct

_CHANNELS = (16, 32, 64, 128)
_COEFFICIENTS, _HIDDEN = 30, 512
_LAGS = (1, 2, 4)  # frames
_SILENCE = 1e-5  # keeps the gradient of the square root finite where a channel is constant
_STILL = 1e-3  # below the power of any recording's standardised cepstrum; keeps the logarithm finite


class AudioCNN(nn.Module):
    """Two classifiers of ``[batch, 1, mels, frames]`` in one: convolutions, and statistics of the cepstrum.

    In evaluation the output is the mean of their logits, ``[batch, classes]``. In training it is both,
    ``[2, batch, classes]``: the loss is then applied to each one, so that each learns the whole task
    and their errors differ. Trained on the mean alone, one part learns only what the other misses.

    The convolutional part is PANNs' Cnn10 (Kong et al., 2020) at a quarter of its width: a 5x5 stem
    with stride 2, four blocks of two 3x3 convolutions, then mean, maximum and deviation of every
    channel. ``CepstrumStatistics`` is the other part: a few hundred clips are too few for
    convolutions to learn such statistics.
    """

    HEADS = ("classifier.1", "statistics.classifier.4")
    """Paths of the layers that give the logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        width = _CHANNELS[0]
        layers: list[nn.Module] = [
            nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
        for width in _CHANNELS:
            layers.append(_block(channels, width))
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(3 * channels, classes))
        self.statistics = CepstrumStatistics(classes)

    def forward(self, log_mels: Tensor) -> Tensor:
        convolutional, cepstral = self.parts(log_mels)
        if self.training:
            return torch.stack([convolutional, cepstral])
        return (convolutional + cepstral) / 2

    def parts(self, log_mels: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of the convolutional part and of the cepstral one."""
        features = self.features(log_mels)
        mean = features.mean(dim=(2, 3))
        pooled = [mean, features.amax(dim=(2, 3)), _deviation(features - mean[:, :, None, None])]
        return self.classifier(torch.cat(pooled, dim=1)), self.statistics(log_mels)


class CepstrumStatistics(nn.Module):
    """Statistics over time of 30 cepstral coefficients, and one hidden layer: to logits ``[batch, classes]``.

    The cepstrum is the DCT of each frame of a log-mel (MFCC, Davis and Mermelstein, 1980). The
    statistics of each coefficient are its mean, and the logarithms of its variance and of the mean
    squares of its differences over 1, 2 and 4 frames. They are scaled by BatchNorm's running averages.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        count = _COEFFICIENTS * (2 + len(_LAGS))
        self.scale = nn.BatchNorm1d(count, affine=False, momentum=None)
        self.classifier = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(count, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(_HIDDEN, classes),
        )

    def forward(self, log_mels: Tensor) -> Tensor:
        dct = create_dct(_COEFFICIENTS, log_mels.shape[2], norm="ortho").T.to(log_mels)
        cepstrum = dct @ log_mels.mean(dim=1)
        mean = cepstrum.mean(dim=2)
        movements = [cepstrum - mean[:, :, None]]
        movements += [cepstrum[:, :, lag:] - cepstrum[:, :, :-lag] for lag in _LAGS]
        powers = [(movement.square().mean(dim=2) + _STILL).log() for movement in movements]
        statistics = torch.cat([mean, *powers], dim=1)
        # In training too, scale by the average over all batches so far: with 16 windows a batch's own
        # mean and variance are too noisy.
        if self.training:
            self.scale(statistics)
        scaled = functional.batch_norm(statistics, self.scale.running_mean, self.scale.running_var)
        return self.classifier(scaled)


def _deviation(differences: Tensor) -> Tensor:
    """Root mean square of each channel, with a finite gradient at 0."""
    return (differences.square().mean(dim=(2, 3)) + _SILENCE).sqrt()


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
