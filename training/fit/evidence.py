"""Fits a network's second output after its training: from its music, and from sound that is no music."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...engine.arrays import Float32
from ...engine.spec import AudioSpec, EvidenceSpec
from ...engine.spectrogram.log_mel import decibels_from_audio, log_mel_from_decibels
from ..data.degrade import ABRUPT, SLOPES, WIDE_HZ, at_a_lower_rate, random_low_pass, random_noise
from ..data.non_music import NON_MUSIC, sounds_that_are_no_music
from ..networks.evidence import Evidence, with_squares

SURE_OF_CHANCE = 1.4
"""The least confidence that is sure, in multiples of chance, where no held-out clips say better."""

_MOST_SOUNDS = 540  # 30 of each kind
_FOLDS = 3
_AT_ONCE = 64
_RANKS = 101
# The shares of held-out training clips that fall below a threshold. Together they are 3 %, of other
# music 5.
_NOT_MUSIC, _DEGRADED_NOT_MUSIC, _FAR, _UNSURE = 0.0035, 0.03, 0.015, 0.0125
_DOUBT = -0.5  # log odds: other music is nearer to even than the music of the training
_PENALTY = 0.03  # on the weights' squares: few sounds, many statistics
_BAD_COPIES = 6  # of each clip. With one, without abrupt ends, 33 of 720 songs cut at 5.5 kHz were no music
_STEPS = 100
_SHRINK = 0.05  # of a principal component's variance towards their mean


class Sounds(NamedTuple):
    """Each sound's windows ``[windows, mels, frames]`` in dB, and its group: sounds of one group are held out
    together."""

    windows: Sequence[Float32]
    groups: Sequence[str]


NO_SOUNDS = Sounds((), ())


@dataclass(frozen=True)
class FittedEvidence:
    """The output, what it means, and how it did on clips and kinds of sound that were held out from it.

    ``caught`` is the share of each kind that was found to be no music, ``kept`` that of the music, and of its
    degraded copies, that was found to be music.
    """

    network: Evidence
    spec: EvidenceSpec
    caught: dict[str, float]
    kept: float
    kept_degraded: float


def sounds_that_are_generated(audio: AudioSpec, clips: int) -> Sounds:
    """As many sounds of each kind of ``NON_MUSIC`` as are good for so many clips, one window each."""
    count = min(_MOST_SOUNDS, max(2 * clips, 2 * len(NON_MUSIC)))
    sounds = sounds_that_are_no_music(count, audio.sample_rate, audio.window_s)
    windows = [decibels_from_audio(sound, audio)[None, :, : audio.frames] for sound in sounds]
    names = list(NON_MUSIC)
    return Sounds(windows, [names[i % len(names)] for i in range(count)])


def least_confidence(confidences: Float32) -> float:
    """The confidence below which a label is unsure: that of the least sure 1.25 % of held-out clips."""
    return round(float(np.quantile(confidences, _UNSURE)), 4)


def fit_evidence(music: Sounds, others: Sounds, audio: AudioSpec, confidence: float) -> FittedEvidence:
    """Fits everything; the thresholds are those of clips that were held out, by group.

    Args:
        music: of the training.
        others: sounds that are no music.
        audio: the network's, standardised.
        confidence: below it a label is unsure; see ``least_confidence``.
    """
    rng = np.random.default_rng(0)
    network = Evidence(audio.n_mels, audio.frames)
    # One after another: all copies together would be 8 MB a clip.
    copies = (_degraded(windows, audio, rng) for windows in music.windows for _ in range(_BAD_COPIES))
    groups = [group for group in music.groups for _ in range(_BAD_COPIES)]
    parts = [_Part(network, windows, groups, audio) for windows, groups in (music, (copies, groups), others)]
    return _fitted(network, parts, others.groups, confidence)


def _fitted(
    network: Evidence, parts: Sequence[_Part], kinds: Sequence[str], confidence: float
) -> FittedEvidence:
    """From the statistics of music, of degraded music, and of sounds of other kinds."""
    _scale(network, parts[0].statistics)
    for part in parts:
        part.statistics = network.scaled(part.statistics)
    held = [np.zeros((len(part.sizes), 2)) for part in parts]
    for fold in range(_FOLDS):
        one = copy.deepcopy(network)
        _fit(one, *(part.statistics[part.rows(part.folds != fold)] for part in parts))
        for part, evidence in zip(parts, held, strict=True):
            chosen = part.folds == fold
            evidence[chosen] = part.by_sound(_evidence(one, part.statistics))[chosen]
    _fit(network, *(part.statistics for part in parts))
    kept, kept_degraded, caught = (evidence[:, 0] for evidence in held)
    degraded_least = np.quantile(kept_degraded, _DEGRADED_NOT_MUSIC)
    least = min(np.quantile(kept, _NOT_MUSIC), degraded_least, _DOUBT)
    distances = held[0][:, 1]
    spec = EvidenceSpec(
        music=round(float(least), 4),
        distances=tuple(np.round(np.quantile(distances, np.linspace(0, 1, _RANKS)), 4).tolist()),
        far=round(float(np.quantile(distances, 1 - _FAR)), 4),
        confidence=confidence,
    )
    by_kind = {kind: np.asarray([each == kind for each in kinds]) for kind in dict.fromkeys(kinds)}
    return FittedEvidence(
        network.eval().requires_grad_(False),
        spec,
        {kind: round(float((caught[these] < least).mean()), 3) for kind, these in by_kind.items()},
        round(float((kept >= least).mean()), 4),
        round(float((kept_degraded >= least).mean()), 4),
    )


class _Part:
    """The statistics of some sounds' windows, ``[windows, statistics]``, and how many each sound has."""

    def __init__(
        self, network: Evidence, windows: Iterable[Float32], groups: Sequence[str], audio: AudioSpec
    ) -> None:
        self.sizes, self.statistics = _statistics(network, windows, audio)
        _, numbers = np.unique(np.asarray(groups), return_inverse=True)
        if numbers.max() + 1 < _FOLDS:  # too few groups to hold any out
            numbers = np.arange(len(self.sizes))
        self.folds = numbers % _FOLDS  # a group is on one side

    def rows(self, chosen: np.ndarray) -> Tensor:
        """Which windows are of the chosen sounds."""
        return torch.from_numpy(np.repeat(chosen, self.sizes))

    def by_sound(self, values: np.ndarray) -> np.ndarray:
        """The mean over each sound's windows."""
        starts = np.cumsum(self.sizes) - self.sizes
        return np.add.reduceat(values, starts, axis=0) / self.sizes[:, None]


