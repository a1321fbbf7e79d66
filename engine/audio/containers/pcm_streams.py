"""Streams of DTS, Dolby Digital, DSD or others that stand in the place of samples.

A DTS CD holds DTS where other CDs hold samples, a digital output (IEC 61937) sends bursts of such codecs, and
a player sends DSD as DSD over PCM (DoP). Ripped or recorded they are a WAV or FLAC like others, and sound as
noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import AudioError

LONGEST_PACKET = 6_144
"""In stereo samples: a burst of E-AC-3. Frames of DTS are 4,096 at most."""

_FRAME_BYTES = 4  # two samples of 16 bits
_DTS_RATES = (1, 2, 3, 6, 7, 8, 11, 12, 13)  # the codes that stand for a sample rate
_DTS_SYNCS = {  # in little-endian samples: (bits of a word that are used, whether bytes are swapped)
    b"\x7f\xfe\x80\x01": (16, False),
    b"\xfe\x7f\x01\x80": (16, True),
    b"\x1f\xff\xe8\x00": (14, False),
    b"\xff\x1f\x00\xe8": (14, True),
}
_BURST_SYNCS = {b"\xf8\x72\x4e\x1f": False, b"\x72\xf8\x1f\x4e": True}
_BURST_HEAD = 8
_DSD_MARKERS = 0x05, 0xFA  # in turns, the upper bytes of samples of 24 bits (DoP Open Standard 1.1)
_DSD_LEAST = 64  # samples: no music is so long a tone of half its rate
# IEC 61937's data types: (name, FFmpeg's decoder, bits in a unit of the stated length)
_BURSTS = {
    1: ("AC-3", "ac3", 1),
    4: ("MPEG audio", "mp2", 1),
    5: ("MPEG audio", "mp3", 1),
    6: ("MPEG audio", "mp2", 1),
    7: ("AAC", "aac", 1),
    11: ("DTS", "dca", 1),
    12: ("DTS", "dca", 1),
    13: ("DTS", "dca", 1),
    17: ("DTS", "dca", 8),
    21: ("E-AC-3", "eac3", 8),
}


@dataclass(frozen=True)
class Packet:
    """A codec's frame. ``start`` and ``length`` are the stereo samples in whose place it stands."""

    data: bytes
    start: int
    length: int


@dataclass(frozen=True)
class CodedStream:
    """The codec whose stream samples are: ``title`` for people, ``codec`` for FFmpeg."""

    title: str
    codec: str
    sync: bytes

    def packets(self, samples: npt.NDArray[np.int16]) -> list[Packet]:
        """The whole frames that stand in samples ``[n, 2]``."""
        data = samples.astype("<i2", copy=False).tobytes()
        starts, packets = [], []
        cut = _cut_frame if self.sync in _DTS_SYNCS else _cut_burst
        place = data.find(self.sync)
        while place >= 0:
            if frame := cut(data, place, self.sync):
                starts.append(place // _FRAME_BYTES)
                packets.append(frame[1])
                place += frame[2]
            else:
                place += 1
            place = data.find(self.sync, place)
        lengths = np.diff(starts, append=len(samples)).tolist() if starts else []
        return [Packet(*fields) for fields in zip(packets, starts, lengths, strict=True)]


def holds_sync(samples: npt.NDArray[np.int16]) -> bool:
    """Whether samples ``[n, 2]`` are worth a closer look. Takes some millionths of a second."""
    words = samples.reshape(-1).astype("<i2", copy=False)
    for sync in (*_DTS_SYNCS, *_BURST_SYNCS):
        first, second = np.frombuffer(sync, "<i2")
        is_first = words[:-1] == first
        if is_first.any() and (words[1:][is_first] == second).any():
            return True
    return False


def refuse_dsd(samples: npt.NDArray[np.int16]) -> None:
    """Looks at the upper 16 bits of samples ``[n, channels]`` of 24 bits or more.

    Raises:
        AudioError: they are DSD over PCM.
    """
    markers = samples >> 8 & 0xFF
    for first, second in (_DSD_MARKERS, _DSD_MARKERS[::-1]):
        if len(samples) >= _DSD_LEAST and (markers[::2] == first).all() and (markers[1::2] == second).all():
            raise AudioError(
                "holds DSD in the place of samples (DoP), which mer does not decode: convert the DSD file "
                "itself, for example ffmpeg -i FILE.dsf OUT.flac"
            )


def stream_in_samples(samples: npt.NDArray[np.int16]) -> CodedStream | None:
    """The stream that 16-bit samples ``[n, 2]`` are; None where they are sound.

    A stream is known by two frames or more, of which each ends where the next one begins, or before.
    """
    data = samples.astype("<i2", copy=False).tobytes()
    for sync in (*_DTS_SYNCS, *_BURST_SYNCS):
        titles = list(_titles(data, sync)) if sync in data else []
        if len(titles) >= 2 and len(set(titles)) == 1:
            return CodedStream(*titles[0], sync)
    return None


def _titles(data: bytes, sync: bytes) -> Iterator[tuple[str, str]]:
    cut = _cut_frame if sync in _DTS_SYNCS else _cut_burst
    place = data.find(sync)
    while place >= 0:
        after = data.find(sync, place + 1)
        frame = cut(data, place, sync)
        if frame and (after < 0 or after >= place + frame[2]):
            yield frame[0]
        place = after


def _cut_frame(data: bytes, place: int, sync: bytes) -> tuple[tuple[str, str], bytes, int] | None:
    """What a frame of DTS holds, its bytes, and how many bytes it takes. None where it is no whole frame."""
    bits, swapped = _DTS_SYNCS[sync]
    head = data[place : place + 16]
    if len(head) < 16:
        return None
    words = np.frombuffer(head, "<u2" if swapped else ">u2")
    header = int("".join(f"{int(word) & (1 << bits) - 1:0{bits}b}" for word in words), 2)
    total = bits * len(words)

    def field(first: int, count: int) -> int:
        return header >> (total - first - count) & (1 << count) - 1

    size, blocks, rate = field(46, 14) + 1, field(39, 7) + 1, field(66, 4)
    taken = 2 * -(-size * 8 // bits)
    if size < 96 or blocks < 6 or rate not in _DTS_RATES or place + taken > len(data):
        return None
    return ("DTS", "dca"), data[place : place + taken], taken


def _cut_burst(data: bytes, place: int, sync: bytes) -> tuple[tuple[str, str], bytes, int] | None:
    """The same of a burst of IEC 61937."""
    swapped = _BURST_SYNCS[sync]
    if len(data) < place + _BURST_HEAD:
        return None
    head = np.frombuffer(data[place : place + _BURST_HEAD], "<u2" if swapped else ">u2")
    kind = _BURSTS.get(int(head[2]) & 0x7F)
    if kind is None:
        return None
    size = int(head[3]) * kind[2] // 8
    even = size + size % 2
    taken = _BURST_HEAD + even
    if size < 16 or place + taken > len(data):
        return None
    payload = np.frombuffer(data[place + _BURST_HEAD : place + taken], np.uint16)
    return kind[:2], (payload.byteswap() if swapped else payload).tobytes()[:size], taken
