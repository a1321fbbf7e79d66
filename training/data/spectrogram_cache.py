"""What every clip sounds like in dB, computed once and kept, so that epochs never decode audio."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import models_home
from ...engine.audio.decoder import Limits
from ...engine.cpu import usable_cores
from ...engine.data.labelled_audio import Clip
from ...engine.errors import MerError, os_errors_say
from ...engine.files import whole_file
from ...engine.labelling.file_windows import WindowOptions, log_mels_from_file
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import decibels_from_audio
from .clip_sound import sound_from_clip

_OF_THE_SYSTEM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_FLOOR = 1e-10  # -100 dB: below what any spec hears, so that gain and noise meet the sound itself

_Targets = tuple[Path, Path]  # the cache files of a clip's spectrogram and of its windows
_Job = tuple[str, _Targets]  # an audio file, and the cache files to write


@dataclass(frozen=True)
class ClipSound:
    """A clip in dB, in two files of the cache; what is read of them is memory-mapped.

    Both methods raise a MerError where the file is gone or damaged by now.
    """

    whole: Path
    cut: Path

    def decibels(self) -> Float32:
        """All that sounds of it, float32 ``[mels, frames]``, to -100 dB whatever the spec's floor."""
        return _mapped(self.whole)

    def windows(self) -> Float32:
        """What the engine hears of it, float32 ``[windows, mels, frames]``: the log-mels of labelling before
        they are standardised."""
        return _mapped(self.cut)


def cache_home() -> Path:
    """The default folder of spectrograms: ``$MER_HOME/spectrograms``."""
    return models_home().parent / "spectrograms"


def cached_sounds(
    clips: Sequence[Clip],
    spec: AudioSpec,
    windows: int,
    folder: Path,
    workers: int = 0,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[ClipSound | MerError]:
    """What sounds of each clip, and what the engine hears of it.

    In place of a file that labelling refuses (silent, too short, damaged) there is an error with its reason.
    The cache files' names hold the spec's fingerprint and the clip's id: another spec or a changed
    file makes new ones, and an interrupted run continues where it stopped. Cache files are written
    whole or not at all.

    Args:
        windows: how many the engine hears of a clip.
        workers: child processes that decode; 0 is one a core.
        on_done: called with the number of clips that are ready.

    Raises:
        MerError: the cache cannot be written (the disk is full, for example).
    """
    options = WindowOptions(before_standardising(spec), windows)
    whole = folder / f"{_without_floor(options.spec).fingerprint[:16]}-sound"
    cut = folder / f"{options.spec.fingerprint[:16]}-{windows}-windows"
    for subfolder in (whole, cut):
        with os_errors_say(f"the cache {subfolder} cannot be made"):
            subfolder.mkdir(parents=True, exist_ok=True)
    results: dict[int, ClipSound | MerError] = {}
    missing: dict[_Targets, list[int]] = {}  # clips with the same bytes share their cache files
    for position, identity in enumerate(clip_ids(clips)):
        if isinstance(identity, MerError):
            results[position] = identity
            continue
        targets = whole / f"{identity}.npy", cut / f"{identity}.npy"
        sound = _read(targets, spec)
        if sound is None:
            missing.setdefault(targets, []).append(position)
        else:
            results[position] = sound
    on_done(len(results))
    jobs = [(str(clips[positions[0]].path), targets) for targets, positions in missing.items()]
    for targets, result in _computed(jobs, options, workers):
        results |= dict.fromkeys(missing[targets], result)
        on_done(len(results))
    return [results[position] for position in range(len(clips))]


def clip_ids(clips: Sequence[Clip]) -> Iterator[str | MerError]:
    """Each clip's id, or why the file cannot be read; in threads, since hashing releases the GIL."""

    def identity(clip: Clip) -> str | MerError:
        try:
            return clip.id
        except MerError as error:
            return MerError(str(error).removeprefix(f"{clip.path} "))  # the path is reported beside it

    with ThreadPoolExecutor(usable_cores()) as threads:
        yield from threads.map(identity, clips)


def before_standardising(spec: AudioSpec) -> AudioSpec:
    """The spec without what applies to a window's dB: such fields need no other cache."""
    return dataclasses.replace(spec, mean=(0.0,), std=(1.0,), reference="one", top_db=None)


def _without_floor(spec: AudioSpec) -> AudioSpec:
    return dataclasses.replace(spec, short_audio="repeat", amin=min(spec.amin, _FLOOR))


def _computed(
    jobs: Sequence[_Job], options: WindowOptions, workers: int
) -> Iterator[tuple[_Targets, ClipSound | MerError]]:
    """Writes the missing cache files in child processes and reads each as soon as it is there."""
    if not jobs:
        return
    with WorkerPool(_write, options, workers, Limits().seconds) as pool:
        for position, result in pool.map(jobs):
            targets = jobs[position][1]
            if isinstance(result, Failure):
                yield targets, MerError(result.reason)
                continue
            if result:
                raise MerError(f"the cache {targets[0].parent} cannot be written: {result}")
            sound = _read(targets, options.spec)
            yield targets, MerError("its cached spectrogram is damaged") if sound is None else sound


def _read(targets: _Targets, spec: AudioSpec) -> ClipSound | None:
    """None where a cache file is missing or damaged: both are then computed."""
    sound = ClipSound(*targets)
    try:
        decibels, windows = sound.decibels(), sound.windows()
    except _Unreadable:
        return None
    good = decibels.dtype == windows.dtype == np.float32 and decibels.ndim == 2 and windows.ndim == 3
    good = good and len(decibels) == spec.n_mels and windows.shape[1:] == (spec.n_mels, spec.frames)
    return sound if good and decibels.size and windows.size else None


class _Unreadable(MerError):
    """A file of the cache that is not there, or not whole."""


def _mapped(file: Path) -> Float32:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in _OF_THE_SYSTEM:  # says nothing of the file
            more = "memory" if number == errno.ENOMEM else "open files (ulimit -n)"
            raise MerError(
                f"{file} cannot be opened: {os.strerror(number)}; allow more {more}, or end other programs"
            ) from None
        raise _Unreadable(
            f"{file} of the cache is gone or damaged by now: the same command with --resume makes it anew "
            "and goes on"
        ) from None


def _write(job: _Job, options: WindowOptions) -> str:
    """Decodes a file and writes its spectrogram and its windows, in a child process.

    Returns:
        Why the cache cannot be written; empty where it was.
    """
    path, targets = job
    spec = options.spec
    decibels = decibels_from_audio(sound_from_clip(path, spec), _without_floor(spec))
    # Labelling's own function, which seeks where it can: a score in training is then the engine's.
    windows = np.asarray(log_mels_from_file(path, options).log_mels)[:, 0]
    try:
        for target, array in zip(targets, (decibels, windows), strict=True):
            with whole_file(target) as file:
                np.save(file, array)
    except OSError as error:
        return reason_not_written(error)
    return ""


def reason_not_written(error: OSError) -> str:
    """Why a file of a cache could not be written whole."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "the disk is full; nothing half-written was kept" if full else str(error)
