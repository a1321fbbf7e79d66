"""Where an MP3's frames lie, so that a window is decoded without all that stands before it.

To seek, libsndfile reads every frame's header from where it is, two system calls each: in a song of four
minutes that costs as much as decoding ten seconds. One walk over the file in memory costs a tenth of it.
Headers as in ISO/IEC 11172-3, 2.4.2.3 and 13818-3; the Xing or Info frame as LAME writes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_KBITS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # MPEG 1, 2, 2.5
_LAYER_3 = 1
_MONO = 3
_BEFORE = 12  # frames: the bits that a frame borrows from earlier ones, and the decoder's overlap
_AFTER = 8  # frames: what a decoder holds back
_FEWEST = 4  # frames in a row, or it is no MP3 but bytes that look like one


@dataclass(frozen=True)
class FrameIndex:
    """An MP3's bytes, its frames' offsets up to the first that does not follow, its Xing frame if any.

    ``size_at`` is where the Xing frame tells the stream's size.
    """

    data: bytes
    offsets: list[int]
    tag: bytes
    size_at: int | None
    frame_samples: int

    def cut(self, start: int, count: int) -> tuple[bytes, int] | None:
        """An MP3 that holds the samples ``start`` to ``start + count``, and where they begin in it.

        None where the frames around them do not follow each other.
        """
        # The decoder takes the encoder's delay, which the tag tells it, off the cut as off the whole.
        first = max(0, start // self.frame_samples - _BEFORE)
        last = (start + count) // self.frame_samples + _AFTER
        if last >= len(self.offsets):
            return None
        body = self.data[self.offsets[first] : self.offsets[last]]
        tag = self.tag
        if self.size_at is not None:  # another size than there is would be warned of
            size = (len(tag) + len(body)).to_bytes(4, "big")
            tag = tag[: self.size_at] + size + tag[self.size_at + 4 :]
        return tag + body, start - first * self.frame_samples


def index_from_mp3(data: bytes) -> FrameIndex | None:
    """The frames of an MP3; None for what is not plainly one: other layers, free format, VBRI tags."""
    start = _after_id3(data)
    if len(data) < start + 64 or data[start] != 0xFF or data[start + 1] < 0xE0:
        return None
    version, layer = data[start + 1] >> 3 & 3, data[start + 1] >> 1 & 3
    rate = data[start + 2] >> 2 & 3
    if version not in _HZ or layer != _LAYER_3 or rate == 3:
        return None
    offsets = _walk(data, start, _sizes(version, rate))
    modes = np.frombuffer(data, np.uint8)[np.asarray(offsets, np.int64) + 3] >> 6 == _MONO
    if len(offsets) < _FEWEST or modes.any() != modes.all():
        return None
    head = data[start : offsets[1]]
    side = (17 if modes[0] else 32) if version == 3 else (9 if modes[0] else 17)
    at = 4 + side
    tagged = head[at : at + 4] in (b"Xing", b"Info")
    if not tagged and any(name in head[:64] for name in (b"Xing", b"Info", b"VBRI")):
        return None
    size_at = at + (12 if head[at + 7] & 1 else 8) if tagged and head[at + 7] & 2 else None
    return FrameIndex(
        data, offsets[tagged:], head if tagged else b"", size_at, 1_152 if version == 3 else 576
    )


def _after_id3(data: bytes) -> int:
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
    return at


def _sizes(version: int, rate: int) -> list[int]:
    """A frame's bytes by its header's third byte; 0 for what cannot follow."""
    sizes = [0] * 256
    for byte in range(256):
        kbits = _KBITS[1 if version == 3 else 2][byte >> 4]
        if kbits and byte >> 2 & 3 == rate:
            scale = 144_000 if version == 3 else 72_000
            sizes[byte] = scale * kbits // _HZ[version][rate] + (byte >> 1 & 1)
    return sizes


def _walk(data: bytes, at: int, sizes: list[int]) -> list[int]:
    offsets, second, end = [], data[at + 1], len(data) - 4
    while at < end and data[at] == 0xFF and data[at + 1] == second:
        size = sizes[data[at + 2]]
        if not size:
            break
        offsets.append(at)
        at += size
    return offsets
