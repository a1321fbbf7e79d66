"""Data sets of files that can be told apart."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import soundfile

_RATE = 16_000


def write_files(root: Path, *names: str, **sounds: str) -> Path:
    """Writes files below ``root``: texts that hold their own name, or tones that depend on a text.

    The names of tones lack their ".wav"; ``__`` in them is a slash.
    """
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name, text in sounds.items():
        path = root / f"{name.replace('__', '/')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tone(path, text)
    return root


def write_tone(path: Path, text: str) -> None:
    """A WAV file of half a second whose pitch depends on the text; silence for an empty one."""
    hertz = 200 + zlib.crc32(text.encode()) % 3_000
    tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(_RATE // 2) / _RATE)
    with path.open("wb") as file:  # soundfile takes no path that is not UTF-8
        soundfile.write(file, tone * bool(text), _RATE, format="WAV")
