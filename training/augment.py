"""What makes a few hundred clips enough: random crops, mixup, SpecAugment, gain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchaudio.transforms import FrequencyMasking, TimeMasking

from ..engine.decoders import Float32
from ..engine.spec import AudioSpec
from ..engine.spectrogram import image_from_decibels


def random_crop(decibels: Float32, spec: AudioSpec, rng: np.random.Generator, gain_db: float) -> Float32:
    """An image ``[mels, frames]`` from anywhere in a clip; short clips are filled as the spec says.

    The gain, uniform in -gain_db..gain_db, is a recording's level, which says nothing of its mood.
    """
    start = int(rng.integers(max(1, decibels.shape[1] - spec.frames + 1)))
    shift = np.float32(rng.uniform(-gain_db, gain_db)) if gain_db else np.float32(0)
    floor = np.float32(10 * np.log10(spec.amin))
    return image_from_decibels(np.maximum(crop(decibels, spec, start) + shift, floor), spec)


def crop_image(decibels: Float32, spec: AudioSpec, start: int) -> Float32:
    """The image ``[mels, frames]`` that begins at frame ``start`` of a clip."""
    return image_from_decibels(crop(decibels, spec, start), spec)


def crop(decibels: Float32, spec: AudioSpec, start: int) -> Float32:
    """Frames ``start`` to ``start + spec.frames`` of a clip; a short clip repeated or padded."""
    part = np.asarray(decibels[:, start : start + spec.frames])
    missing = spec.frames - part.shape[1]
    if missing <= 0:
        return part
    if spec.short_audio == "repeat":
        return np.take(part, np.arange(spec.frames) % part.shape[1], axis=1)
    return np.pad(part, ((0, 0), (0, missing)), constant_values=10 * np.log10(spec.amin))


def spread_crops(decibels: Float32, spec: AudioSpec, count: int) -> list[Float32]:
    """``count`` images as the engine would cut them: the middles of equal parts."""
    room = decibels.shape[1] - spec.frames
    if room <= 0:
        return [crop_image(decibels, spec, 0)]
    middles = ((2 * i + 1) * decibels.shape[1] / (2 * count) for i in range(count))
    starts = (min(max(0, round(middle - spec.frames / 2)), room) for middle in middles)
    return [crop_image(decibels, spec, start) for start in starts]


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
