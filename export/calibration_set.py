"""The images that an export is calibrated, compared and scored on."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..engine.arrays import Float32
from ..engine.catalogue.expand import inputs_from_paths
from ..engine.data.labelled_audio import Clip, LabelledAudio, held_out_clips
from ..engine.errors import MerError
from ..engine.labelling.file_windows import WindowOptions, log_mels_from_file
from ..engine.labelling.worker_pool import Failure, WorkerPool
from ..engine.spec import AudioSpec, ModelSpec
from ..engine.spectrogram.log_mel import log_mel_from_audio

HELD_OUT_KEY = "test_clips"
"""The key of ModelSpec.provenance that lists the clips the model never heard: see ``held_out_clips``."""

_SEED = 0


@dataclass(frozen=True)
class SongLogMels:
    """``images`` is float32 ``[windows, 1, mels, frames]``, perhaps on disk; ``songs`` says whose they are.

    ``songs`` holds for each of ``paths`` the positions of its windows. ``failed`` are the files that
    gave none, with the reason.
    """

    images: Float32
    songs: tuple[npt.NDArray[np.intp], ...]
    paths: tuple[Path, ...]
    failed: tuple[tuple[Path, str], ...] = ()

    def spread(self, count: int) -> Float32:
        """At most ``count`` windows, from as many songs as there are."""
        by_turn = chain.from_iterable(zip_longest(*self.songs))
        chosen = [position for position in by_turn if position is not None][:count]
        return np.ascontiguousarray(self.images[chosen])


@dataclass(frozen=True)
class Split:
    """Clips to calibrate on and clips to score, by different artists; ``origin`` says who chose."""

    train: tuple[Clip, ...]
    test: tuple[Clip, ...]
    origin: str


def split_clips(data: LabelledAudio, spec: ModelSpec) -> Split:
    """The split the model was trained with, from its provenance; else 80/20 by group.

    Raises:
        MerError: labels that are not the model's, or too few groups to split.
    """
    strange = sorted(set(data.labels) - set(spec.labels))
    if strange:
        raise MerError(
            f"the data's labels are not the model's: {', '.join(strange)} not in {', '.join(spec.labels)}"
        )
    names = spec.provenance.get(HELD_OUT_KEY)
    held_out = set(held_out_clips(data.clips, names))
    if held_out:
        train = tuple(clip for position, clip in enumerate(data.clips) if position not in held_out)
        test = tuple(clip for position, clip in enumerate(data.clips) if position in held_out)
        return Split(train, test, "the clips that the model's provenance holds out")
    why = "names clips that are not in this data" if names else "does not say which clips were held out"
    origin = (
        f"a split of 80/20 by {data.grouped_by} made now, for the model's provenance {why}: "
        "it may have been trained on the clips it is scored on"
    )
    from sklearn.model_selection import StratifiedGroupKFold

    labels = [clip.label for clip in data.clips]
    groups = [clip.group for clip in data.clips]
    if len(set(groups)) < 5 or min(labels.count(label) for label in set(labels)) < 5:
        raise MerError(
            f"too little data to hold a fifth out by {data.grouped_by}: 5 groups and 5 clips a label"
        )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=_SEED)
    train_at, test_at = next(folds.split(labels, labels, groups))
    return Split(tuple(data.clips[i] for i in train_at), tuple(data.clips[i] for i in test_at), origin)


def calibration_paths(clips: Sequence[Clip], windows: int) -> tuple[list[Path], int]:
    """Songs to calibrate on, the labels by turns, and how many windows of each make ``windows``."""
    by_label: dict[str, list[Path]] = defaultdict(list)
    for at in np.random.default_rng(_SEED).permutation(len(clips)):
        by_label[clips[at].label].append(clips[at].path)
    turns = chain.from_iterable(zip_longest(*(by_label[label] for label in sorted(by_label))))
    songs = [path for path in turns if path is not None][:windows]
    if not songs:
        raise MerError("no song is left to calibrate on")
    return songs, math.ceil(windows / len(songs))


def paths_from_audio(place: str, windows: int) -> tuple[list[Path], int]:
    """The same from a folder or file without labels."""
    found = [Path(path) for path in inputs_from_paths([place]).paths]
    return calibration_paths([Clip(path, "", path.name) for path in found], windows)


def log_mels_from_songs(
    paths: Sequence[Path], spec: AudioSpec, windows: int, workers: int = 0
) -> SongLogMels:
    """Decodes songs in child processes; the images lie in a temporary file, not in memory.

    Raises:
        MerError: no file gives audio.
    """
    options = WindowOptions(spec, windows)
    size = spec.n_mels * spec.frames
    kept: dict[int, tuple[int, int]] = {}
    failed: list[tuple[Path, str]] = []
    total = 0
    file = tempfile.TemporaryFile(prefix="mer-images-")  # noqa: SIM115  (lives as long as the memmap)
    with WorkerPool(log_mels_from_file, options, workers, options.limits.seconds) as pool:
        for position, answer in pool.map([str(path) for path in paths]):
            if isinstance(answer, Failure):
                failed.append((paths[position], answer.reason))
                continue
            file.write(answer.log_mels.tobytes())
            kept[position] = (total, len(answer.log_mels))
            total += len(answer.log_mels)
    if not total:
        raise MerError(f"none of {len(paths)} files gives audio; {failed[0][0]}: {failed[0][1]}")
    file.flush()
    images = np.memmap(file, np.float32, "r", shape=(total, 1, spec.n_mels, spec.frames))
    assert images.nbytes == total * size * 4
    songs = tuple(np.arange(start, start + count) for _, (start, count) in sorted(kept.items()))
    return SongLogMels(images, songs, tuple(paths[position] for position in sorted(kept)), tuple(failed))


def log_mels_from_archive(path: Path, spec: AudioSpec) -> SongLogMels:
    """Calibration images from an .npz: ``images`` and the ``audio_spec`` (JSON) that made them.

    Raises:
        MerError: not such an archive, or made with another AudioSpec than the model's.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, made_with = archive["images"], AudioSpec.from_json(str(archive["audio_spec"]))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise MerError(f"{path} is no archive of images and audio_spec: {error}") from None
    if made_with != spec:
        raise MerError(
            f"{path} holds images of another AudioSpec than the model's; make them anew from audio"
        )
    if images.ndim != 4 or images.shape[1:] != (1, spec.n_mels, spec.frames) or not len(images):
        raise MerError(f"{path} holds images {list(images.shape)}, not [n, 1, {spec.n_mels}, {spec.frames}]")
    songs = tuple(np.arange(at, at + 1) for at in range(len(images)))
    return SongLogMels(images.astype(np.float32), songs, (path,) * len(images))


