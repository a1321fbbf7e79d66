"""Augmentation: a network hears each clip differently in every epoch, so that a few hundred clips suffice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...engine.arrays import Float32
from ...engine.audio.spread import spread_starts
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import log_mel_from_decibels
from ..recipe import Recipe
from .degrade import WIDE_HZ, at_a_lower_rate, random_codec, random_high_pass, random_low_pass, random_noise


def random_crop(
    decibels: Float32, spec: AudioSpec, rng: np.random.Generator, recipe: Recipe, start: int | None = None
) -> Float32:
    """A log-mel window ``[mels, frames]`` from a random place of a clip, changed at random by the recipe.

    A short clip is filled up as ``spec.short_audio`` says.

    Args:
        decibels: the clip's spectrogram ``[mels, frames]`` in dB, of any length, without the spec's floor:
            what is made louder must not bring a floor with it.
        start: its first frame, where that is not to be drawn.
    """
    frames = spec.frames
    if recipe.stretch:
        frames = round(frames * rng.uniform(1 - recipe.stretch, 1 + recipe.stretch))
        frames = min(frames, max(spec.frames, decibels.shape[1]))
    if start is None:
        start = int(rng.integers(max(1, decibels.shape[1] - frames + 1)))
    part = crop(decibels, spec, start, frames)
    if frames != spec.frames:
        part = _resized(part, spec.frames)
    if recipe.pitch_mels:
        rows = np.arange(len(part)) + int(rng.integers(-recipe.pitch_mels, recipe.pitch_mels + 1))
        part = part[np.clip(rows, 0, len(part) - 1)]
    shift = np.full(len(part), rng.uniform(-recipe.gain_db, recipe.gain_db), np.float32)
    if recipe.filter_db:
        knots = rng.uniform(-recipe.filter_db, recipe.filter_db, 4)
        shift += np.interp(np.linspace(0, 3, len(part)), np.arange(4), knots).astype(np.float32)
    part = part + shift[:, None]
    return log_mel_from_decibels(floored(bad_copy(part, spec, rng, recipe), spec), spec)


def bad_copy(decibels: Float32, spec: AudioSpec, rng: np.random.Generator, recipe: Recipe) -> Float32:
    """A window in dB as a bad recording or codec has it: each flaw by chance, as often as the recipe says.

    Where the recipe has noise, half of the windows of a network that hears beyond 8 kHz end where a file of a
    lower rate does.
    """
    if recipe.highpass and rng.random() < recipe.highpass:
        decibels = random_high_pass(decibels, spec, rng)
    if recipe.lowpass and rng.random() < recipe.lowpass:
        decibels = random_low_pass(decibels, spec, rng)
    if recipe.noise and rng.random() < recipe.noise:
        decibels = random_noise(decibels, rng)
    if spec.fmax > WIDE_HZ and recipe.noise and rng.random() < 0.5:
        decibels = at_a_lower_rate(decibels, spec, rng)
    if recipe.codec and rng.random() < recipe.codec:
        decibels = random_codec(decibels, rng)
    return decibels


def first_crop(decibels: Float32, spec: AudioSpec) -> Float32:
    """The log-mel window ``[mels, frames]`` at the beginning of a clip, unchanged."""
    return log_mel_from_decibels(floored(crop(decibels, spec, 0), spec), spec)


def floored(decibels: Float32, spec: AudioSpec) -> Float32:
    """No quieter than the spec hears."""
    return np.maximum(decibels, np.float32(10 * np.log10(spec.amin)))


def crop(decibels: Float32, spec: AudioSpec, start: int, frames: int = 0) -> Float32:
    """``frames`` columns from ``start`` on, in dB; what a short clip lacks is repeated or padded.

    Args:
        frames: 0 is as many as a window has.
    """
    frames = frames or spec.frames
    part = np.asarray(decibels[:, start : start + frames])
    missing = frames - part.shape[1]
    if missing <= 0:
        return part
    if spec.short_audio == "repeat":
        return np.take(part, np.arange(frames) % part.shape[1], axis=1)
    return np.pad(part, ((0, 0), (0, missing)), constant_values=10 * np.log10(spec.amin))


def spread_crops(decibels: Float32, spec: AudioSpec, count: int) -> Float32:
    """``count`` windows ``[windows, mels, frames]`` in dB, about where the engine cuts them in a song.

    A clip no longer than a window gives one.
    """
    starts = spread_starts(decibels.shape[1], spec.frames, count)
    return floored(np.stack([crop(decibels, spec, start) for start in starts]), spec)


def mixup(log_mels: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Blends each window, and its targets, with another of the batch (Zhang et al., 2018).

    Args:
        log_mels: ``[batch, 1, mels, frames]``.
        targets: ``[batch, classes]``.
        alpha: of the Beta distribution that the shares are drawn from; 0 blends nothing.
    """
    if not alpha:
        return log_mels, targets
    share = torch.from_numpy(rng.beta(alpha, alpha, len(log_mels)).astype(np.float32))
    share = torch.maximum(share, 1 - share)
    other = torch.from_numpy(rng.permutation(len(log_mels)))
    wide = share[:, None, None, None]
    return (
        wide * log_mels + (1 - wide) * log_mels[other],
        share[:, None] * targets + (1 - share[:, None]) * targets[other],
    )


def _resized(part: Float32, frames: int) -> Float32:
    """``frames`` columns by linear interpolation along time."""
    positions = np.linspace(0, part.shape[1] - 1, frames, dtype=np.float32)
    before = positions.astype(np.intp)
    after = np.minimum(before + 1, part.shape[1] - 1)
    share = positions - before.astype(np.float32)
    return (part[:, before] * (1 - share) + part[:, after] * share).astype(np.float32)
