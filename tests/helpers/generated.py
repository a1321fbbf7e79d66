"""Generated music: a label is a chord and a tempo, an artist a key and a timbre."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
_CHORDS = {"happy": (0, 4, 7), "sad": (0, 3, 7), "tense": (0, 1, 6), "calm": (0, 7, 12)}
_BEAT_S = {"happy": 0.25, "sad": 1.0, "tense": 0.125, "calm": 2.0}


def clip(label: str, artist: int, seed: int, seconds: float = 3.0) -> np.ndarray:
    """Float32 samples at ``RATE``: the label's chord, struck at its tempo, in the artist's key and timbre."""
    rng = np.random.default_rng([seed, artist])
    times = np.arange(int(seconds * RATE)) / RATE
    root = 110 * 2 ** ((artist % 12) / 12)
    partials = 1 + artist % 4
    sound = np.zeros_like(times)
    for step in _CHORDS[label]:
        for k in range(1, partials + 1):
            sound += np.sin(2 * np.pi * root * 2 ** (step / 12) * k * times + rng.uniform(0, 6)) / k
    decay = np.exp(-4 * (times % _BEAT_S[label]) / _BEAT_S[label])
    noise = rng.standard_normal(len(times)) * (0.5 if label == "tense" else 0.02)
    return (0.1 * (sound * decay + noise * decay)).astype(np.float32)


def folder_of(
    root: Path, labels: tuple[str, ...], artists: int, clips: int = 1, seconds: float = 3.0
) -> Path:
    """``clips`` files of each label and artist, and ``root/clips.csv`` with path, label and group.

    The files are ``root/<label>/<label>_<artist>_<number>.wav``.
    """
    rows = ["path,label,group"]
    for label in labels:
        (root / label).mkdir(parents=True, exist_ok=True)
        for artist in range(artists):
            for number in range(clips):
                path = root / label / f"{label}_{artist}_{number}.wav"
                soundfile.write(path, clip(label, artist, number, seconds), RATE)
                rows.append(f"{label}/{path.name},{label},{label} artist {artist}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root
