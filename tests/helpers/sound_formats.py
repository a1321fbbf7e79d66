"""Every container with every codec that README names, and how a test writes a file of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[np.float32]

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_BIT_RATE = 96_000  # for each channel


@dataclass(frozen=True)
class SoundFormat:
    """A codec in a container.

    ``write(path, samples [n, channels], rate)`` writes a file. ``tried`` are (rate in Hz, channels).
    ``delay`` is the encoder's delay in samples that the container does not state, so that no reader can know
    it; below zero where the decoder gives nothing for the first samples. ``loss`` is the greatest difference
    of a sample that coding makes, None for codecs made for the ear.
    """

    container: str
    codec: str
    suffix: str
    write: Callable[[Path, Samples, int], None]
    loss: float | None = None
    delay: int = 0
    tried: tuple[tuple[int, int], ...] = ((44_100, 2), (48_000, 1), (22_050, 2))

    @property
    def name(self) -> str:
        return f"{self.container} {self.codec}"

    @property
    def by_sample(self) -> bool:
        """Whether each sample is coded by itself or by those before it, and not for the ear."""
        return self.loss is not None

    @property
    def is_exact(self) -> bool:
        return self.loss is not None and self.loss < 0.001

    def delay_s(self, rate: int) -> float:
        return self.delay / rate


def with_libsndfile(path: Path, samples: Samples, rate: int, kind: str, subtype: str) -> None:
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], subtype, format=kind) as file:
        for start in range(0, len(samples), 8_192):  # libsndfile's Vorbis crashes on long writes
            file.write(samples[start : start + 8_192])


def with_ffmpeg(path: Path, samples: Samples, rate: int, kind: str, encoder: str, **options: str) -> None:
    """Encodes by FFmpeg into a container."""
    with av.open(str(path), "w", format=kind) as file:
        _encode(file, samples, rate, encoder, options)


def _encode(file: Any, samples: Samples, rate: int, encoder: str, options: dict[str, str]) -> None:
    layout = _LAYOUTS[samples.shape[1]]
    stream = file.add_stream(encoder, rate=rate, layout=layout, options={"strict": "-2", **options})
    if encoder in _CODED_FOR_THE_EAR:
        stream.bit_rate = _BIT_RATE * samples.shape[1]
    file.start_encoding()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)  # else the delay gets lost
    size = stream.codec_context.frame_size or 1_024
    resampler = av.AudioResampler(stream.format, stream.layout, rate, frame_size=size)
    for part in [*resampler.resample(frame), *resampler.resample(None), None]:
        file.mux(stream.encode(part))


def by_remux(
    path: Path, samples: Samples, rate: int, kind: str, source: Callable[[Path, Samples, int], None]
) -> None:
    """Packets of another file, unchanged, in a container."""
    first = path.with_suffix(".first")
    source(first, samples, rate)
    with av.open(str(first)) as whole, av.open(str(path), "w", format=kind) as file:
        stream = file.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(whole.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                file.mux(packet)
    first.unlink()


_CODED_FOR_THE_EAR = {"aac", "libmp3lame", "libopus", "wmav1", "wmav2", "ac3", "eac3", "mp2"}
_STEREO = ((44_100, 2), (48_000, 1), (22_050, 2))
_ROOM = ((44_100, 2), (48_000, 1), (48_000, 6))
_OPUS = ((48_000, 2), (48_000, 1), (48_000, 6))
_DVD = ((48_000, 2), (44_100, 1), (48_000, 6))
_PHONE = ((8_000, 1), (16_000, 1))
_16_BITS, _24_BITS = 1 / 32_000, 1 / 8_000_000


def _lib(kind: str, subtype: str) -> Callable[[Path, Samples, int], None]:
    return partial(with_libsndfile, kind=kind, subtype=subtype)


def _ff(kind: str, encoder: str, **options: str) -> Callable[[Path, Samples, int], None]:
    return partial(with_ffmpeg, kind=kind, encoder=encoder, **options)


_VORBIS = _lib("OGG", "VORBIS")
_FLAC = _lib("FLAC", "PCM_16")

FORMATS = (
    SoundFormat("WAV", "PCM, 8 bits", ".wav", _lib("WAV", "PCM_U8"), 1 / 120),
    SoundFormat("WAV", "PCM, 16 bits", ".wav", _lib("WAV", "PCM_16"), _16_BITS, tried=_ROOM),
    SoundFormat("WAV", "PCM, 24 bits", ".wav", _lib("WAVEX", "PCM_24"), _24_BITS, tried=_ROOM),
    SoundFormat("WAV", "PCM, 32 bits", ".wav", _lib("WAV", "PCM_32"), _24_BITS),
    SoundFormat("WAV", "float", ".wav", _lib("WAV", "FLOAT"), 1e-6, tried=((96_000, 2), (48_000, 1))),
    SoundFormat("WAV", "float, 64 bits", ".wav", _lib("WAV", "DOUBLE"), 1e-6),
    SoundFormat("WAV", "A-law", ".wav", _lib("WAV", "ALAW"), 0.03, tried=_PHONE),
    SoundFormat("WAV", "mu-law", ".wav", _lib("WAV", "ULAW"), 0.03, tried=_PHONE),
    SoundFormat("WAV", "IMA ADPCM", ".wav", _lib("WAV", "IMA_ADPCM"), 0.25),
    SoundFormat("WAV", "MS ADPCM", ".wav", _lib("WAV", "MS_ADPCM"), 0.25),
    SoundFormat("WAV", "Yamaha ADPCM", ".wav", _ff("wav", "adpcm_yamaha"), 0.25),
    SoundFormat("WAV", "G.722", ".wav", _ff("wav", "g722"), tried=((16_000, 1),), delay=22),
    SoundFormat("WAV", "GSM 6.10", ".wav", _lib("WAV", "GSM610"), tried=((8_000, 1), (22_050, 1))),
    SoundFormat("W64", "PCM, 16 bits", ".w64", _lib("W64", "PCM_16"), _16_BITS),
    SoundFormat("RF64", "PCM, 24 bits", ".rf64", _lib("RF64", "PCM_24"), _24_BITS),
    SoundFormat("AIFF", "PCM, 16 bits", ".aiff", _lib("AIFF", "PCM_16"), _16_BITS),
    SoundFormat("AIFF", "float", ".aifc", _lib("AIFF", "FLOAT"), 1e-6),
    SoundFormat("AU", "PCM, 16 bits", ".au", _lib("AU", "PCM_16"), _16_BITS),
    SoundFormat("CAF", "PCM, 24 bits", ".caf", _lib("CAF", "PCM_24"), _24_BITS),
    SoundFormat("CAF", "ALAC", ".caf", _lib("CAF", "ALAC_16"), _16_BITS),
    SoundFormat("FLAC", "16 bits", ".flac", _lib("FLAC", "PCM_16"), _16_BITS, tried=_ROOM),
    SoundFormat(
        "FLAC", "24 bits", ".flac", _lib("FLAC", "PCM_24"), _24_BITS, tried=((96_000, 2), (44_100, 1))
    ),
    SoundFormat(
        "MP3",
        "constant rate",
        ".mp3",
        _ff("mp3", "libmp3lame"),
        tried=((44_100, 2), (48_000, 1), (22_050, 2), (11_025, 1)),
    ),
    SoundFormat(
        "MP3",
        "variable rate",
        ".mp3",
        _ff("mp3", "libmp3lame", flags="+qscale", global_quality="354"),
        tried=((44_100, 2), (32_000, 1), (24_000, 1)),
    ),
    SoundFormat("Ogg", "Vorbis", ".ogg", _VORBIS, tried=_STEREO),
    SoundFormat("Ogg", "Opus", ".opus", _ff("ogg", "libopus"), tried=_OPUS),
    SoundFormat("Ogg", "FLAC", ".oga", partial(by_remux, kind="ogg", source=_FLAC), _16_BITS),
    SoundFormat("M4A", "AAC", ".m4a", _ff("ipod", "aac"), tried=_ROOM),
    SoundFormat("M4A", "ALAC", ".m4a", _ff("ipod", "alac"), _16_BITS, tried=_ROOM),
    SoundFormat("MP4", "AAC", ".mp4", _ff("mp4", "aac"), tried=_STEREO),
    SoundFormat("MP4", "MP3", ".mp4", _ff("mp4", "libmp3lame"), tried=((44_100, 2), (48_000, 1))),
    SoundFormat("MP4", "AC-3", ".mp4", _ff("mp4", "ac3"), tried=_DVD),
    SoundFormat("MP4", "Opus", ".mp4", _ff("mp4", "libopus"), tried=_OPUS),
    SoundFormat("MP4", "FLAC", ".mp4", partial(by_remux, kind="mp4", source=_FLAC), _16_BITS, tried=_ROOM),
    SoundFormat("MOV", "PCM, 16 bits", ".mov", _ff("mov", "pcm_s16be"), _16_BITS),
    SoundFormat("MOV", "AAC", ".mov", _ff("mov", "aac")),
    SoundFormat("3GP", "AAC", ".3gp", _ff("3gp", "aac"), tried=((44_100, 2), (22_050, 1))),
    SoundFormat("ADTS", "AAC", ".aac", _ff("adts", "aac"), tried=_ROOM, delay=1_024),
    SoundFormat(
        "WMA", "version 1", ".wma", _ff("asf", "wmav1"), tried=((44_100, 2), (48_000, 1)), delay=-2_048
    ),
    SoundFormat(
        "WMA",
        "version 2",
        ".wma",
        _ff("asf", "wmav2"),
        tried=((44_100, 2), (48_000, 1), (32_000, 2)),
        delay=-2_048,
    ),
    SoundFormat("Matroska", "PCM, 16 bits", ".mka", _ff("matroska", "pcm_s16le"), _16_BITS, tried=_ROOM),
    SoundFormat("Matroska", "PCM, 24 bits", ".mka", _ff("matroska", "pcm_s24le"), _24_BITS),
    SoundFormat("Matroska", "float", ".mka", _ff("matroska", "pcm_f32le"), 1e-6),
    SoundFormat(
        "Matroska", "FLAC", ".mka", partial(by_remux, kind="matroska", source=_FLAC), _16_BITS, tried=_ROOM
    ),
    SoundFormat("Matroska", "ALAC", ".mka", _ff("matroska", "alac"), _16_BITS),
    SoundFormat("Matroska", "AAC", ".mkv", _ff("matroska", "aac"), tried=_ROOM),
    SoundFormat("Matroska", "AC-3", ".mkv", _ff("matroska", "ac3"), tried=_DVD),
    SoundFormat("Matroska", "E-AC-3", ".mkv", _ff("matroska", "eac3"), tried=_DVD),
    SoundFormat("Matroska", "MP2", ".mkv", _ff("matroska", "mp2"), tried=((44_100, 2), (48_000, 1))),
    SoundFormat("Matroska", "MP3", ".mkv", _ff("matroska", "libmp3lame"), tried=_STEREO),
    SoundFormat("Matroska", "Opus", ".mka", _ff("matroska", "libopus"), tried=_OPUS),
    SoundFormat("Matroska", "Vorbis", ".mka", partial(by_remux, kind="matroska", source=_VORBIS)),
    SoundFormat("WebM", "Opus", ".webm", _ff("webm", "libopus"), tried=_OPUS),
    SoundFormat("WebM", "Vorbis", ".webm", partial(by_remux, kind="webm", source=_VORBIS)),
)
