"""The decoder of DTS and the like in the place of samples: libsndfile reads, FFmpeg decodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import av.error
import numpy as np

from ..arrays import Float32
from ..errors import AudioError
from .channels import mono_from_two
from .containers.pcm_streams import LONGEST_PACKET, CodedStream, Packet
from .decoder import Budget
from .ffmpeg.frames import channels_from_frame
from .libsndfile import SoundFileDecoder

_BLOCK = 1 << 18  # stereo samples that are searched at once
_OVERLAP = 2  # packets decoded before the first one that is heard, with which its sound is mixed


class CodedPcmDecoder:
    """``Decoder`` of a stream that plays in the time of the samples in whose place it stands.

    Each packet's sound begins where the packet begins. Between packets, and where one cannot be decoded,
    there is silence.

    Args:
        samples: as which libsndfile reads the file; it is closed with this decoder.

    Raises:
        AudioError: the stream's time is not that of the samples, or FFmpeg cannot decode it.
    """

    def __init__(self, samples: SoundFileDecoder, stream: CodedStream, budget: Budget) -> None:
        self._samples, self._stream, self._budget = samples, stream, budget
        self.name = f"ffmpeg libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
        self.sample_rate, self.length = samples.sample_rate, samples.length
        self._check_time()

    def read(self, start: int, count: int) -> Float32:
        count = max(0, min(count, self.length - start))
        two = np.zeros((count, 2), np.float32)
        for first, samples, _ in self._decoded(start, count):
            begin, end = max(first, start), min(first + len(samples), start + count)
            if begin < end:
                two[begin - start : end - start] = samples[begin - first : end - first]
        return mono_from_two(two)

    def measure(self) -> int:
        self.length = self._samples.measure()
        return self.length

    def tags(self) -> dict[str, str]:
        return self._samples.tags()

    def close(self) -> None:
        self._samples.close()

    def _check_time(self) -> None:
        title = self._stream.title
        for middle in (self.length // 2, 0):
            frames = list(self._decoded(middle, LONGEST_PACKET))[
                1:-1
            ]  # the last packet's length is not known
            if frames:
                break
        else:
            raise AudioError(f"holds {title} in the place of samples, which FFmpeg cannot decode")
        if any(rate != self.sample_rate or len(samples) != length for _, samples, (rate, length) in frames):
            raise AudioError(
                f"holds {title} in the place of samples (as a DTS CD does), in another time than theirs: "
                "decode it first, for example with FFmpeg"
            )

    def _decoded(self, start: int, count: int) -> Iterator[tuple[int, Float32, tuple[int, int]]]:
        """Yields what may be heard in a stretch: position, ``[samples, 2]``, (rate, length) of the packet."""
        context: Any = av.CodecContext.create(self._stream.codec, "r")
        for packet in self._packets(start, count):
            self._budget.spend(0)
            try:
                frames = context.decode(av.Packet(packet.data))
            except av.error.FFmpegError:
                continue
            position = packet.start
            for frame in frames:
                channels = channels_from_frame(frame, self._budget)
                two = np.stack([channels[0], channels[-1]], axis=1)
                yield position, two, (frame.sample_rate, packet.length)
                position += len(two)

    def _packets(self, start: int, count: int) -> Iterator[Packet]:
        place, end = max(0, start - (_OVERLAP + 1) * LONGEST_PACKET), start + count
        while True:
            size = min(_BLOCK, end - place + LONGEST_PACKET)
            samples = self._samples.read_int16(place, size)
            is_last = size < _BLOCK or len(samples) < size
            packets = [
                Packet(each.data, place + each.start, each.length) for each in self._stream.packets(samples)
            ]
            if is_last or len(packets) < 2:
                yield from packets
                place += len(samples) - LONGEST_PACKET
            else:  # the last packet is taken with the next block: then its length is known
                yield from packets[:-1]
                place = packets[-1].start
            if is_last:
                return
