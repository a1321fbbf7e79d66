"""Chooses the decoder of a local file."""

from __future__ import annotations

from pathlib import Path

import soundfile

from .decoder import Budget, Decoder, Limits
from .formats import open_regular_file
from .libsndfile import SoundFileDecoder
from .mp3 import Mp3Decoder


def open_decoder(path: str | Path, limits: Limits | Budget) -> Decoder:
    """Opens a regular local file with libsndfile or, if that cannot open it, with FFmpeg.

    The content decides, never the suffix. Both decoders can start at any sample, decode little more than
    what is read, and count it against ``limits``, or against a budget that others spend too.

    Raises:
        AudioError: missing, not a regular file, empty, without sound, or in an unknown format.
    """
    descriptor = open_regular_file(path)
    budget = limits if isinstance(limits, Budget) else Budget(limits)
    try:
        decoder = SoundFileDecoder(descriptor, budget)
    except soundfile.LibsndfileError:
        from .ffmpeg import FFmpegDecoder  # FFmpeg's libraries are loaded only when a file needs them

        return FFmpegDecoder(path, budget)
    return Mp3Decoder(decoder, descriptor, budget) if decoder.is_mp3 else decoder
