"""Every clip's mel spectrogram in dB, computed once and kept, so that epochs never decode audio."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import models_home
from ...engine.audio.decoder import Limits
from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError
from ...engine.files import whole_file
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import decibels_from_audio
from .clip_ids import clip_ids
from .clip_sound import sound_from_clip

_Job = tuple[str, Path]  # an audio file, and the cache file to write


def cache_home() -> Path:
    """The default folder of spectrograms: ``$MER_HOME/spectrograms``."""
    return models_home().parent / "spectrograms"


def cached_decibels(
    clips: Sequence[Clip],
    spec: AudioSpec,
    folder: Path,
    workers: int = 0,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Float32 | MerError]:
    """What sounds of each clip as float32 ``[mels, frames]`` in dB, memory-mapped.

    In place of a file that labelling refuses (silent, too short, damaged) there is an error with its reason.
    The cache file's name holds the spec's fingerprint and the clip's id: another spec or a changed
    file makes a new one, and an interrupted run continues where it stopped. Cache files are written
    whole or not at all.

    Args:
        workers: child processes that decode; 0 is one a core.
        on_done: called with the number of clips that are ready.

    Raises:
        MerError: the cache cannot be written (the disk is full, for example).
    """
    spec = _before_standardising(spec)
    # The word keeps away from folders of older versions, which hold what labelling refuses.
    subfolder = folder / f"{spec.fingerprint[:16]}-sound"
    try:
        subfolder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MerError(f"the cache {subfolder} cannot be made: {error.strerror}") from None
    results: dict[int, Float32 | MerError] = {}
    missing: dict[Path, list[int]] = {}  # clips with the same bytes share a cache file
    for position, identity in enumerate(clip_ids(clips)):
        if isinstance(identity, MerError):
            results[position] = identity
            continue
        target = subfolder / f"{identity}.npy"
        decibels = _read(target, spec)
        if decibels is None:
            missing.setdefault(target, []).append(position)
        else:
            results[position] = decibels
    on_done(len(results))
    jobs = [(str(clips[positions[0]].path), target) for target, positions in missing.items()]
    for target, result in _computed(jobs, spec, workers):
        results |= dict.fromkeys(missing[target], result)
        on_done(len(results))
    return [results[position] for position in range(len(clips))]


def _before_standardising(spec: AudioSpec) -> AudioSpec:
    """The spec without what applies to a window's dB: such fields need no other cache."""
    return dataclasses.replace(
        spec, short_audio="repeat", mean=(0.0,), std=(1.0,), reference="one", top_db=None
    )


def _computed(
    jobs: Sequence[_Job], spec: AudioSpec, workers: int
) -> Iterator[tuple[Path, Float32 | MerError]]:
    """Writes the missing cache files in child processes and reads each as soon as it is there."""
    if not jobs:
        return
    with WorkerPool(_write, spec, workers, Limits().seconds) as pool:
        for position, result in pool.map(jobs):
            target = jobs[position][1]
            if isinstance(result, Failure):
                yield target, MerError(result.reason)
                continue
            if result:
                raise MerError(f"the cache {target.parent} cannot be written: {result}")
            decibels = _read(target, spec)
            yield target, MerError("its cached spectrogram is damaged") if decibels is None else decibels


def _read(target: Path, spec: AudioSpec) -> Float32 | None:
    """None where the cache file is missing or damaged: it is then computed."""
    try:
        decibels = np.load(target, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    good = decibels.dtype == np.float32 and decibels.ndim == 2 and decibels.shape[0] == spec.n_mels
    return decibels if good and decibels.shape[1] else None


def _write(job: _Job, spec: AudioSpec) -> str:
    """Decodes a file and writes its spectrogram, in a child process.

    Returns:
        Why the cache cannot be written; empty where it was.
    """
    path, target = job
    decibels = decibels_from_audio(sound_from_clip(path, spec), spec)
    try:
        with whole_file(target) as file:
            np.save(file, decibels)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "the disk is full; nothing half-written was kept" if full else str(error)
    return ""
