"""Recordings that are no music, from Debian: ``python -m merkit.training.data.debian_sounds FROM TO``.

FROM is the folder in which packages were unpacked (``dpkg -x``); docs/VERDICT.md names them. TO gets a folder
for each kind, as ``mer-train --non-music`` reads it. A package that is not there gives an empty kind.
Nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

_KINDS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "freedesktop": (60, ("sounds/freedesktop/stereo/*.oga",)),
    "desktop": (90, ("sounds/*.wav", "sounds/*.ogg", "sounds/purple/*", "sounds/gtk-events/*")),
    "telephone": (60, ("asterisk/sounds/en_US_f_Allison/*.wav",)),
    "effects": (110, ("games/hedgewars/Data/Sounds/*.ogg",)),
    "voices": (80, ("games/hedgewars/Data/Sounds/voices/*/*.ogg",)),
    "paint": (40, ("tuxpaint/sounds/*",)),
    "words": (60, ("ktuberling/sounds/*/*.*",)),
    "bubbles": (30, ("games/frozen-bubble/snd/*",)),
}
"""At most so many files of each kind, evenly over their names. Files named "zik" are music."""

_SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and then it runs away across the field to hide from the "
    "farmer who owns the land. In the morning the train leaves at seven thirty from platform two. "
    "Passengers are asked to keep their luggage with them at all times. Namaste, aap kaise hain? Aaj mausam "
    "bahut achha hai aur hum bazaar ja rahe hain."
)
_VOICES = (
    ("en", 50, 160), ("en-us+f3", 70, 180), ("de", 40, 140), ("hi", 50, 150), ("fr+m2", 30, 170),
    ("es+f2", 80, 200), ("hi+f4", 60, 160), ("it+whisper", 50, 150), ("en+croak", 50, 130), ("ru", 50, 170),
)  # fmt: skip
"""Of espeak-ng: voice, pitch, words a minute."""

_RATE = 44_100
_TYPISTS = 6


def collect(unpacked: Path, target: Path) -> dict[str, int]:
    """Fills ``target``; how many files each kind has.

    Raises:
        OSError: a file cannot be copied, or espeak-ng cannot be run.
        subprocess.CalledProcessError: espeak-ng failed.
    """
    share = unpacked / "usr" / "share"
    for kind, (most, patterns) in _KINDS.items():
        files = [path for pattern in patterns for path in sorted(share.glob(pattern))]
        _folder(target, kind)
        for number, path in enumerate(_evenly([p for p in files if "zik" not in p.name], most)):
            shutil.copyfile(path, target / kind / f"{number:03}_{path.name}")
    _speak(unpacked, _folder(target, "speech"))
    _type(sorted(share.glob("buckle/wav/*.wav")), _folder(target, "keyboard"))
    return {path.name: len(list(path.iterdir())) for path in sorted(target.iterdir())}


def _folder(target: Path, kind: str) -> Path:
    (target / kind).mkdir(parents=True)
    return target / kind


def _evenly(files: Sequence[Path], most: int) -> list[Path]:
    step = max(1.0, len(files) / most)
    return [files[int(1 + number * step) - 1] for number in range(min(most, len(files)))]


def _speak(unpacked: Path, folder: Path) -> None:
    program = unpacked / "usr" / "bin" / "espeak-ng"
    if not program.exists():
        return
    (library,) = {path.parent for path in (unpacked / "usr" / "lib").glob("*/libespeak-ng.so.1")}
    libraries = os.pathsep.join((str(library), str(library / "pulseaudio")))
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries, "ESPEAK_DATA_PATH": str(library)}
    for number, (voice, pitch, pace) in enumerate(_VOICES):
        words = ["-v", voice, "-p", str(pitch), "-s", str(pace), "-w", str(folder / f"{number}.wav")]
        subprocess.run([str(program), *words, _SENTENCES], env=environment, check=True, capture_output=True)


def _type(keys: Sequence[Path], folder: Path) -> None:
    """Twenty seconds of typing each: single strokes, put together at random."""
    rng = np.random.default_rng(0)
    for number in range(_TYPISTS if keys else 0):
        typing, seconds = np.zeros(20 * _RATE), 0.2
        while seconds < 19:
            stroke, _ = soundfile.read(keys[int(rng.integers(len(keys)))], always_2d=True)
            begin = int(seconds * _RATE)
            mono = stroke.mean(axis=1)[: len(typing) - begin]
            typing[begin : begin + len(mono)] += mono
            seconds += rng.exponential(0.12) + 0.05
        soundfile.write(folder / f"{number}.wav", typing / np.abs(typing).max() * 0.5, _RATE)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m merkit.training.data.debian_sounds FROM TO")
    for kind, count in collect(Path(sys.argv[1]), Path(sys.argv[2])).items():
        print(kind, count)