def generated_log_mels(spec: AudioSpec, count: int = 16) -> SongLogMels:
    """Images of generated sound, for checks without data: noises, chords, beats, loud and soft."""
    rng = np.random.default_rng(_SEED)
    time = np.arange(spec.window_samples) / spec.sample_rate
    audio = np.empty((count, spec.window_samples), np.float32)
    for at in range(count):
        steps = np.fft.rfftfreq(spec.window_samples, 1 / spec.sample_rate)
        spectrum = np.fft.rfft(rng.standard_normal(spec.window_samples))
        noise = np.fft.irfft(spectrum / np.maximum(20, steps) ** rng.uniform(0, 1.2), spec.window_samples)
        root = rng.uniform(60, 400)
        chord = sum(np.sin(2 * np.pi * root * ratio * time) / ratio for ratio in (1, 1.25, 1.5, 2, 3, 4))
        beat = np.exp(-((time * rng.uniform(1, 3)) % 1) * rng.uniform(2, 12))
        mixed = rng.uniform(0.1, 1) * noise / np.abs(noise).max() + rng.uniform(0, 1) * chord * beat / 4
        audio[at] = 10 ** rng.uniform(-2, 0) * mixed / np.abs(mixed).max()
    songs = tuple(np.arange(at, at + 1) for at in range(count))
    return SongLogMels(log_mel_from_audio(audio, spec), songs, (Path("generated"),) * count)
