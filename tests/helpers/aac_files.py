"""ADTS streams by FFmpeg's AAC encoder."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from audio_files import Samples


def adts(sound: Samples, rate: int, layout: str) -> bytes:
    """The bytes of a stream. Samples are ``[channels, n]``."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="adts") as file:
        stream: Any = file.add_stream("aac", rate=rate, layout=layout)
        stream.bit_rate = 64_000 * len(sound)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), "fltp", layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, layout, rate, frame_size=stream.frame_size or 1_024)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(part))
    return memory.getvalue()
