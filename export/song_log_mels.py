"""Log-mels that belong to songs: decoded from audio, read from an archive, or made of generated sound."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from ..engine.arrays import Float32
from ..engine.audio.formats import open_regular_file
from ..engine.errors import MerError
from ..engine.labelling.file_windows import WindowOptions, log_mels_from_file
from ..engine.labelling.worker_pool import Failure, WorkerPool
from ..engine.spec import AudioSpec
from ..engine.spectrogram.log_mel import log_mel_from_audio
from ..engine.temporary import chosen_folder
from .library_step import kind_and_message

_LARGEST_ARCHIVE = 4 << 30  # bytes of images, unpacked: 26,000 windows of the default spec


@dataclass(frozen=True)
class SongLogMels:
    """The windows of several songs as float32 log-mels ``[windows, 1, mels, frames]``, perhaps on disk.

    ``songs`` has an array for each song: the positions of its windows in ``log_mels``. ``paths`` are the
    songs' files, empty where the windows were not decoded from files. ``failed`` are the files that gave
    no windows, each with the reason.
    """

    log_mels: Float32
    songs: tuple[npt.NDArray[np.intp], ...]
    paths: tuple[Path, ...] = ()
    failed: tuple[tuple[Path, str], ...] = ()

    @classmethod
    def one_window_each(cls, log_mels: Float32) -> SongLogMels:
        """Every window as a song of its own."""
        return cls(log_mels, tuple(np.arange(i, i + 1) for i in range(len(log_mels))))

    def spread(self, count: int) -> Float32:
        """At most ``count`` windows ``[windows, 1, mels, frames]``, from as many songs as possible."""
        by_turns = chain.from_iterable(zip_longest(*self.songs))
        chosen = [window for window in by_turns if window is not None][:count]
        return np.ascontiguousarray(self.log_mels[chosen])


def log_mels_from_songs(
    paths: Sequence[Path], spec: AudioSpec, windows: int, workers: int = 0, spare: Sequence[Path] = ()
) -> SongLogMels:
    """Decodes ``windows`` windows of each song in child processes; 0 ``workers`` are one a core.

    In place of each file that gives no audio the next of ``spare`` is decoded, while there is one. The
    log-mels lie in a temporary file, not in memory.

    Raises:
        MerError: no file gives audio.
    """
    options = WindowOptions(spec, windows)
    begin, end = 0, len(paths)
    paths = [*paths, *spare]
    spans: dict[int, tuple[int, int]] = {}  # position in ``paths`` to the song's windows: first, end
    failed: dict[int, str] = {}
    total = 0
    with (
        tempfile.TemporaryFile(prefix="mer-log-mels-") as file,  # the memmap keeps what it needs of it
        WorkerPool(log_mels_from_file, options, workers, options.limits.seconds) as pool,
    ):
        while begin < end:
            for position, result in pool.map([str(path) for path in paths[begin:end]]):
                if isinstance(result, Failure):
                    failed[begin + position] = result.reason
                    continue
                _append(file, np.asarray(result.log_mels))
                spans[begin + position] = (total, total + len(result.log_mels))
                total += len(result.log_mels)
            begin, end = end, min(len(paths), end + sum(position >= begin for position in failed))
        if not total:
            raise MerError(f"none of {len(failed)} files gives audio; {paths[0]}: {failed[0]}")
        log_mels = np.memmap(file, np.float32, "r", shape=(total, 1, spec.n_mels, spec.frames))
    decoded = sorted(spans)
    songs = tuple(np.arange(*spans[position]) for position in decoded)
    return SongLogMels(
        log_mels,
        songs,
        tuple(paths[position] for position in decoded),
        tuple((paths[position], failed[position]) for position in sorted(failed)),
    )


def failures_of(paths: Sequence[Path], spec: AudioSpec, windows: int, workers: int = 0) -> dict[Path, str]:
    """Those of the files that give no audio, with the reasons; like ``log_mels_from_songs``, nothing kept."""
    options = WindowOptions(spec, windows)
    with WorkerPool(log_mels_from_file, options, workers, options.limits.seconds) as pool:
        results = pool.map([str(path) for path in paths])
        return {paths[i]: result.reason for i, result in results if isinstance(result, Failure)}


def _append(file: IO[bytes], log_mels: Float32) -> None:
    try:
        file.write(log_mels.tobytes())
        file.flush()
    except OSError as error:
        folder = chosen_folder()
        raise MerError(f"log-mels cannot be written into {folder}: {error.strerror}") from None


def log_mels_from_archive(path: Path, spec: AudioSpec) -> SongLogMels:
    """Reads an .npz of ``images`` ``[windows, 1, mels, frames]`` and the ``audio_spec`` (JSON) of them.

    Raises:
        MerError: not such an archive, or made with another AudioSpec than the model's.
    """
    try:
        with os.fdopen(open_regular_file(path), "rb") as file:
            if zipfile.ZipFile(file).getinfo("images.npy").file_size > _LARGEST_ARCHIVE:
                raise MerError(f"its images take more than {_LARGEST_ARCHIVE >> 30} GB")
            archive = np.load(file, allow_pickle=False)
            log_mels, made_with = archive["images"], AudioSpec.from_json(str(archive["audio_spec"]))
    except MerError as error:
        raise MerError(f"{path} cannot be read: {error}") from None
    except Exception as error:  # zipfile's, zlib's and NumPy's own, whatever the bytes are
        raise MerError(f"{path} is no archive of images and audio_spec: {kind_and_message(error)}") from None
    if made_with != spec:
        raise MerError(
            f"{path} holds images of another AudioSpec than the model's; make them anew from audio"
        )
    if log_mels.ndim != 4 or log_mels.shape[1:] != (1, spec.n_mels, spec.frames) or not len(log_mels):
        raise MerError(
            f"{path} holds images {list(log_mels.shape)}, not [n, 1, {spec.n_mels}, {spec.frames}]"
        )
    is_real = log_mels.dtype.kind in "fiu"
    with np.errstate(over="ignore"):  # numbers that float32 does not hold become infinite
        log_mels = log_mels.astype(np.float32) if is_real else log_mels
    if not is_real or not np.isfinite(log_mels).all():
        raise MerError(f"{path} holds images that are no finite numbers of float32")
    return SongLogMels.one_window_each(log_mels)


def generated_log_mels(spec: AudioSpec, count: int) -> SongLogMels:
    """``count`` log-mels of generated sound, the same in every call, for checks without data.

    The sound is noise, chords and beats, loud and soft.
    """
    rng = np.random.default_rng(0)
    audio = np.stack([_generated_window(rng, spec) for _ in range(count)])
    return SongLogMels.one_window_each(log_mel_from_audio(audio, spec))


def _generated_window(rng: np.random.Generator, spec: AudioSpec) -> Float32:
    """Coloured noise and a chord that beats, mixed at random levels: ``[window_samples]``."""
    size = spec.window_samples
    time_s = np.arange(size) / spec.sample_rate
    frequencies = np.fft.rfftfreq(size, 1 / spec.sample_rate)
    white = np.fft.rfft(rng.standard_normal(size))
    noise = np.fft.irfft(white / np.maximum(20, frequencies) ** rng.uniform(0, 1.2), size)
    root = rng.uniform(60, 400)
    chord = sum(np.sin(2 * np.pi * root * ratio * time_s) / ratio for ratio in (1, 1.25, 1.5, 2, 3, 4))
    beat = np.exp(-((time_s * rng.uniform(1, 3)) % 1) * rng.uniform(2, 12))
    mixed = rng.uniform(0.1, 1) * noise / np.abs(noise).max() + rng.uniform(0, 1) * chord * beat / 4
    return (10 ** rng.uniform(-2, 0) * mixed / np.abs(mixed).max()).astype(np.float32)
