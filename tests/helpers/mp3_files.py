"""MP3s by FFmpeg's LAME: with or without a tag, at each kind of bit rate."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from audio_files import Samples, noise


def mp3(path: Path, rate: int, channels: int, mode: str, seconds: float = 12, xing: bool = True) -> Path:
    """Noise, another one in each channel. ``mode`` is "constant", "low" or "variable"."""
    return write_mp3(
        path, np.stack([noise(seconds, rate, seed) for seed in range(channels)]), rate, mode, xing
    )


def write_mp3(path: Path, sound: Samples, rate: int, mode: str = "constant", xing: bool = True) -> Path:
    """Samples ``[channels, n]``."""
    layout = "mono" if len(sound) == 1 else "stereo"
    with av.open(str(path), "w", format="mp3", options={"write_xing": str(int(xing))}) as file:
        stream = file.add_stream("libmp3lame", rate=rate, layout=layout)
        options: dict[str, object] = {"compression_level": "7"}
        if mode == "variable":  # options: PyAV has the attribute global_quality from 17.1 on
            options |= {"flags": "+qscale", "global_quality": "1180"}
        else:
            stream.bit_rate = {"constant": 128_000, "low": 32_000}[mode]
        stream.options = options
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), "fltp", layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, layout, rate, frame_size=stream.frame_size or 1_152)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(part))
    return path
