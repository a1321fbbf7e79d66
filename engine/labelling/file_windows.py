"""A file in, its windows as log-mels or as samples out: the work of one child process."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..arrays import Float32
from ..audio.decoder import Decoder, Limits
from ..audio.formats import is_remote
from ..audio.open import open_decoder
from ..audio.windows import WindowCount, windows_from_decoder
from ..errors import AudioError
from ..spec import AudioSpec
from ..spectrogram.log_mel import log_mel_from_audio

_LONGEST_TAG = 500
_LOUDEST = 1e15  # far above any sound; the power of a window of it still fits float32

_Make = Callable[[Float32, AudioSpec], Float32]


@dataclass(frozen=True)
class WindowOptions:
    """Which windows of a file are read, how, and what a file may cost.

    ``windows`` and ``hop_s`` as in ``windows_from_decoder``. ``decoder`` "dali" is DALI's own (see
    ``DaliDecoder``), for the few formats that it reads.
    """

    spec: AudioSpec
    windows: WindowCount = 3
    hop_s: float | None = None
    limits: Limits = field(default_factory=Limits)
    decoder: Literal["auto", "dali"] = "auto"


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file beside its sound: where its windows begin, its length, its tags.

    ``seconds`` is the CPU time of "decode", "resample" and "mel".
    """

    starts_s: tuple[float, ...]
    duration_s: float
    decoder: str
    seconds: dict[str, float]
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileLogMels:
    """``log_mels`` is float32 ``[windows, 1, mels, frames]``."""

    facts: FileFacts
    log_mels: Float32


@dataclass(frozen=True)
class FileSamples:
    """``samples`` is float32 ``[windows, window_samples]``."""

    facts: FileFacts
    samples: Float32


def log_mels_from_file(path: str, options: WindowOptions) -> FileLogMels:
    """Decodes a file's windows and makes their log-mels, one window in memory at a time.

    A URL is copied to a temporary file first, as far as the limits let it.

    Raises:
        AudioError: the file gives no usable audio.
    """
    facts, arrays = _arrays_from_file(path, options, log_mel_from_audio)
    return FileLogMels(facts, arrays)


def log_mels_from_decoder(decoder: Decoder, options: WindowOptions) -> FileLogMels:
    """The same of a decoder that is open already, and stays so."""
    facts, arrays = _arrays_from_decoder(decoder, options, log_mel_from_audio, time.process_time())
    return FileLogMels(facts, arrays)


def samples_from_file(path: str, options: WindowOptions) -> FileSamples:
    """Decodes a file's windows; their log-mels are made elsewhere, on the GPU. See ``log_mels_from_file``."""
    facts, arrays = _arrays_from_file(path, options, _checked_samples)
    return FileSamples(facts, arrays)


def _checked_samples(audio: Float32, spec: AudioSpec) -> Float32:
    # Not finite: a GPU's ReLU would make NaN zero, and the label of it would look like any other.
    return audio if np.abs(audio).max() < _LOUDEST else np.full_like(audio, np.inf)


def _arrays_from_file(path: str, options: WindowOptions, make: _Make) -> tuple[FileFacts, Float32]:
    if is_remote(path):
        from ..audio.remote_copy import local_copy

        with local_copy(path, options.limits) as local:
            return _arrays_from_local(local, options, make)
    return _arrays_from_local(path, options, make)


def _arrays_from_local(path: str, options: WindowOptions, make: _Make) -> tuple[FileFacts, Float32]:
    began = time.process_time()  # a decoder's own threads count too
    with closing(_open(path, options)) as decoder:
        return _arrays_from_decoder(decoder, options, make, began)


def _arrays_from_decoder(
    decoder: Decoder, options: WindowOptions, make: _Make, began: float
) -> tuple[FileFacts, Float32]:
    """What ``make`` makes of each window; ``began`` is the process time when opening began."""
    arrays, starts = [], []
    seconds: dict[str, float] = dict.fromkeys(("decode", "resample", "mel"), 0.0)
    for window in windows_from_decoder(decoder, options.spec, options.windows, options.hop_s):
        read = time.process_time()
        array = make(window.samples[None], options.spec)
        if not np.isfinite(array).all():
            raise AudioError("holds samples so large that their power overflows")
        arrays.append(array)
        starts.append(window.start_s)
        seconds["decode"] += read - began - window.resample_s
        seconds["resample"] += window.resample_s
        began = time.process_time()
        seconds["mel"] += began - read
    duration_s = decoder.length / decoder.sample_rate
    tags = {key: _clean(text) for key, text in decoder.tags().items()}
    seconds["decode"] += time.process_time() - began
    return FileFacts(tuple(starts), duration_s, decoder.name, seconds, tags), np.concatenate(arrays)


def _open(path: str, options: WindowOptions) -> Decoder:
    if options.decoder == "dali":
        from ..audio.dali import DaliDecoder

        return DaliDecoder(path, options.limits, options.spec.sample_rate)
    return open_decoder(path, options.limits)


def _clean(tag: str) -> str:
    """A tag is anyone's text: without bytes that are no text, and no longer than a title can be."""
    return tag.encode("utf-8", "replace").decode().replace("\0", " ").strip()[:_LONGEST_TAG]
