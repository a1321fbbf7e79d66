"""Files of FFmpeg's containers with faults and extras: several tracks, late sound, damage."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from merkit.engine.audio.decoder import Budget, Limits
from merkit.engine.audio.ffmpeg.decoder import FFmpegDecoder
from ogg_files import with_checksum

LAYOUTS = {2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1(back)"}

Samples = npt.NDArray[np.float32]


def decoder(path: Path, **limits: Any) -> FFmpegDecoder:
    return FFmpegDecoder(path, Budget(Limits(**limits)))


def write(
    path: Path,
    kind: str,
    encoder: str,
    *tracks: Samples,
    rate: int = 44_100,
    dispositions: tuple[int, ...] = (),
    late_s: float = 0.0,
    options: dict[str, str] | None = None,
) -> Path:
    """Each track is ``[samples]`` or ``[samples, channels]``. ``late_s``: a picture comes first, by so much.

    Three and more channels are those of ``LAYOUTS``, in FFmpeg's order.
    """
    with av.open(str(path), "w", format=kind, options=options or {}) as file:
        picture = _add_picture(file) if late_s else None
        streams = [_add_track(file, encoder, track, rate) for track in tracks]
        for stream, flags in zip(streams, dispositions, strict=False):
            stream.disposition = flags
        for packet in picture.encode(_grey(0)) + picture.encode(None) if picture else []:
            file.mux(packet)
        for stream, track in zip(streams, tracks, strict=True):
            _encode(file, stream, track, rate, late_s)
    return path


def copied(
    song: Path,
    target: Path,
    kind: str,
    of_file: dict[str, str] | None = None,
    of_track: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """The packets of a song in a new file of this kind, with these tags."""
    with (
        av.open(str(song)) as source,
        av.open(str(target), "w", format=kind, options=options or {}) as file,
    ):
        file.metadata.update(of_file or {})
        stream = file.add_stream_from_template(source.streams.audio[0])
        stream.metadata.update(of_track or {})
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                file.mux(packet)
    return target


def _add_picture(file: Any) -> Any:
    stream = file.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 64
    return stream


def _grey(pts: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.full((96, 64), 128, np.uint8), "yuv420p")
    frame.pts = pts
    return frame


def _add_track(file: Any, encoder: str, track: Samples, rate: int) -> Any:
    stream = file.add_stream(encoder, rate=rate, layout=_layout_of(track), options={"strict": "-2"})
    stream.bit_rate = 160_000
    stream.codec_context.open(strict=False)
    return stream


def _layout_of(track: Samples) -> str:
    return "mono" if track.ndim == 1 else LAYOUTS[track.shape[1]]


def _encode(file: Any, stream: Any, track: Samples, rate: int, late_s: float) -> None:
    rows = np.ascontiguousarray(track[None] if track.ndim == 1 else track.T, np.float32)
    frame = av.AudioFrame.from_ndarray(rows, "fltp", _layout_of(track))
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    size = stream.codec_context.frame_size or 1_024
    resampler = av.AudioResampler(stream.format, stream.layout, rate, frame_size=size)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        if late_s:
            part.pts = (part.pts or 0) + round(late_s * rate)
        file.mux(stream.encode(part))
    file.mux(stream.encode(None))


def place_of(part: Samples, whole: Samples) -> int:
    """Where ``part`` stands in ``whole``, by cross-correlation."""
    size = 1 << (len(whole) + len(part)).bit_length()
    matched = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)
    place = int(matched.argmax())
    return place if place < len(whole) else place - size


def with_tag_of_priming(m4a: bytes, priming: int, padding: int, count: int) -> bytes:
    """An M4A that has a title, with iTunes's tag of gapless playing beside it."""
    text = f" 00000000 {priming:08X} {padding:08X} {count:016X}" + " 00000000" * 8
    data = _atom(b"data", struct.pack(">II", 1, 0) + text.encode())
    tag = _atom(
        b"----",
        _atom(b"mean", bytes(4) + b"com.apple.iTunes") + _atom(b"name", bytes(4) + b"iTunSMPB") + data,
    )
    result = bytearray(m4a)
    position, end, heads = 0, len(m4a), []
    for kind in (b"moov", b"udta", b"meta", b"ilst"):
        while result[position + 4 : position + 8] != kind:
            position += int.from_bytes(result[position : position + 4], "big")
            assert position < end
        heads.append(position)
        end = position + int.from_bytes(result[position : position + 4], "big")
        position += 12 if kind == b"meta" else 8
    result[end:end] = tag
    for head in heads:
        struct.pack_into(">I", result, head, int.from_bytes(result[head : head + 4], "big") + len(tag))
    return bytes(result)


def _atom(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def with_skeleton(ogg: bytes) -> bytes:
    """An Ogg file whose one stream begins together with another, of nothing but a description."""
    first_page = 28 + ogg[27]
    skeleton = b"fishead\0" + struct.pack("<HHqqqq", 3, 0, 0, 1_000, 0, 1_000) + bytes(20)
    end = ogg_page(77, 1, 4, b"fisbone\0" + bytes(44))
    return ogg_page(77, 0, 2, skeleton) + ogg[:first_page] + end + ogg[first_page:]


def ogg_page(stream: int, number: int, flags: int, packet: bytes) -> bytes:
    """A page with one short packet at time 0."""
    head = b"OggS\0" + struct.pack("<BqIII", flags, 0, stream, number, 0) + bytes([1, len(packet)])
    return with_checksum(head + packet)
