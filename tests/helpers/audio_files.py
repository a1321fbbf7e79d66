"""Audio that the tests make: signals, and files of them in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[np.float32]

# suffix -> (FFmpeg's container, encoder), for what libsndfile does not write
_BY_FFMPEG = {
    ".m4a": ("ipod", "aac"),
    ".mp4": ("mp4", "aac"),
    ".aac": ("adts", "aac"),
    ".wma": ("asf", "wmav2"),
    ".mkv": ("matroska", "aac"),
    ".webm": ("webm", "libopus"),
}
_BY_LIBSNDFILE = {
    ".wav": ("WAV", "PCM_16"),
    ".aiff": ("AIFF", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
}
SUFFIXES = (*_BY_LIBSNDFILE, *_BY_FFMPEG)


def write_audio(path: Path, samples: Samples, rate: int) -> Path:
    """Writes float samples ``[n]`` or ``[n, channels]`` in the format of the path's suffix."""
    suffix = path.suffix.lower()
    if suffix in _BY_LIBSNDFILE:
        kind, subtype = _BY_LIBSNDFILE[suffix]
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        with soundfile.SoundFile(path, "w", rate, channels, subtype, format=kind) as file:
            for start in range(0, len(samples), 8_192):  # libsndfile's Vorbis crashes on long writes
                file.write(samples[start : start + 8_192])
        return path
    container, encoder = _BY_FFMPEG[suffix]
    mono = samples if samples.ndim == 1 else samples[:, 0]
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream(encoder, rate=rate, layout="mono")
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None], np.float32), "fltp", "mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            stream.format, stream.layout, rate, frame_size=stream.frame_size or 1024
        )
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(part))
    return path


def noise(seconds: float, rate: int, seed: int = 0) -> Samples:
    """Pink-ish noise: no two places alike, so that a shifted window is found out."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(round(seconds * rate)))
    spectrum[0] = 0  # an offset is taken off a window
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** 0.5
    samples = np.fft.irfft(spectrum, round(seconds * rate))
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


def chirp(seconds: float, rate: int, low: float = 50.0, high: float = 3_000.0) -> Samples:
    """A tone that rises, so that its pitch says where one is."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (low * t + (high - low) / (2 * seconds) * t**2))).astype(np.float32)
