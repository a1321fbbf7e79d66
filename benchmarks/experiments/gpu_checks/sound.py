"""Sound for the checks, and how far log-mels of it are apart. Only ``songs_of`` needs what reads files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....engine.arrays import Float32
from ....engine.spec import AudioSpec
from .bench import Bench, require

QUIET_DB = 0.3
_ORDINARY_DB = 0.01


def generated(spec: AudioSpec, count: int) -> Float32:
    """Windows of tones over noise, all different; float32 ``[count, window_samples]``."""
    rng = np.random.default_rng(0)
    t = np.arange(spec.window_samples) / spec.sample_rate
    tones = np.stack([np.sin(2 * np.pi * hz * t) for hz in rng.uniform(80, 2_000, count)])
    return (0.4 * tones + 0.05 * rng.standard_normal(tones.shape)).astype(np.float32)


def songs_of(bench: Bench, count: int) -> tuple[str, ...]:
    """Paths of ``count`` songs: the user's, or generated ones."""
    from ...measure.sample_songs import generated_songs, songs_from_folder

    if bench.songs is not None:
        return songs_from_folder(bench.songs, count)
    folder = bench.folder / "generated"
    if not folder.is_dir():
        begun = bench.folder / "begun"  # a check that found no room leaves it
        begun.mkdir(exist_ok=True)
        generated_songs(begun, count)
        begun.rename(folder)
    return songs_from_folder(folder, count)


def check_near(preset: str, made: Float32, expected: Float32, spec: AudioSpec) -> dict[str, Any]:
    """A preset's row with the differences of its log-mels.

    Raises:
        CheckFailed: they differ by more than two FFTs in float32 do.
    """
    ordinary, quiet = decibels_apart(made, expected, spec)
    require(
        ordinary <= _ORDINARY_DB and quiet <= QUIET_DB,
        f"{preset} differs by {ordinary:.3f} dB, and {quiet:.3f} dB where it is quiet",
    )
    return {"preset": preset, "ordinary_db": ordinary, "quiet_db": quiet}


def decibels_apart(made: Float32, expected: Float32, spec: AudioSpec) -> tuple[float, float]:
    """The largest differences of log-mels ``[n, 1, mels, frames]``, in dB.

    Returns:
        Of the cells up to 90 dB below the loudest of their window, which float32 computes well; and of all.
    """
    std = np.asarray(spec.std, np.float32)[:, None]  # log-mels are standardised: back to dB
    difference, level = np.abs((made - expected) * std), expected * std
    ordinary = level >= level.max((1, 2, 3), keepdims=True) - 90
    return float(difference[ordinary].max()), float(difference.max())
