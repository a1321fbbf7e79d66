"""A file to the images of its windows: the work of one child process."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .audio import WindowCount, windows_from_decoder
from .decoders import Decoder, Float32, Limits, open_decoder
from .errors import AudioError
from .sources import is_remote
from .spec import AudioSpec
from .spectrogram import image_from_audio

_LONGEST_TAG = 500
_LOUDEST = 1e15  # far above any sound; the power of a window of it still fits float32

Make = Callable[[Float32, AudioSpec], Float32]


@dataclass(frozen=True)
class ImageOptions:
    """How files become images: the spec, which windows, and what a file may cost.

    ``decoder`` "dali" is DALI's own (see ``dali.DaliDecoder``), only for those files that it reads.
    """

    spec: AudioSpec
    windows: WindowCount = 3
    hop_s: float | None = None
    limits: Limits = field(default_factory=Limits)
    decoder: Literal["auto", "dali"] = "auto"


@dataclass(frozen=True)
class FileImages:
    """``images`` is float32 ``[windows, 1, mels, frames]``; ``tags`` holds title, artist and album.

    ``seconds`` is the CPU time of "decode", "resample" and "mel".
    """

    images: Float32
    starts_s: tuple[float, ...]
    duration_s: float
    decoder: str
    seconds: dict[str, float]
    tags: dict[str, str] = field(default_factory=dict)


def images_from_file(path: str, options: ImageOptions) -> FileImages:
    """Decodes a file's windows and makes their images, one window in memory at a time.

    A URL is copied to a temporary file first, as far as the limits let it.

    Raises:
        AudioError: the file gives no usable audio.
    """
    return _made_from_file(path, options, image_from_audio)


def samples_from_file(path: str, options: ImageOptions) -> FileImages:
    """As ``images_from_file``, but ``images`` holds the samples, float32 ``[windows, window_samples]``.

    Their images are made elsewhere: on the GPU.
    """
    return _made_from_file(path, options, _checked_samples)


def _checked_samples(audio: Float32, spec: AudioSpec) -> Float32:
    # Not finite: a GPU's ReLU would make NaN zero, and the label of it would look like any other.
    return audio if np.abs(audio).max() < _LOUDEST else np.full_like(audio, np.inf)


def _made_from_file(path: str, options: ImageOptions, make: Make) -> FileImages:
    if is_remote(path):
        from .remote import fetched

        with fetched(path, options.limits) as local:
            return _made_from_local(local, options, make)
    return _made_from_local(path, options, make)


def _open(path: str, options: ImageOptions) -> Decoder:
    if options.decoder == "dali":
        from .dali import open_dali_decoder

        return open_dali_decoder(path, options.limits, options.spec.sample_rate)
    return open_decoder(path, options.limits)


def _made_from_local(path: str, options: ImageOptions, make: Make) -> FileImages:
    images, starts = [], []
    seconds: dict[str, float] = dict.fromkeys(("decode", "resample", "mel"), 0.0)
    clock = time.process_time  # a decoder's own threads count too
    began = clock()
    with closing(_open(path, options)) as decoder:
        for window in windows_from_decoder(decoder, options.spec, options.windows, options.hop_s):
            read = clock()
            image = make(window.samples[None], options.spec)
            if not np.isfinite(image).all():
                raise AudioError("holds samples so large that their power overflows")
            images.append(image)
            starts.append(window.start_s)
            seconds["decode"] += read - began - window.resample_s
            seconds["resample"] += window.resample_s
            began = clock()
            seconds["mel"] += began - read
        duration_s = decoder.length / decoder.sample_rate
        name, tags = decoder.name, {key: _clean(text) for key, text in decoder.tags().items()}
    seconds["decode"] += clock() - began
    return FileImages(np.concatenate(images), tuple(starts), duration_s, name, seconds, tags)


def _clean(tag: str) -> str:
    """A tag is anyone's text: without bytes that are no text, and no longer than a title can be."""
    return tag.encode("utf-8", "replace").decode().replace("\0", " ").strip()[:_LONGEST_TAG]
