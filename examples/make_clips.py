"""Makes the clips beside this file: synthetic, nobody's recordings, and no claim about emotions.

Run from the repository's root: ``python examples/make_clips.py``.
"""

from pathlib import Path

import numpy as np
import soundfile

RATE = 22_050
SECONDS = 12
TONES = {"sa": 0, "komal ga": 3, "ga": 4, "ma": 5, "pa": 7, "komal dha": 8, "dha": 9, "sa'": 12}


def note(semitones: float, seconds: float, attack: float, brightness: int, root: float = 220.0) -> np.ndarray:
    """A plucked (short attack) or bowed (long attack) tone of ``brightness`` harmonics."""
    t = np.arange(round(seconds * RATE)) / RATE
    hertz = root * 2 ** (semitones / 12)
    tone = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, brightness + 1))
    return tone * np.minimum(t / attack, 1) * np.exp(-1.5 * t / seconds)


def melody(names: list[str], step: float, attack: float, brightness: int) -> np.ndarray:
    """The named tones one after the other, over and over, each ringing into the next."""
    clip = np.zeros(SECONDS * RATE + 4 * RATE)
    for i in range(int(SECONDS / step)):
        tone = note(TONES[names[i % len(names)]], 2 * step, attack, brightness)
        clip[round(i * step * RATE) :][: len(tone)] += tone
    return clip[: SECONDS * RATE]


def drums(step: float, loudness: float) -> np.ndarray:
    """Bursts of noise on every step."""
    rng = np.random.default_rng(0)
    t = np.arange(round(step * RATE)) / RATE
    hits = [rng.standard_normal(len(t)) * np.exp(-t * 30) for _ in range(int(SECONDS / step))]
    return loudness * np.resize(np.concatenate(hits), SECONDS * RATE)


CLIPS = {
    "quick_major_with_drums.mp3": melody(["sa", "ga", "pa", "sa'", "pa", "ga"], 0.2, 0.005, 8)
    + drums(0.4, 0.8),
    "harsh_fast_drums.ogg": np.tanh(6 * melody(["sa", "komal ga", "sa", "ma"], 0.12, 0.002, 16))
    + drums(0.12, 1.5),
    "slow_minor.ogg": melody(["sa", "komal ga", "pa", "komal dha", "pa", "komal ga"], 1.2, 0.3, 4),
    "slow_major.mp3": melody(["sa", "ga", "pa", "dha", "sa'", "dha"], 1.5, 0.5, 2),
}


def main() -> None:
    """Writes every clip at -3 dB of full scale."""
    folder = Path(__file__).parent
    for name, clip in CLIPS.items():
        kind, subtype = ("MP3", "MPEG_LAYER_III") if name.endswith(".mp3") else ("OGG", "VORBIS")
        with soundfile.SoundFile(folder / name, "w", RATE, 1, subtype, format=kind) as file:
            for part in np.array_split(0.7 * clip / np.abs(clip).max(), 64):
                file.write(part)


if __name__ == "__main__":
    main()
