"""Sound through a lossy codec and back, in memory, by FFmpeg's libraries (PyAV)."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import av
import numpy as np
import soxr

from ...engine.arrays import Float32
from ...engine.errors import MerError

FEW_BITS = (
    ("libopus", 12_000),
    ("libopus", 16_000),
    ("libopus", 24_000),
    ("libmp3lame", 32_000),
    ("libmp3lame", 48_000),
)
"""Encoders and bit rates at which mono music is heard to be coded."""

_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_OPUS_RATE = 48_000
_FORMATS = {"libopus": ("ogg", "flt"), "libmp3lame": ("mp3", "fltp")}  # of the file and of samples


def check_encoders(names: Iterable[str]) -> None:
    """Whether FFmpeg's libraries have these encoders.

    Raises:
        MerError: one is missing.
    """
    missing = sorted(set(names) - av.codecs_available)
    if missing:
        raise MerError(f"this PyAV has no encoder {', '.join(missing)}: leave out what needs it")


def through_codec(samples: Float32, rate: int, encoder: str, bits_a_second: int) -> Float32:
    """Encodes mono samples and decodes them again: float32 ``[samples]`` at the same rate.

    What the encoder puts before the sound and after it is left out, as players do by the container's header.

    Args:
        encoder: "libopus" or "libmp3lame".
    """
    known = _OPUS_RATE if encoder == "libopus" else rate if rate in _MP3_RATES else 44_100
    file = io.BytesIO()
    _encode(_resampled(samples, rate, known), known, file, encoder, bits_a_second)
    file.seek(0)
    return _resampled(_decode(file), known, rate)[: len(samples)]


def _encode(samples: Float32, rate: int, file: io.BytesIO, encoder: str, bits_a_second: int) -> None:
    container, kind = _FORMATS[encoder]
    with av.open(file, "w", format=container) as output:
        options: dict[str, Any] = {"layout": "mono", "format": kind, "bit_rate": bits_a_second}
        stream: Any = output.add_stream(encoder, rate=rate, **options)  # of which PyAV's types say "video"
        for start in range(0, len(samples), rate):
            block = np.ascontiguousarray(samples[None, start : start + rate])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _decode(file: io.BytesIO) -> Float32:
    with av.open(file, "r") as source:
        blocks = [frame.to_ndarray()[0] for frame in source.decode(audio=0)]
    return np.concatenate(blocks).astype(np.float32)


def _resampled(samples: Float32, rate: int, new_rate: int) -> Float32:
    return samples if rate == new_rate else soxr.resample(samples, rate, new_rate, quality="HQ")
