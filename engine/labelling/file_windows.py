"""A file in, its windows as log-mels or as samples out: what a child process does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..arrays import Float32, Int16
from ..audio.decoder import Budget, Decoder, Limits
from ..audio.formats import is_remote
from ..audio.open import open_decoder
from ..audio.readable import check_readable
from ..audio.tags import written
from ..audio.windows import WindowCount, windows_from_decoder
from ..errors import AudioError, SilentError, UnreadableError
from ..signals import pass_on_from_handler
from ..spec import AudioSpec
from ..spectrogram.log_mel import log_mel_from_audio
from .packed_samples import packed_from_samples
from .rows_on_disk import GrowingRows, RowsOnDisk

_LONGEST_TAG = 500

_Convert = Callable[[Float32], np.ndarray]  # a window's samples [n] to what is wanted of it


@dataclass(frozen=True)
class WindowOptions:
    """Which windows of a file are read, by which decoder, what a file may cost, and when its label is unsure.

    ``windows`` and ``hop_s`` as in ``windows_from_decoder``. ``decoder`` "dali" is DALI's own, for the few
    formats that it reads: see ``DaliDecoder``. ``min_confidence``: see ``verdict_from_evidence``. ``further``
    are specs of the same windows, whose log-mels are wanted too: see ``FileLogMels``.
    """

    spec: AudioSpec
    windows: WindowCount = 3
    hop_s: float | None = None
    limits: Limits = field(default_factory=Limits)
    decoder: Literal["auto", "dali"] = "auto"
    min_confidence: float | None = None
    further: tuple[AudioSpec, ...] = ()


@dataclass(frozen=True)
class FileFacts:
    """A file's windows, length, decoder and tags, without its sound.

    ``starts_s`` is where each window begins, in seconds; ``silent_s`` likewise, of the windows that are
    silence and that the network does not hear. ``seconds`` is the CPU time of "decode", "resample" and "mel".
    """

    starts_s: tuple[float, ...]
    duration_s: float
    decoder: str
    seconds: dict[str, float]
    tags: dict[str, str] = field(default_factory=dict)
    silent_s: tuple[float, ...] = ()


class SilentFileError(SilentError):
    """The error of a file that is silence, with its facts: its row has them."""

    facts: FileFacts | None = None


@dataclass(frozen=True)
class FileLogMels:
    """A file that was read; ``log_mels`` is float32 ``[windows, 1, mels, frames]`` of those that sound.

    Where further specs are wanted, it is ``[windows, 1, 1, cells]``: the log-mels of each, one after another.
    """

    facts: FileFacts
    log_mels: Float32 | RowsOnDisk

    @property
    def bytes_on_disk(self) -> int:
        """What it takes beyond memory."""
        return self.log_mels.nbytes if isinstance(self.log_mels, RowsOnDisk) else 0


@dataclass(frozen=True)
class FileSamples:
    """A file that was read: of those windows that sound, int16 ``[windows, window_samples]`` and scales.

    Those are float32 ``[windows]``: a sample is its number times its window's scale.
    """

    facts: FileFacts
    samples: Int16 | RowsOnDisk
    scales: Float32

    @property
    def bytes_on_disk(self) -> int:
        """What it takes beyond memory."""
        return self.samples.nbytes if isinstance(self.samples, RowsOnDisk) else 0


def log_mels_from_file(path: str, options: WindowOptions) -> FileLogMels:
    """Decodes a file's windows and computes their log-mels.

    A URL is copied to a temporary file first, within the limits.

    Raises:
        AudioError: the file gives no usable audio.
    """
    facts, arrays = _arrays_from_file(path, options, _log_mels(options))
    return FileLogMels(facts, arrays)


def log_mels_from_decoder(decoder: Decoder, options: WindowOptions) -> FileLogMels:
    """The same from an open decoder, which stays open.

    Raises:
        AudioError: it gives no usable audio.
    """
    facts, arrays = _arrays_from_decoder(decoder, options, _log_mels(options), time.process_time())
    return FileLogMels(facts, arrays)


def samples_from_file(path: str, options: WindowOptions) -> FileSamples:
    """Decodes a file's windows; their log-mels are computed on the GPU. See ``log_mels_from_file``.

    Raises:
        AudioError: the file gives no usable audio.
    """
    scales: list[np.float32] = []

    def packed(samples: Float32) -> Int16:
        numbers, scale = packed_from_samples(samples)
        scales.append(scale)
        return numbers

    facts, arrays = _arrays_from_file(path, options, packed)
    return FileSamples(facts, arrays, np.asarray(scales, np.float32))


def _log_mels(options: WindowOptions) -> _Convert:
    if not options.further:
        return lambda samples: log_mel_from_audio(samples[None], options.spec)[0]
    specs = (options.spec, *options.further)
    return lambda samples: np.concatenate(
        [log_mel_from_audio(samples[None], spec).reshape(1, 1, -1) for spec in specs], axis=2
    )


def _arrays_from_file(
    path: str, options: WindowOptions, convert: _Convert
) -> tuple[FileFacts, np.ndarray | RowsOnDisk]:
    if is_remote(path):
        from ..audio.remote_copy import local_copy

        with local_copy(path, options.limits) as local:
            return _arrays_from_file(local, options, convert)
    began = time.process_time()  # a decoder's own threads count too
    budget = Budget(options.limits)
    with _readable(path), closing(_open(path, options, budget)) as decoder:
        return _arrays_from_decoder(decoder, options, convert, began, budget, path)


def tags_from_file(path: str, options: WindowOptions) -> dict[str, str]:
    """A local file's tags, without its sound.

    Raises:
        AudioError: the file cannot be opened.
    """
    with _readable(path):
        if tags := written.tags_from_file(path):
            return _clean(tags)
        with closing(_open(path, options, Budget(options.limits))) as decoder:
            return _clean(decoder.tags())


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """An error that a file's disk is to blame for becomes an ``UnreadableError``."""
    try:
        yield
    except UnreadableError:
        raise
    except AudioError:
        check_readable(path)
        raise
    except OSError as error:
        pass_on_from_handler(error)
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from None


