"""What is split, trained on and tested: clips, or the sub-clips cut from them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import Clip, LabelledAudio
from ...engine.errors import MerError
from ...engine.spec import AudioSpec
from .augment import spread_crops
from .spectrogram_cache import cached_decibels

Integers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Examples:
    """Spectrograms with their labels, in one order.

    ``songs[i]`` is the clip that unit ``i`` was cut from, a position in ``readable``, the clips
    that could be read. ``skipped`` are unreadable files and why.
    """

    clips: tuple[Clip, ...]
    decibels: tuple[Float32, ...]
    targets: Integers
    songs: Integers
    readable: tuple[Clip, ...]
    labels: tuple[str, ...]
    grouped_by: str
    skipped: tuple[tuple[Path, str], ...] = ()

    def counts(self) -> dict[str, int]:
        """Examples of each label."""
        found = Counter(clip.label for clip in self.clips)
        return {label: found[label] for label in self.labels}


def examples_from_audio(
    data: LabelledAudio,
    spec: AudioSpec,
    cache: Path,
    sub_clips: int = 0,
    workers: int = 0,
    on_done: Callable[[int], None] = lambda count: None,
) -> Examples:
    """Reads labelled audio through the cache; unreadable clips are left out and named.

    ``sub_clips`` cuts each clip into that many windows of the spec's length, one after another (the
    Indian classical paper: five of 5 s). A sub-clip's group is its clip's, or the clip itself where
    nothing larger is known.

    Raises:
        MerError: the cache cannot be written, a label without a readable clip, or clips shorter
            than a sub-clip.
    """
    answers = cached_decibels([clip.path for clip in data.clips], spec, cache, workers, on_done)
    kept: list[tuple[Clip, Float32]] = []
    skipped: list[tuple[Path, str]] = []
    for clip, answer in zip(data.clips, answers, strict=True):
        if isinstance(answer, MerError):
            skipped.append((clip.path, str(answer)))
        else:
            kept.append((clip, answer))
    lost = [label for label in data.labels if not any(clip.label == label for clip, _ in kept)]
    if lost:
        path, reason = skipped[0] if skipped else ("", "no clips")
        raise MerError(f"no readable clip of {', '.join(lost)} ({len(skipped)} unreadable; {path}: {reason})")
    clips, decibels, songs = [], [], []
    for song, (clip, whole) in enumerate(kept):
        for part in _parts(whole, spec, sub_clips):
            clips.append(clip)
            decibels.append(part)
            songs.append(song)
    targets = np.asarray([data.labels.index(clip.label) for clip in clips])
    grouped_by = "recording" if sub_clips and data.grouped_by == "clip" else data.grouped_by
    return Examples(
        tuple(clips),
        tuple(decibels),
        targets,
        np.asarray(songs),
        tuple(clip for clip, _ in kept),
        data.labels,
        grouped_by,
        tuple(skipped),
    )


def tag_targets(examples: Examples, training: Integers) -> tuple[tuple[str, ...], Float32]:
    """The clips' tags and a column of 0 and 1 for each, ``[units, tags]``.

    Only of tags that five clips of the training part carry and not all of them: of others nothing
    can be learnt.
    """
    counts = Counter(tag for i in training for tag in examples.clips[i].tags)
    tags = tuple(sorted(tag for tag, count in counts.items() if 5 <= count < len(training)))
    rows = [[tag in clip.tags for tag in tags] for clip in examples.clips]
    return tags, np.asarray(rows, np.float32).reshape(len(examples.clips), len(tags))


def standardised(spec: AudioSpec, examples: Examples, chosen: Integers) -> AudioSpec:
    """The spec with the mean and deviation of the chosen units' images, one of each for all mels.

    float64 sums, so that the result does not depend on how many frames there are.
    """
    neutral = dataclasses.replace(spec, mean=(0.0,), std=(1.0,))
    total = squares = count = 0.0
    for i in chosen:
        whole = examples.decibels[i]
        # Relative to a window's maximum, dB exist for windows only.
        by_window = spec.reference == "max" or spec.top_db is not None
        parts = spread_crops(whole, neutral, 3) if by_window else [whole]
        for part in parts:
            exact = np.asarray(part, np.float64)
            total += float(exact.sum())
            squares += float(np.square(exact).sum())
            count += exact.size
    mean = total / count
    return dataclasses.replace(spec, mean=(mean,), std=(max(squares / count - mean**2, 1e-6) ** 0.5,))


def _parts(whole: Float32, spec: AudioSpec, count: int) -> list[Float32]:
    if not count:
        return [whole]
    step = spec.window_samples // spec.hop_length  # frames a window's length apart; a window has one more
    parts = [whole[:, i * step : i * step + spec.frames] for i in range(count)]
    return [part for i, part in enumerate(parts) if not i or part.shape[1] > spec.frames // 2]
