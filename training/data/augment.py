"""What makes a few hundred clips enough: random crops, mixup, SpecAugment, gain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchaudio.transforms import FrequencyMasking, TimeMasking

from ...engine.arrays import Float32
from ...engine.audio.windows import spread_starts
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import log_mel_from_decibels


def random_crop(
    decibels: Float32,
    spec: AudioSpec,
    rng: np.random.Generator,
    gain_db: float,
    stretch: float = 0.0,
    pitch_mels: int = 0,
    filter_db: float = 0.0,
) -> Float32:
    """An image ``[mels, frames]`` from anywhere in a clip; short clips are filled as the spec says.

    What a recording may differ in and still say the same: its level (uniform in -gain_db..gain_db),
    its tone (a curve through four random points of up to ``filter_db``; FilterAugment, Nam et al.,
    2022), its tempo (a share of ``stretch`` faster or slower) and its key (``pitch_mels`` rows).
    """
    frames = spec.frames
    if stretch:
        frames = min(round(frames * rng.uniform(1 - stretch, 1 + stretch)), max(frames, decibels.shape[1]))
    start = int(rng.integers(max(1, decibels.shape[1] - frames + 1)))
    part = crop(decibels, spec, start, frames)
    if frames != spec.frames:
        part = _resized(part, spec.frames)
    if pitch_mels:
        rows = np.arange(len(part)) + int(rng.integers(-pitch_mels, pitch_mels + 1))
        part = part[np.clip(rows, 0, len(part) - 1)]
    shift = np.full(len(part), rng.uniform(-gain_db, gain_db), np.float32)
    if filter_db:
        knots = rng.uniform(-filter_db, filter_db, 4)
        shift += np.interp(np.linspace(0, 3, len(part)), np.arange(4), knots).astype(np.float32)
    floor = np.float32(10 * np.log10(spec.amin))
    return log_mel_from_decibels(np.maximum(part + shift[:, None], floor), spec)


def _resized(part: Float32, frames: int) -> Float32:
    """Linear interpolation along time."""
    places = np.linspace(0, part.shape[1] - 1, frames, dtype=np.float32)
    before = places.astype(np.intp)
    after = np.minimum(before + 1, part.shape[1] - 1)
    share = places - before.astype(np.float32)
    return (part[:, before] * (1 - share) + part[:, after] * share).astype(np.float32)


def log_mel_crop(decibels: Float32, spec: AudioSpec, start: int) -> Float32:
    """The image ``[mels, frames]`` that begins at frame ``start`` of a clip."""
    return log_mel_from_decibels(crop(decibels, spec, start), spec)


def crop(decibels: Float32, spec: AudioSpec, start: int, frames: int = 0) -> Float32:
    """``frames`` (default: the spec's) from ``start`` on of a clip; a short clip repeated or padded."""
    frames = frames or spec.frames
    part = np.asarray(decibels[:, start : start + frames])
    missing = frames - part.shape[1]
    if missing <= 0:
        return part
    if spec.short_audio == "repeat":
        return np.take(part, np.arange(frames) % part.shape[1], axis=1)
    return np.pad(part, ((0, 0), (0, missing)), constant_values=10 * np.log10(spec.amin))


def spread_crops(decibels: Float32, spec: AudioSpec, count: int) -> list[Float32]:
    """``count`` images as the engine would cut them: the middles of equal parts."""
    starts = spread_starts(decibels.shape[1], spec.frames, count)
    return [log_mel_crop(decibels, spec, start) for start in starts]


def mixup(images: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Each image blended with another of the batch, and the targets with it (Zhang et al., 2018)."""
    if not alpha:
        return images, targets
    share = torch.from_numpy(rng.beta(alpha, alpha, len(images)).astype(np.float32))
    share = torch.maximum(share, 1 - share)
    other = torch.from_numpy(rng.permutation(len(images)))
    wide = share[:, None, None, None]
    return (
        wide * images + (1 - wide) * images[other],
        share[:, None] * targets + (1 - share[:, None]) * targets[other],
    )


def spec_augment(images: Tensor, mels: int, frames: int, count: int = 2) -> Tensor:
    """``count`` masks of up to ``mels`` rows and ``frames`` columns, at the mean (Park et al., 2019).

    Draws from torch's global generator, which the trainer seeds for every epoch.
    """
    for _ in range(count):
        images = FrequencyMasking(mels, iid_masks=True)(images) if mels else images
        images = TimeMasking(frames, iid_masks=True)(images) if frames else images
    return images
