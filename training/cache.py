"""Every clip's mel spectrogram in dB, made once, so that epochs never decode."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ..engine.audio import samples_from_decoder
from ..engine.decoders import Float32, Limits, open_decoder
from ..engine.errors import MerError
from ..engine.spec import AudioSpec
from ..engine.spectrogram import decibels_from_audio


def cached_decibels(
    paths: Sequence[Path], spec: AudioSpec, folder: Path, workers: int | None = None
) -> Iterator[Float32 | MerError]:
    """Whole files as float32 ``[mels, frames]`` dB, memory-mapped; an error in place of a bad file.

    Kept in ``folder`` by the spec and the file's hash, so another spec or a changed file is made
    anew and an interrupted run goes on where it was. A file appears under its name only when whole.
    """
    # What is done after the dB is not in the cache, so it does not make another one.
    sound = dataclasses.replace(spec, mean=(0.0,), std=(1.0,), reference="one", top_db=None)
    place = folder / sound.fingerprint[:16]
    place.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        made = pool.map(_make, paths, [sound] * len(paths), [place] * len(paths), chunksize=8)
        for answer in made:
            yield np.load(answer, mmap_mode="r") if isinstance(answer, Path) else answer


def _make(path: Path, spec: AudioSpec, place: Path) -> Path | MerError:
    try:
        target = place / f"{_hash(path)}.npy"
        if target.exists():
            return target
        with closing(open_decoder(path, Limits())) as decoder:
            decibels = decibels_from_audio(samples_from_decoder(decoder, spec), spec)
        if not np.isfinite(decibels).all():
            raise MerError("holds samples that are not finite (NaN or infinite)")
        aside = target.with_suffix(f".{os.getpid()}.part")
        try:
            with aside.open("wb") as file:
                np.save(file, decibels)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
        return target
    except MerError as error:
        return error


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MerError(f"cannot be read: {error.strerror}") from None