def _arrays_from_decoder(
    decoder: Decoder,
    options: WindowOptions,
    convert: _Convert,
    began: float,
    budget: Budget | None = None,
    path: str | None = None,
) -> tuple[FileFacts, np.ndarray | RowsOnDisk]:
    """Converts each window that sounds; ``began`` is the process time at which the decoder began to open.

    Raises:
        SilentFileError: none of them does.
    """
    arrays, starts, silent = GrowingRows(), [], []
    seconds: dict[str, float] = dict.fromkeys(("decode", "resample", "mel"), 0.0)
    silence: SilentFileError | None = None
    try:
        for window in windows_from_decoder(decoder, options.spec, options.windows, options.hop_s, budget):
            read = time.process_time()
            if window.silent:
                silent.append(window.start_s)
            else:
                arrays.add(convert(window.samples))
                starts.append(window.start_s)
            seconds["decode"] += read - began - window.resample_s
            seconds["resample"] += window.resample_s
            began = time.process_time()
            seconds["mel"] += began - read
    except SilentError as error:
        silence = SilentFileError(str(error))
    duration_s = decoder.length / decoder.sample_rate
    tags = {}
    with suppress(AudioError):  # a file that has gone meanwhile has its windows
        tags = written.tags_from_file(path) if path else {}
    tags = _clean(tags or decoder.tags())
    seconds["decode"] += time.process_time() - began
    heard = set(starts)
    unheard = tuple(start for start in silent if start not in heard)
    facts = FileFacts(tuple(starts), duration_s, decoder.name, seconds, tags, unheard)
    if silence:
        silence.facts = facts
        raise silence
    return facts, arrays.all()


def _open(path: str, options: WindowOptions, budget: Budget) -> Decoder:
    if options.decoder == "dali":
        from ..audio.dali import DaliDecoder

        return DaliDecoder(path, options.limits, options.spec.sample_rate)
    return open_decoder(path, budget)


def _clean(tags: dict[str, str]) -> dict[str, str]:
    """Tags may hold anything: these are valid UTF-8 without NUL, and no longer than a title can be."""
    return {
        name: text.encode("utf-8", "replace").decode().replace("\0", " ").strip()[:_LONGEST_TAG]
        for name, text in tags.items()
    }
