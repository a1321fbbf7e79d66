"""A local file in, the decoder that can read it out."""

from __future__ import annotations

from pathlib import Path

import soundfile

from .decoder import Budget, Decoder, Limits
from .formats import open_regular_file
from .libsndfile import SoundFileDecoder


def open_decoder(path: str | Path, limits: Limits) -> Decoder:
    """Opens a regular local file with libsndfile or, if that cannot open it, with FFmpeg.

    The file's content decides, never its suffix. Both decoders read from any sample on, decode no more
    than is asked for, and count what they decode against ``limits``.

    Raises:
        AudioError: not there, not a regular file, empty, without sound, or in no known format.
    """
    descriptor = open_regular_file(path)
    budget = Budget(limits)
    try:
        return SoundFileDecoder(descriptor, budget)
    except soundfile.LibsndfileError:
        from .ffmpeg import FFmpegDecoder  # FFmpeg's libraries load only when a file needs them

        return FFmpegDecoder(path, budget)
