"""Files to label for songs/s: the user's, or generated music."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from ...engine.catalogue.expand import inputs_from_paths
from ...engine.cpu import usable_cores
from ...engine.errors import MerError
from ...engine.temporary import temporary_writes

_SECONDS, _RATE = 30, 44_100
GENERATED = f"generated stereo MP3s of {_SECONDS} s"
"""What ``generated_songs`` makes."""


def song_count(quick: bool) -> int:
    """How many to label: some for each core, or most of the time only a part of the cores has one."""
    return max(12 if quick else 60, 4 * usable_cores())


def songs_from_folder(folder: Path, count: int) -> tuple[str, ...]:
    """``count`` audio files of a folder, which are repeated if they are fewer.

    Raises:
        MerError: no audio there.
    """
    paths = inputs_from_paths([folder]).paths
    if not paths:
        raise MerError(f"no audio in {folder}")
    return tuple(islice(cycle(paths), count))


def generated_songs(folder: Path, count: int, different: int = 4) -> tuple[str, ...]:
    """Writes ``different`` stereo MP3s of 30 s, which decode as slowly as real songs; then as above.

    Raises:
        MerError: there is no room for them.
    """
    time = np.arange(_SECONDS * _RATE) / _RATE
    for seed in range(different):
        rng = np.random.default_rng(seed)
        notes = 2 ** (rng.integers(0, 24, (3, 1)) / 12)
        chord = np.sin(2 * np.pi * 110 * notes * time).sum(axis=0) / 6
        stereo = np.stack([chord, chord]).T + 0.1 * rng.standard_normal((len(time), 2))
        with (
            temporary_writes(soundfile.LibsndfileError),
            soundfile.SoundFile(folder / f"{seed}.mp3", "w", _RATE, 2, format="MP3") as file,
        ):
            for start in range(0, len(stereo), _RATE):
                file.write(stereo[start : start + _RATE].astype(np.float32))
    return songs_from_folder(folder, count)
