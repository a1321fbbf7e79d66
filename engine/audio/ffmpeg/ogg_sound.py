"""Opus and Vorbis of plain Ogg files by FFmpeg's codecs, several times as fast as libsndfile's.

Pages say to the sample where their packets end, so nothing is guessed: every page that is read must give as
many samples as it states. FFmpeg's own reader of Ogg is not used: where blocks change their size, its times
are late.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from ..containers.ogg_clock import CELT, opus_samples
from ..containers.ogg_stream import OGG_HEADS, IrregularError, OggStream

if TYPE_CHECKING:
    from ...arrays import Float32
    from ..decoder import Budget

_OPUS_RATE = 48_000
_PREROLL = 24_000  # samples of Opus decoded before the first one: 0.5 s. With 160 ms windows began 3e-4 off
_SLACK = 96_000  # samples: pages are as long as a second
_EMPTY_COMMENTS = b"\3vorbis" + bytes(8) + b"\1"

_LONGEST_PACKET = 5_760  # samples that a packet of Opus may have
_VORBIS_PACKETS = 16_384  # samples before a page, in which a packet begins that ends in it

_GAP_S = 0.1, 3_600.0  # longer than the first, shorter than the second

_Page = tuple[int, list[bytes], bool]


def ogg_sound_from_file(descriptor: int, codec: str, budget: Budget) -> OggSound | None:
    """The sound of a file that is a plain Ogg; None if it is not.

    Args:
        codec: "opus" or "vorbis".
    """
    try:
        return OggSound(OggStream(descriptor, OGG_HEADS[codec]), codec, budget)
    except (IrregularError, IndexError):
        return None


class OggSound:
    """Reads stretches of a whole, plain Ogg file of one or two channels. ``name`` is that of the decoder."""

    name = f"ffmpeg libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"

    def __init__(self, stream: OggStream, codec: str, budget: Budget) -> None:
        """See ``ogg_sound_from_file``."""
        self._stream, self._codec, self._budget = stream, codec, budget
        self._decoders: dict[str, Any] = {}
        head = stream.heads[0]
        self._skipped = self._preroll = 0
        if codec == "opus":
            self._channels, self.sample_rate, self._preroll = head[9], _OPUS_RATE, _PREROLL
            self._skipped = int.from_bytes(head[10:12], "little")  # of the pages' count: no player plays it
            is_plain = head.startswith(b"OpusHead") and head[16:18] == bytes(2)  # no gain
            self._extradata = head[:10] + bytes(2) + head[12:]
        else:
            self._channels, self.sample_rate = head[11], int.from_bytes(head[12:16], "little")
            is_plain = head.startswith(b"\1vorbis")
            heads = head, _EMPTY_COMMENTS, stream.heads[2]
            # As FFmpeg takes them: how many more there are, and the sizes of all but the last.
            self._extradata = bytes((2, len(head), len(_EMPTY_COMMENTS))) + b"".join(heads)
        if not is_plain or self._channels not in (1, 2) or len(head) > 254:
            raise IrregularError

    @property
    def length(self) -> int:
        """In samples."""
        return self._stream.end - self._skipped

    def read(self, start: int, count: int) -> Float32 | None:
        """Samples ``[count, channels]``, fewer where the sound ends; None where the file is not plain."""
        count = min(count, self.length - start)
        if count <= 0:
            return np.empty((0, self._channels), np.float32)
        try:
            return self._samples(start + self._skipped, count)
        except (IrregularError, av.error.FFmpegError, IndexError, ValueError):
            return None

    def _samples(self, begin: int, count: int) -> Float32:
        """Samples from the granule position ``begin`` on.

        Raises:
            IrregularError: the pages do not give what they state.
        """
        position, pages = self._pages(max(0, begin - self._preroll), begin + count)
        decode = self._decoder(pages).decode
        fifo = av.AudioFifo()  # frame by frame in Python would take longer than their decoding
        write, decoded = fifo.write, 0
        may_trim = self._codec == "vorbis" and not pages[0][1]  # only at the stream's beginning
        rows = np.zeros((self._channels, count), np.float32)
        for granule, packets, is_last in pages:
            for packet in _joined(packets) if self._codec == "opus" else packets:
                for frame in decode(av.Packet(packet)):
                    write(frame)
            self._budget.spend((fifo.samples - decoded) * self._channels)
            missing = granule - position - fifo.samples
            if missing < 0 <= granule and may_trim and not is_last:
                position, missing = position + missing, 0  # what is before 0 is left out (Vorbis I, A.2)
            may_trim = may_trim and granule < 0
            # The stream may end inside of its last packet.
            if granule >= 0 and (missing > 0 or (missing < 0 and not is_last)):
                if not self._is_gap(missing, position + decoded, granule):
                    raise IrregularError
                # It is silent, and before the page's packets.
                _copy(fifo, decoded, position - begin, rows)
                position += decoded + missing
            decoded = fifo.samples
        if position + decoded < begin + count:
            raise IrregularError
        _copy(fifo, decoded, position - begin, rows)
        return rows.T

    def _is_gap(self, missing: int, position: int, granule: int) -> bool:
        """Whether a page that ends at ``granule`` lacks samples since recording paused.

        Where the stream's beginning was cut off, at ``position`` 0, its pages count from somewhere else.
        """
        seconds = missing / self.sample_rate
        return position > 0 and _GAP_S[0] < seconds < _GAP_S[1] and granule <= self._stream.end

    def _pages(self, wanted: int, end: int) -> tuple[int, list[_Page]]:
        """A position up to ``wanted``, and the pages that give the samples from there to ``end``.

        The first packet of Vorbis is the one before the position: it gives none, for want of an overlap.
        """
        position, last, pages = None, [], []
        for granule, packets, is_last in self._stream.pages(max(0, wanted - _VORBIS_PACKETS), _SLACK):
            self._budget.spend(0)
            if 0 <= granule <= wanted:
                position, last, pages = granule, packets[-1:], []
            else:
                pages.append((granule, packets, is_last))
            if granule >= end:
                break
        if position is None:
            raise IrregularError
        if self._codec == "opus":
            return _without_packets(pages, position, wanted)
        return position, [(-1, last, False), *pages]

    def _decoder(self, pages: list[_Page]) -> Any:
        """The codec's decoder, as if nothing had been decoded."""
        name = self._codec
        if name == "opus" and any(packet[0] >> 3 < CELT for _, packets, _ in pages for packet in packets):
            name = "libopus"
        if name in self._decoders:
            self._decoders[name].flush_buffers()
        else:
            decoder: Any = av.CodecContext.create(name, "r")
            decoder.extradata = self._extradata
            decoder.sample_rate, decoder.layout = self.sample_rate, ("mono", "stereo")[self._channels - 1]
            decoder.options = {"request_sample_fmt": "flt"}  # of libopus, which would give 16 bits
            self._decoders[name] = decoder
        return self._decoders[name]


