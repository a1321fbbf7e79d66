"""Every clip's mel spectrogram in dB, made once, so that epochs never decode."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...engine.arrays import Float32
from ...engine.artifact import models_home
from ...engine.audio.decoder import Limits
from ...engine.audio.open import open_decoder
from ...engine.audio.windows import samples_from_decoder
from ...engine.errors import MerError
from ...engine.files import whole_file
from ...engine.labelling.worker_pool import Failure, WorkerPool
from ...engine.spec import AudioSpec
from ...engine.spectrogram.log_mel import decibels_from_audio


def cache_home() -> Path:
    """Where spectrograms live unless told otherwise: ``$MER_HOME/spectrograms``."""
    return models_home().parent / "spectrograms"


def cached_decibels(
    paths: Sequence[Path],
    spec: AudioSpec,
    folder: Path,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[Float32 | MerError]:
    """Whole files as float32 ``[mels, frames]`` dB, memory-mapped; an error in place of a bad file.

    Kept in ``folder`` by the spec and the file's hash, so another spec or a changed file is made
    anew and an interrupted run goes on where it was. A file appears under its name only when whole.

    Args:
        workers: child processes that decode; 0 or None is one a core.
        on_done: called with how many are ready.

    Raises:
        MerError: the cache cannot be written (the disk is full, for one).
    """
    sound = _whole_file(spec)
    place = folder / sound.fingerprint[:16]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MerError(f"the cache {place} cannot be made: {error.strerror}") from None
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        hashes = list(threads.map(_hash, paths))
    found: list[Float32 | MerError | None] = [None] * len(paths)
    missing: dict[Path, list[int]] = {}
    for i, sha in enumerate(hashes):
        if isinstance(sha, MerError):
            found[i] = sha
            continue
        target = place / f"{sha}.npy"
        found[i] = _opened(target, sound)
        if found[i] is None:
            missing.setdefault(target, []).append(i)
    ready = len(paths) - sum(map(len, missing.values()))
    on_done(ready)
    if missing:
        jobs = [(str(paths[places[0]]), target) for target, places in missing.items()]
        with WorkerPool(_make, sound, workers or 0, Limits().seconds) as pool:
            for position, answer in pool.map(jobs):
                target = jobs[position][1]
                if isinstance(answer, _Unwritable):
                    raise MerError(f"the cache {place} cannot be written: {answer.reason}")
                failed = isinstance(answer, Failure)
                made = MerError(answer.reason) if failed else _opened(target, sound)
                for i in missing[target]:
                    found[i] = MerError("its cached spectrogram is damaged") if made is None else made
                ready += len(missing[target])
                on_done(ready)
    return [answer for answer in found if answer is not None]


@dataclass(frozen=True)
class _Unwritable:
    reason: str


def _whole_file(spec: AudioSpec) -> AudioSpec:
    """The spec without what is done after the dB, or to windows: it does not make another cache."""
    window = 10 * spec.sample_rate
    return dataclasses.replace(
        spec,
        window_samples=window,
        frames=1 + window // spec.hop_length,
        short_audio="repeat",
        mean=(0.0,),
        std=(1.0,),
        reference="one",
        top_db=None,
    )


def _opened(target: Path, spec: AudioSpec) -> Float32 | None:
    """None if the file is not there, or is not what it should be: then it is made anew."""
    try:
        decibels = np.load(target, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    good = decibels.dtype == np.float32 and decibels.ndim == 2 and decibels.shape[0] == spec.n_mels
    return decibels if good and decibels.shape[1] else None


def _make(job: tuple[str, Path], spec: AudioSpec) -> _Unwritable | None:
    """The work of one child process: decodes one file and writes its spectrogram."""
    path, target = job
    with closing(open_decoder(path, Limits())) as decoder:
        decibels = decibels_from_audio(samples_from_decoder(decoder, spec), spec)
    if not np.isfinite(decibels).all():
        raise MerError("holds samples that are not finite (NaN or infinite)")
    try:
        with whole_file(target) as file:
            np.save(file, decibels)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return _Unwritable("the disk is full; nothing half-written was kept" if full else str(error))
    return None


def _hash(path: Path) -> str | MerError:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return MerError(f"cannot be read: {error.strerror}")
