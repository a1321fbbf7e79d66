"""A file to the images of its windows: the work of one child process."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from .audio import WindowCount, windows_from_decoder
from .decoders import Float32, Limits, open_decoder
from .errors import AudioError
from .spec import AudioSpec
from .spectrogram import image_from_audio


@dataclass(frozen=True)
class ImageOptions:
    """How files become images: the spec, which windows, and what a file may cost."""

    spec: AudioSpec
    windows: WindowCount = 3
    hop_s: float | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class FileImages:
    """``images`` is float32 ``[windows, 1, mels, frames]``; ``seconds`` says where the time went."""

    images: Float32
    starts_s: tuple[float, ...]
    duration_s: float
    decoder: str
    seconds: dict[str, float]


def images_from_file(path: str, options: ImageOptions) -> FileImages:
    """Decodes a file's windows and makes their images, one window in memory at a time.

    Raises:
        AudioError: the file gives no usable audio.
    """
    images, starts = [], []
    decoding = making = 0.0
    clock = time.perf_counter
    began = clock()
    with closing(open_decoder(path, options.limits)) as decoder:
        for window in windows_from_decoder(decoder, options.spec, options.windows, options.hop_s):
            read = clock()
            image = image_from_audio(window.samples[None], options.spec)
            if not np.isfinite(image).all():
                raise AudioError("holds samples so large that their power overflows")
            images.append(image)
            starts.append(window.start_s)
            decoding, making, began = decoding + read - began, making + clock() - read, clock()
        duration_s = decoder.length / decoder.sample_rate
        name = decoder.name
    seconds = {"decode": decoding, "mel": making}
    return FileImages(np.concatenate(images), tuple(starts), duration_s, name, seconds)