def _copy(fifo: av.AudioFifo, size: int, place: int, rows: Float32) -> None:
    """Moves the first samples of ``fifo``, that begin at ``place`` of ``rows``, to where they overlap."""
    channels = len(rows)
    if not size:
        return
    sound: Any = fifo.read(size)
    if len(sound.planes) == channels:
        decoded = np.stack([np.frombuffer(plane, np.float32, size) for plane in sound.planes])
    else:
        decoded = np.frombuffer(sound.planes[0], np.float32, size * 2).reshape(size, 2).T
    begin, end = max(0, place), min(rows.shape[1], place + size)
    rows[:, begin:end] = decoded[:, begin - place : max(begin, end) - place]


def _without_packets(pages: list[_Page], position: int, wanted: int) -> tuple[int, list[_Page]]:
    """Leaves out packets of Opus that end up to ``wanted``; says where the first of the others begins."""
    for number, (granule, packets, is_last) in enumerate(pages):
        if granule - position > sum(map(opus_samples, packets)):  # behind a gap
            return position, pages[number:]
        for i, packet in enumerate(packets):
            size = opus_samples(packet)
            if position + size > wanted:
                return position, [(granule, packets[i:], is_last), *pages[number + 1 :]]
            position += size
    return position, []


def _joined(packets: list[bytes]) -> Iterator[bytes]:
    """Packets of Opus as fewer packets of the same frames (RFC 6716, 3.2.5): each costs its decoder time."""
    for kind, alike in groupby(packets, key=lambda packet: packet[0]):
        if kind & 3:  # of several frames already
            yield from alike
            continue
        frames = [packet[1:] for packet in alike]
        most = _LONGEST_PACKET // opus_samples(bytes((kind,)))
        for group in (frames[i : i + most] for i in range(0, len(frames), most)):
            sizes = b"".join(map(_opus_size, map(len, group[:-1])))
            yield bytes((kind | 3, 0x80 | len(group))) + sizes + b"".join(group)


def _opus_size(size: int) -> bytes:
    """A frame's size as it stands in a packet."""
    return bytes((size,)) if size < 252 else bytes((252 + size % 4, (size - 252) // 4))
