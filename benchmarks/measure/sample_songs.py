"""Files to label for songs a second: given ones, or generated music when there are none."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from ...engine.catalogue.expand import inputs_from_paths
from ...engine.errors import MerError

_SECONDS, _RATE = 30, 44_100


def songs_from_folder(folder: Path, count: int) -> tuple[str, ...]:
    """``count`` songs of a folder, its files again and again if they are fewer.

    Raises:
        MerError: no audio there.
    """
    paths = inputs_from_paths([folder]).paths
    if not paths:
        raise MerError(f"no audio in {folder}")
    return tuple(islice(cycle(paths), count))


def generated_songs(folder: Path, count: int, different: int = 4) -> tuple[str, ...]:
    """The same, of generated stereo MP3s of 30 s: they cost what a song costs to decode."""
    time = np.arange(_SECONDS * _RATE) / _RATE
    for number in range(different):
        rng = np.random.default_rng(number)
        notes = 2 ** (rng.integers(0, 24, (3, 1)) / 12)
        chord = np.sin(2 * np.pi * 110 * notes * time).sum(axis=0) / 6
        sides = np.stack([chord, chord]).T + 0.1 * rng.standard_normal((len(time), 2))
        with soundfile.SoundFile(folder / f"{number}.mp3", "w", _RATE, 2, format="MP3") as file:
            for start in range(0, len(sides), _RATE):
                file.write(sides[start : start + _RATE].astype(np.float32))
    return songs_from_folder(folder, count)