@torch.no_grad()
def _statistics(
    network: Evidence, windows: Iterable[Float32], audio: AudioSpec
) -> tuple[npt.NDArray[np.intp], Tensor]:
    """How many windows each sound has, and the statistics of all, with a batch of them in memory."""
    sizes: list[int] = []

    def log_mels() -> Iterator[Float32]:
        for each in windows:
            sizes.append(len(each))
            yield from (log_mel_from_decibels(np.asarray(window), audio) for window in each)

    together, batches = log_mels(), list[Tensor]()
    while some := list(islice(together, _AT_ONCE)):
        batches.append(network.statistics(torch.from_numpy(np.stack(some))[:, None]))
    return np.asarray(sizes), torch.cat(batches)


def _degraded(windows: Float32, audio: AudioSpec, rng: np.random.Generator) -> Float32:
    """One of a clip's windows as a bad recording has it: quieter, without treble, with noise.

    A network that hears beyond 8 kHz hears more of noise: twice as many have some, and half of them end
    where a file of a lower rate does.
    """
    wide = audio.fmax > WIDE_HZ
    window = np.asarray(windows[rng.integers(len(windows))]) + np.float32(rng.uniform(-25, 0))
    if rng.random() < 0.7:
        window = random_low_pass(window, audio, rng, (*SLOPES, ABRUPT))
    if rng.random() < (0.6 if wide else 0.3):
        window = random_noise(window, rng)
    if wide and rng.random() < 0.5:
        window = at_a_lower_rate(window, audio, rng, ABRUPT)
    return np.maximum(window, np.float32(10 * np.log10(audio.amin)))[None]


@torch.no_grad()
def _scale(network: Evidence, statistics: Tensor) -> None:
    network.mean.copy_(statistics.mean(dim=0))
    network.deviation.copy_(statistics.std(dim=0, correction=0) + 1e-3)


def _fit(network: Evidence, music: Tensor, degraded: Tensor, others: Tensor) -> None:
    _fit_components(network.components, music)
    inputs = torch.cat([music, degraded, others])
    count = len(music) + len(degraded)
    targets = torch.cat([torch.ones(count), torch.zeros(len(others))])
    weights = torch.cat([torch.full((count,), 0.5 / count), torch.full((len(others),), 0.5 / len(others))])
    _fit_odds(network.music, with_squares(inputs), targets, weights * len(inputs))


@torch.no_grad()
def _fit_components(layer: nn.Linear, music: Tensor) -> None:
    """To the principal components of the music, each divided by its deviation."""
    mean = music.double().mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov((music.double() - mean).T, correction=0))
    variances, axes = variances[-layer.out_features :], axes[:, -layer.out_features :]
    shrunk = (1 - _SHRINK) * variances + _SHRINK * variances.mean()
    weight = axes.T / shrunk.clamp(min=1e-9).sqrt()[:, None]
    layer.weight.copy_(weight)
    layer.bias.copy_(-weight @ mean)


def _fit_odds(odds: nn.Linear, inputs: Tensor, targets: Tensor, weights: Tensor) -> None:
    """Logistic regression, with both kinds of sound of equal weight."""
    odds.requires_grad_(True)
    with torch.no_grad():
        odds.weight.zero_()
        odds.bias.zero_()
    optimizer = torch.optim.LBFGS(odds.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        each = functional.binary_cross_entropy_with_logits(odds(inputs)[:, 0], targets, weights)
        total = each + _PENALTY * odds.weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def _evidence(network: Evidence, scaled: Tensor) -> np.ndarray:
    return network.from_scaled(scaled).numpy()
