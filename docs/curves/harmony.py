"""What harmony, melody and rhythm know beside frozen networks: the last search of docs/RESULTS.md.

python docs/curves/harmony.py DATA NOTES WEIGHTS...

DATA is the folder with emotion4q, mirex5 and hindi5. NOTES is Basic Pitch's network (Bittner and others,
2022; Apache-2.0), basic_pitch/saved_models/icassp_2022/nmp.onnx of its wheel: pip download --no-deps
basic-pitch==0.4.0. It says which notes sound; 119 numbers of a clip are counted from them, the same in any
key. Prints a Markdown row a set: macro-F1 in five folds by group, three seeds, and with 20 clips a label, ten
draws: of the networks, of these numbers, and of both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soundfile
import soxr
from merkit.training.curves.few_clips import draws_by_label
from merkit.training.embeddings.embeddings import window_embeddings
from merkit.training.runs.session import read_data
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

Array = np.ndarray[Any, Any]

RATE, WINDOW, FRAMES_A_S = 22_050, 43_844, 86
SOUNDS, BEGINS = 0.3, 0.4  # from which probability on a note does
PITCHES = np.arange(21, 109)  # MIDI
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""How well each pitch class fits a key (Krumhansl and Kessler, 1982)."""


def notes_of(path: Path, network: onnxruntime.InferenceSession) -> tuple[Array, Array]:
    """How probable it is that each pitch sounds, and that it begins, ``[frames, 88]``."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    sound = soxr.resample(samples.mean(axis=1), rate, RATE)
    count = max(1, len(sound) // WINDOW)
    sound = np.pad(sound, (0, max(0, count * WINDOW - len(sound))))[: count * WINDOW]
    windows = sound.reshape(count, WINDOW, 1)
    names = [f"StatefulPartitionedCall:{i}" for i in (1, 2)]
    parts = [
        network.run(names, {"serving_default_input_2:0": windows[i : i + 4]}) for i in range(0, count, 4)
    ]
    sounds, begins = (np.concatenate([np.asarray(part[i]) for part in parts]) for i in (0, 1))
    return sounds.reshape(-1, 88), begins.reshape(-1, 88)


def features_of(sounds: Array, begins: Array) -> Array:
    return np.nan_to_num(np.concatenate([np.atleast_1d(part) for part in _features(sounds, begins)]))


def _features(sounds: Array, begins: Array) -> Iterator[Array | float]:
    held = np.where(sounds > SOUNDS, sounds, 0)
    struck = begins > BEGINS
    for octave in range(2, 9):
        here = octave == PITCHES // 12
        yield np.log1p(100 * held[:, here].mean())
        yield np.log1p(100 * begins[:, here].mean())
    voices = (held > 0).sum(axis=1)
    yield voices.mean()
    yield voices.std()
    yield np.log1p(struck.sum() / len(struck) * FRAMES_A_S)
    yield (held > 0).mean() / (1e-3 + struck.mean())
    yield from _harmony(held)
    yield from _melody(held)
    pulse = begins.sum(axis=1) - begins.sum(axis=1).mean()
    echo = np.correlate(pulse, pulse, "full")[len(pulse) - 1 :] / (pulse @ pulse + 1e-6)
    yield np.array([echo[lag : lag + 4].max(initial=0) for lag in range(12, 172, 5)])


def _harmony(held: Array) -> Iterator[Array | float]:
    """Intervals between pitch classes, and what the best key makes of them; the key itself counts nothing."""
    classes = np.stack([held[:, k == PITCHES % 12].sum(axis=1) for k in range(12)], axis=1)
    halves = classes[: len(classes) // 43 * 43].reshape(-1, 43, 12).sum(axis=1)  # of seconds
    total = classes.sum(axis=0) / (classes.sum() + 1e-6)
    local = halves / (np.linalg.norm(halves, axis=1, keepdims=True) + 1e-3)
    for lag in range(1, 7):
        yield 12 * (total * np.roll(total, lag)).sum()
        yield (local * np.roll(local, lag, axis=1)).sum(axis=1).mean()
    keys = np.stack([np.roll(key, tonic) for key in (MAJOR, MINOR) for tonic in range(12)])
    keys = keys - keys.mean(axis=1, keepdims=True)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    fits = keys @ (total - total.mean()) / (np.linalg.norm(total - total.mean()) + 1e-6)
    major, minor = fits[:12].max(), fits[12:].max()
    yield np.array([major, minor, minor - major])
    tonic = int(fits.argmax()) % 12
    low = np.array([held[:, (k == PITCHES % 12) & (PITCHES < 52)].sum() for k in range(12)])
    yield np.roll(total, -tonic)
    yield np.roll(low / (low.sum() + 1e-6), -tonic)
    centred = halves - halves.mean(axis=1, keepdims=True)
    fits = centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-3) @ keys.T
    yield (fits[:, 12:].max(axis=1) - fits[:, :12].max(axis=1)).mean()
    yield fits.max(axis=1).mean()
    yield np.abs(np.diff(halves / (halves.sum(axis=1, keepdims=True) + 1e-3), axis=0)).sum(axis=1).mean()


def _melody(held: Array) -> Iterator[Array | float]:
    """Place and steps of the highest voice."""
    sings = held.max(axis=1) > 0
    top = np.where(sings, 87 - np.argmax(held[:, ::-1] > 0, axis=1), -1)
    yield top[sings].mean() if sings.any() else 0.0
    yield top[sings].std() if sings.any() else 0.0
    steps = np.diff(top)[sings[1:] & sings[:-1]]
    steps = np.clip(steps[steps != 0], -12, 12)
    yield np.histogram(steps, bins=np.arange(-12.5, 13.5))[0] / (len(steps) + 1)


def standardised(x: Array) -> Array:
    return (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)


def figures(x: Array, labels: Array, groups: list[str]) -> tuple[float, float]:
    """Macro-F1 in five folds, and with 20 clips a label."""
    head = LogisticRegression(C=0.003, class_weight="balanced", max_iter=300)
    said, folds, few = np.empty(len(labels), labels.dtype), [], []
    for seed in range(3):
        for given, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(x, labels, groups):
            said[test] = head.fit(x[given], labels[given]).predict(x[test])
        folds.append(f1_score(labels, said, average="macro"))
    for draw in draws_by_label(list(labels), groups, [20], 10):
        given = draw.given[20]
        words = head.fit(x[given], labels[given]).predict(x[draw.test])
        few.append(f1_score(labels[draw.test], words, average="macro"))
    return float(np.mean(folds)), float(np.mean(few))


def main(root: Path, notes: str, sources: list[str]) -> None:
    network = onnxruntime.InferenceSession(notes, providers=["CPUExecutionProvider"])
    counted: dict[Path, Array] = {}
    for name, group_by in (("emotion4q", None), ("mirex5", None), ("hindi5", None), ("hindi5", "source")):
        clips = read_data(root / name, "auto", None, group_by).clips
        labels, groups = np.asarray([clip.label for clip in clips]), [clip.group for clip in clips]
        ears = [np.stack([w.mean(axis=0) for w in window_embeddings(s, clips)]) for s in sources]  # type: ignore[arg-type]
        for clip in clips:
            if clip.path not in counted:
                counted[clip.path] = features_of(*notes_of(clip.path, network))
        heard = np.concatenate([standardised(each) for each in ears], axis=1)
        tones = standardised(np.stack([counted[clip.path] for clip in clips]))
        cells = [figures(x, labels, groups) for x in (heard, tones, np.concatenate([heard, tones], axis=1))]
        row = " | ".join(f"{folds:.3f}, {few:.3f}" for folds, few in cells)
        print(f"| {name}{', by source' if group_by else ''} | {row} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
