"""What is split, trained on and tested: clips, or the sub-clips cut from them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ...engine.arrays import Float32
from ...engine.data.labelled_audio import Clip, LabelledAudio
from ...engine.errors import MerError
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import log_mel_from_decibels, mel_edges
from ...engine.text.escape import storable, text_from_path
from .augment import spread_crops
from .near_copies import near_copies
from .on_demand import OnDemand
from .spectrogram_cache import ClipSound, cached_sounds

Integers = npt.NDArray[np.intp]
T = TypeVar("T", int, str)

_NOTHING_DB = 80.0  # below the loudest mel: where a file of a lower rate, or a codec, has cut its sound off


@dataclass(frozen=True)
class Examples:
    """Labelled spectrograms ``[mels, frames]`` in dB, in a fixed order, read from disk when they are used.

    ``clips``, ``decibels`` (without the spec's floor), ``windows`` (``[windows, mels, frames]`` in dB, as the
    engine hears the example), ``targets`` (positions in ``labels``) and ``songs`` have one entry an
    example. ``readable`` are the clips that labelling accepts, ``songs[i]`` is the position there of the
    clip that example ``i`` was cut from. ``skipped`` are the other files, each with the reason.
    ``sounds`` are the whole ``decibels`` of the readable clips.
    ``copies`` are sets of readable clips (positions) that hold the same recording; their groups are one.
    ``grouped_by`` is the data's, or "recording" for sub-clips and near copies of clips without a group.
    """

    clips: tuple[Clip, ...]
    decibels: Sequence[Float32]
    windows: Sequence[Float32]
    targets: Integers
    songs: Integers
    readable: tuple[Clip, ...]
    labels: tuple[str, ...]
    grouped_by: str
    skipped: tuple[tuple[Path, str], ...] = ()
    copies: tuple[tuple[int, ...], ...] = ()
    sounds: Sequence[Float32] = ()

    @property
    def recordings(self) -> list[int]:
        """A number for each example; those of the same recording have the same."""
        first = {song: songs[0] for songs in self.copies for song in songs}
        return [first.get(int(song), int(song)) for song in self.songs]

    @property
    def left_out(self) -> list[list[str]]:
        """``skipped`` as metrics.json has it: text, whatever bytes a name holds."""
        return [[text_from_path(str(path)), storable(reason)] for path, reason in self.skipped]

    def counts(self) -> dict[str, int]:
        """The number of examples of each label."""
        counts = Counter(clip.label for clip in self.clips)
        return {label: counts[label] for label in self.labels}


def examples_from_audio(
    data: LabelledAudio,
    spec: AudioSpec,
    cache: Path,
    windows: int = 3,
    sub_clips: int = 0,
    workers: int = 0,
    on_done: Callable[[int], None] = lambda count: None,
) -> Examples:
    """Reads labelled audio through the cache; what labelling refuses is left out and listed in ``skipped``.

    Args:
        windows: evenly spread windows of an example, those that a network is evaluated on.
        sub_clips: above 0 each clip is cut into that many windows of the spec's length, one after
            another (the Indian classical paper: five of 5 s). A sub-clip's group is its clip's, or
            the clip itself where nothing larger is known.
        workers: child processes that decode; 0 is one a core.
        on_done: called with the number of clips that are ready.

    Raises:
        MerError: the cache cannot be written, or a label has no clip that can be used.
    """
    results = cached_sounds(data.clips, spec, windows, cache, workers, on_done)
    readable: list[tuple[Clip, ClipSound]] = []
    skipped: list[tuple[Path, str]] = []
    for clip, result in zip(data.clips, results, strict=True):
        if isinstance(result, MerError):
            skipped.append((clip.path, str(result)))
        else:
            readable.append((clip, result))
    lost = [label for label in data.labels if not any(clip.label == label for clip, _ in readable)]
    if lost:
        path, reason = skipped[0] if skipped else ("", "no clips")
        raise MerError(
            f"no clip of {', '.join(lost)} can be used ({len(skipped)} clips cannot; {path}: {reason}): "
            "add clips, or leave that label out"
        )
    sounds = OnDemand(sound.decibels for _, sound in readable)
    pairs = near_copies(sounds, spec.hop_length / spec.sample_rate)
    copies = connected(pairs)
    kept = in_one_group([clip for clip, _ in readable], copies)
    examples = [
        (song, kept[song], *part)
        for song, (_, sound) in enumerate(readable)
        for part in _parts(sound, spec, sub_clips, windows)
    ]
    songs, clips, decibels, heard = zip(*examples, strict=True)
    return Examples(
        clips,
        OnDemand(decibels),
        OnDemand(heard),
        np.asarray([data.labels.index(clip.label) for clip in clips]),
        np.asarray(songs),
        tuple(kept),
        data.labels,
        "recording" if (sub_clips or copies) and data.grouped_by == "clip" else data.grouped_by,
        tuple(skipped),
        copies,
        sounds,
    )


def tag_targets(examples: Examples, training: Integers) -> tuple[tuple[str, ...], Float32]:
    """The tags that can be learnt, and whether each example has them: 0 or 1, ``[examples, tags]``.

    A tag can be learnt if at least five examples of the training part have it and at least one has not.
    """
    counts = Counter(tag for i in training for tag in examples.clips[i].tags)
    tags = tuple(sorted(tag for tag, count in counts.items() if 5 <= count < len(training)))
    rows = [[tag in clip.tags for tag in tags] for clip in examples.clips]
    return tags, np.asarray(rows, np.float32).reshape(len(examples.clips), len(tags))


def end_of_band(spec: AudioSpec, examples: Examples) -> float:
    """The frequency in Hz above which nine of ten examples hold nothing; ``spec.fmax`` where they go on."""
    # Not the loudest frame: at the edges of a window all mels sound for a moment. One frame in eight will do.
    loud = np.stack([np.percentile(windows[:, :, ::8], 90, axis=(0, 2)) for windows in examples.windows])
    silent = loud < loud.max(axis=1, keepdims=True) - _NOTHING_DB
    # From the highest mel down: all of them are silent.
    above = np.logical_and.accumulate(silent[:, ::-1], axis=1)[:, ::-1].mean(axis=0) >= 0.9
    silent_mels = int(above.sum())
    return float(mel_edges(spec)[-2 - silent_mels]) if silent_mels else spec.fmax


def standardised(spec: AudioSpec, clips: Iterable[Float32]) -> AudioSpec:
    """The spec with the mean and standard deviation of clips, one of each for all mels.

    A spec that has others than 0 and 1 keeps them: its network counts on them. Sums are in float64: in
    float32 their error would grow with the number of frames.

    Args:
        clips: the windows of each, ``[windows, mels, frames]`` in dB, as the engine hears them.
    """
    neutral = dataclasses.replace(spec, mean=(0.0,), std=(1.0,))
    if spec != neutral:
        return spec
    total = squares = count = 0.0
    for windows in clips:
        for window in windows:
            exact = np.asarray(log_mel_from_decibels(window, neutral), np.float64)
            total += float(exact.sum())
            squares += float(np.square(exact).sum())
            count += exact.size
    mean = total / count
    return dataclasses.replace(spec, mean=(mean,), std=(max(squares / count - mean**2, 1e-6) ** 0.5,))


def connected(pairs: Sequence[tuple[T, T]]) -> tuple[tuple[T, ...], ...]:
    """The sets of what pairs connect, sorted."""
    set_of: dict[T, set[T]] = {}
    for pair in pairs:
        small, large = sorted((set_of.setdefault(one, {one}) for one in pair), key=len)
        if small is not large:
            large |= small
            set_of |= dict.fromkeys(small, large)
    sets = {id(one): one for one in set_of.values()}
    return tuple(sorted(tuple(sorted(one)) for one in sets.values()))


def in_one_group(clips: Sequence[Clip], copies: Sequence[Sequence[int]]) -> list[Clip]:
    """The clips, with one group for the groups of which clips are copies of each other."""
    groups = [(clips[songs[0]].group, clips[song].group) for songs in copies for song in songs[1:]]
    names = {group: joined[0] for joined in connected(groups) for group in joined}
    return [clip.regrouped(names.get(clip.group, clip.group)) for clip in clips]


def _parts(
    sound: ClipSound, spec: AudioSpec, count: int, windows: int
) -> list[tuple[Callable[[], Float32], Callable[[], Float32]]]:
    """What gives the ``decibels`` and the ``windows`` of the clip itself, or of ``count`` sub-clips.

    A sub-clip that holds less than half a window is left out. The engine labels no sub-clips: their windows
    are cut out of the clip's spectrogram.
    """
    if not count:
        return [(sound.decibels, sound.windows)]
    step = spec.window_samples // spec.hop_length  # windows that adjoin; each has one frame more than this
    frames = sound.decibels().shape[1]

    def part(start: int) -> Float32:
        return sound.decibels()[:, start : start + spec.frames]

    return [
        (partial(part, start), lambda start=start: spread_crops(part(start), spec, windows))
        for start in range(0, count * step, step)
        if not start or frames - start > spec.frames // 2
    ]
