"""A network's second output: is a window music, and is it like the training music?

It is computed from the log-mel alone, in the same way beside every backbone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.functional import create_dct

_COEFFICIENTS = 30
_LAGS = (1, 2, 4, 8, 16, 32)  # frames: from 64 ms to 2 s at emotion4q's hop
_BANDS = 8
_STILL = 1e-3  # below the power of any recording's standardised log-mel; keeps the logarithm finite
_FARTHEST = 6.0  # deviations: one statistic that is far off must not outweigh all others
_COMPONENTS = 64


class Evidence(nn.Module):
    """Log-mels ``[batch, 1, mels, frames]`` to evidence ``[batch, 2]``, as ``EvidenceSpec`` says.

    Statistics of the cepstrum (its mean, and how it moves over 64 ms to 2 s) and of the fine structure (how
    much neighbouring mels differ) are scaled. They and their squares say the log odds that this is music: a
    weighted sum, since what a few hundred sounds teach must hold for all others. Their length in the
    principal components of the training music, each divided by its deviation (Mahalanobis, 1936), says how
    far from that it is; of this the logarithm is given.

    It is made by ``fit.evidence``; as it is built its numbers mean nothing.
    """

    dct: Tensor
    bands: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, mels: int, frames: int) -> None:
        super().__init__()
        self.lags = [lag for lag in _LAGS if 2 * lag < frames]
        self.register_buffer("dct", create_dct(min(_COEFFICIENTS, mels), mels, norm="ortho").T.contiguous())
        self.register_buffer("bands", _bands(mels - 1))
        count = min(_COEFFICIENTS, mels) * (2 + len(self.lags)) + 2 * len(self.bands)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("deviation", torch.ones(count))
        self.music = nn.Linear(2 * count, 1)
        self.components = nn.Linear(count, min(_COMPONENTS, count))

    def forward(self, log_mels: Tensor) -> Tensor:
        return self.from_scaled(self.scaled(self.statistics(log_mels)))

    def from_scaled(self, scaled: Tensor) -> Tensor:
        """The evidence of windows whose ``scaled`` statistics these are."""
        length = _squared(self.components(scaled)).mean(dim=1, keepdim=True)
        return torch.cat([self.music(with_squares(scaled)), 0.5 * (length + 1e-6).log()], dim=1)

    def statistics(self, log_mels: Tensor) -> Tensor:
        """What is measured of each window, ``[batch, statistics]``."""
        image = log_mels.mean(dim=1)
        cepstrum = self.dct @ image
        mean = cepstrum.mean(dim=2)
        movements = [cepstrum - mean[:, :, None]]
        movements += [cepstrum[:, :, lag:] - cepstrum[:, :, :-lag] for lag in self.lags]
        powers = [_squared(movement).mean(dim=2) for movement in movements]
        steps = image[:, 1:] - image[:, :-1]
        fine = [_squared(steps).mean(dim=2) @ self.bands.T, _squared(steps.mean(dim=2)) @ self.bands.T]
        return torch.cat([mean, (torch.cat([*powers, *fine], dim=1) + _STILL).log()], dim=1)

    def scaled(self, statistics: Tensor) -> Tensor:
        """In deviations of the training music from its mean."""
        return ((statistics - self.mean) / self.deviation).clamp(-_FARTHEST, _FARTHEST)


def with_squares(scaled: Tensor) -> Tensor:
    """Scaled statistics with their squares beside them, which say how far they are from the music's mean."""
    return torch.cat([scaled, _squared(scaled)], dim=1)


def _squared(values: Tensor) -> Tensor:
    """As a product: exported as a power, what a negative number gives is up to each runtime."""
    return values * values


def _bands(count: int) -> Tensor:
    """The means over so many rows in bands of nearly equal width, ``[bands, count]``."""
    edges = [round(i * count / _BANDS) for i in range(_BANDS + 1)]
    rows = torch.zeros(_BANDS, count)
    for row, first, end in zip(rows, edges, edges[1:], strict=False):
        row[first:end] = 1 / max(1, end - first)
    return rows
