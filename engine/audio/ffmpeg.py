"""The decoder of what libsndfile cannot open (M4A/AAC, WMA, Matroska, video): FFmpeg, through PyAV."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from ..errors import AudioError
from .decoder import TAGS

if TYPE_CHECKING:
    from ..arrays import Float32
    from .decoder import Budget

# Without these lists an "ffconcat" text named song.mp3 opens other files, and a playlist fetches URLs.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mp3,mov,flac,ogg,wav,aac,asf,matroska,aiff",
}

# Formats without an index: FFmpeg guesses positions from the bit rate, so packets are counted instead.
_UNINDEXED = {"aac", "mp3"}

_PREROLL_S = 0.25  # decoded before the first sample read: AAC needs one earlier frame, WMA several
_MAX_BAD_PACKETS = 200  # in a row


class FFmpegDecoder:
    """``Decoder`` by FFmpeg's timestamps: exact within a sample in M4A, within a codec frame in WMA and ADTS.

    Raises:
        AudioError: FFmpeg cannot open or decode the file, it has no sound, or its rate or number of
            channels is outside the limits.
    """

    name = f"ffmpeg libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"

    def __init__(self, path: str | Path, budget: Budget) -> None:
        self._path, self._budget = Path(path).absolute(), budget
        self._open()
        try:
            context = self._stream.codec_context
            if context is None:
                raise AudioError("FFmpeg has no decoder for its sound")
            budget.check_format(context.sample_rate, context.channels)
            self.sample_rate: int = context.sample_rate
            self.length = self._stated_length() or self._count_packets()
            if self.length <= 0:
                raise AudioError("holds no decodable audio")
        except BaseException:
            self.close()
            raise

    def read(self, start: int, count: int) -> Float32:
        if start != self._position:
            self._seek(start)
        result = np.zeros(count, np.float32)
        filled = 0
        while filled < count:
            if not self._pending:
                block = next(self._blocks, None)
                if block is None:
                    break
                self._pending.append(block)
            position, samples = self._pending.popleft()
            skip = max(0, start + filled - position)
            if skip >= len(samples):
                continue
            if position >= start + count:  # a gap in the timestamps is silence, as in a player
                self._pending.appendleft((position, samples))
                filled = count
                break
            begin = position + skip - start
            used = samples[skip : skip + count - begin]
            result[begin : begin + len(used)] = used
            filled = begin + len(used)
            if skip + len(used) < len(samples):
                self._pending.appendleft((position + skip + len(used), samples[skip + len(used) :]))
        self._position = start + filled
        return result[:filled]

    def measure(self) -> int:
        self._seek(0)
        self.length = max((position + len(samples) for position, samples in self._blocks), default=0)
        self._position = -1
        return self.length

    def tags(self) -> dict[str, str]:
        # Ogg keeps tags with the stream, MP4 with the file. Their names may be in upper or lower case.
        metadata = {**self._stream.metadata, **self._container.metadata}
        tags = {name.lower(): text for name, text in metadata.items()}
        return {name: tags[name] for name in TAGS if tags.get(name)}

    def close(self) -> None:
        self._container.close()

    def _open(self) -> None:
        try:
            self._container = av.open(f"file:{self._path}", options=_OPTIONS, metadata_errors="ignore")
        except (av.error.FFmpegError, ValueError, MemoryError):
            raise AudioError("not an audio file that libsndfile or FFmpeg can open") from None
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError("holds no audio stream")
        self._stream: Any = self._container.streams.audio[0]
        self._unindexed = self._container.format.name in _UNINDEXED
        # Timestamps need not begin at 0: positions are counted from the first one.
        self._origin: int = self._stream.start_time or 0
        self._restart(0)

    def _restart(self, from_sample: int) -> None:
        self._pending: deque[tuple[int, Float32]] = deque()
        self._blocks = self._decode(from_sample)
        self._position = -1

    def _seek(self, start: int) -> None:
        """Moves to a packet from which sample ``start`` decodes correctly, or to the file's beginning."""
        if self._unindexed:
            if start < self._position or self._position < 0:
                self.close()
                self._open()
                self._restart(max(0, start - round(_PREROLL_S * self.sample_rate)))
            return
        for preroll_s in (_PREROLL_S, 2.0, None):
            target = 0 if preroll_s is None else max(0, start - round(preroll_s * self.sample_rate))
            self._restart(0)
            try:
                timestamp = self._origin + round(target / self.sample_rate / float(self._stream.time_base))
                self._container.seek(timestamp, stream=self._stream, backward=True)
                first = next(self._blocks, None)
            except av.error.FFmpegError:
                continue
            if first is not None and first[0] <= max(0, start):
                self._pending.append(first)
                return
        self.close()  # no seek worked: decode from the beginning
        self._open()

    def _packets(self) -> Iterator[Any]:
        """The stream's packets, up to where the container is damaged."""
        with suppress(av.error.FFmpegError):
            yield from self._container.demux(self._stream)

    def _decode(self, from_sample: int) -> Iterator[tuple[int, Float32]]:
        """Yields (position of the first sample, mono samples) of each frame, from ``from_sample`` on.

        Packets that cannot be decoded are left out.
        """
        next_position, bad_packets = 0, 0
        rate, base = self._stream.codec_context.sample_rate, float(self._stream.time_base)
        samples_per_tick = 0.0
        for packet in self._packets():
            if from_sample and packet.pts is not None and packet.duration:
                if (packet.pts + packet.duration - self._origin) * base * rate < from_sample:
                    continue
                from_sample = 0  # every packet from here on is decoded, without this check
            try:
                frames = packet.decode()
                bad_packets = 0
            except av.error.FFmpegError:
                bad_packets += 1
                if bad_packets > _MAX_BAD_PACKETS:
                    raise AudioError("damaged: FFmpeg cannot decode its packets") from None
                continue
            for frame in frames:
                # This runs over 40 times a second of sound: every attribute of PyAV that is read here costs.
                samples, channels = _mono_from_frame(frame)
                self._budget.spend(len(samples) * channels)
                position, pts = next_position, frame.pts
                if pts is not None:
                    samples_per_tick = samples_per_tick or float(frame.time_base or base) * rate
                    position = round((pts - self._origin) * samples_per_tick)
                next_position = position + len(samples)
                yield position, samples

    def _stated_length(self) -> int:
        """The length in samples that the header states; 0 where it states none, or only a guess."""
        if self._unindexed:
            return 0
        if self._stream.duration:
            return round(self._stream.duration * float(self._stream.time_base) * self.sample_rate)
        if self._container.duration:
            return round(self._container.duration / 1e6 * self.sample_rate)
        return 0

    def _count_packets(self) -> int:
        """The length in samples, from the timestamps of all packets; nothing is decoded."""
        base, end = float(self._stream.time_base), 0
        for packet in self._packets():
            self._budget.spend(0)
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0) - self._origin)
        self.close()
        self._open()
        return round(end * base * self.sample_rate)


def _mono_from_frame(frame: Any) -> tuple[Float32, int]:
    """A frame of any sample format as float32 mono in -1..1, and its number of channels."""
    if frame.format.name == "fltp":  # AAC, Opus, WMA: this is several times faster than to_ndarray
        count, planes = frame.samples, frame.planes
        channels = len(planes)
        mono = np.frombuffer(planes[0], np.float32, count)
        if channels == 1:
            return mono.copy(), 1
        mono = mono + np.frombuffer(planes[1], np.float32, count)
        for plane in planes[2:]:
            mono += np.frombuffer(plane, np.float32, count)
        mono *= np.float32(1 / channels)
        return mono, channels
    if frame.format.name in ("s64", "s64p"):  # PyAV does not convert these
        count = frame.samples if frame.format.is_planar else frame.samples * len(frame.layout.channels)
        samples = np.stack([np.frombuffer(plane, np.int64, count) for plane in frame.planes])
    else:
        samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif np.issubdtype(samples.dtype, np.integer):
        samples = samples.astype(np.float32) / np.float32(-float(np.iinfo(samples.dtype).min))
    mono = samples[0].astype(np.float32) if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32)
    return mono, len(samples)
