"""ADTS streams by FFmpeg's AAC encoder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import accumulate, cycle
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


def grouped(stream: bytes, counts: Sequence[int], checked: bool) -> bytes:
    """The blocks of a stream in fewer frames: so many in each, again and again.

    Args:
        checked: with room for checksums, of 0, and where blocks begin (ISO/IEC 14496-3, 1.A.3.2).
    """
    blocks, head = [], stream[:7]
    while stream:
        size = (stream[3] & 3) << 11 | stream[4] << 3 | stream[5] >> 5
        blocks.append(stream[7:size])
        stream = stream[size:]
    frames, numbers = [], cycle(counts)
    while blocks:
        count = next(numbers)
        group, blocks = blocks[:count], blocks[count:]
        count = len(group)
        checks = b""
        if checked:
            group = [block + bytes(2) for block in group] if count > 1 else group
            starts = accumulate(map(len, group[:-1]))
            checks = b"".join(start.to_bytes(2, "big") for start in starts) + bytes(2)
        body = checks + b"".join(group)
        size = 7 + len(body)
        size_bits = (head[3] & 0xFC) << 16 | size << 5 | head[5] & 31
        frames.append(
            bytes((head[0], head[1] & 0xFE | (not checked), head[2]))
            + size_bits.to_bytes(3, "big")
            + bytes((head[6] & 0xFC | count - 1,))
            + body
        )
    return b"".join(frames)
