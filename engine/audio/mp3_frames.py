"""Where an MP3's frames lie, so that a window is decoded without all that stands before it.

To seek, libsndfile reads every frame's header from where it is, two system calls each: in a song of four
minutes that costs as much as decoding ten seconds; one walk over the file in memory costs a tenth of it.
And where a frame's sound stands in those before it, at low and variable rates, the first 95 ms after a
seek can be wrong. A cut begins early enough, and is read from its beginning.
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
_OVERLAP = 2  # frames that a frame's sound is mixed with
_RESERVOIR = 511  # bytes of sound, at most, that a frame has put into those before it
_HEADER = 38  # bytes of a frame, at most, that are not sound
_AFTER = 8  # frames: what a decoder holds back
_MOST = 1 << 19  # frames, 3.8 hours at 44.1 kHz: what a hostile file can make of its bytes
_DELAY = 529  # samples that mpg123 leaves out, its own delay, as soon as there is a tag
_FEWEST = 4  # frames in a row, or it is no MP3 but bytes that look like one


@dataclass(frozen=True)
class FrameIndex:
    """An MP3's bytes, and its frames' offsets up to the first that does not follow.

    ``tag`` is its Xing frame, or one made for it that adds ``tag_samples`` to what is heard;
    ``size_at`` is where it tells the stream's size. ``whole`` says that the frames reach the file's end.
    """

    data: bytes
    offsets: list[int]
    tag: bytes
    size_at: int | None
    tag_samples: int
    frame_samples: int
    whole: bool

    @property
    def length(self) -> int | None:
        """In samples; None where the file's own tag tells it, or where there may be more of it."""
        return len(self.offsets) * self.frame_samples if self.whole and self.tag_samples else None

    def cut(self, start: int, count: int) -> tuple[bytes, int] | None:
        """An MP3 that holds the samples ``start`` to ``start + count``, and where they begin in it.

        None where the frames around them do not follow each other.
        """
        last = (start + count) // self.frame_samples + _AFTER
        if last < len(self.offsets):
            end = self.offsets[last]
        elif self.whole and start < len(self.offsets) * self.frame_samples:
            end = len(self.data)
        else:
            return None
        # The decoder takes the encoder's delay, which the tag tells it, off the cut as off the whole.
        first = max(0, start // self.frame_samples - _OVERLAP)
        borrowed = _RESERVOIR
        while first > 0 and borrowed > 0:
            first -= 1
            borrowed -= self.offsets[first + 1] - self.offsets[first] - _HEADER
        body = self.data[self.offsets[first] : end]
        tag = self.tag
        if self.size_at is not None:  # another size than there is would be warned of
            size = (len(tag) + len(body)).to_bytes(4, "big")
            tag = tag[: self.size_at] + size + tag[self.size_at + 4 :]
        return tag + body, start - first * self.frame_samples + self.tag_samples


def index_from_mp3(data: bytes) -> FrameIndex | None:
    """The frames of an MP3; None for what is not plainly one: other layers, free format, VBRI tags."""
    start = _after_id3(data)
    if len(data) < start + 64 or data[start] != 0xFF or data[start + 1] < 0xE0:
        return None
    version, layer = data[start + 1] >> 3 & 3, data[start + 1] >> 1 & 3
    rate = data[start + 2] >> 2 & 3
    if version not in _HZ or layer != _LAYER_3 or rate == 3:
        return None
    sizes = _sizes(version, rate)
    offsets, end = _walk(data, start, sizes)
    modes = np.frombuffer(data, np.uint8)[np.asarray(offsets, np.int64) + 3] >> 6 == _MONO
    if len(offsets) < _FEWEST or modes.any() != modes.all():
        return None
    head = data[start : offsets[1]]
    side = (17 if modes[0] else 32) if version == 3 else (9 if modes[0] else 17)
    at = 4 + side
    samples = 1_152 if version == 3 else 576
    if head[at : at + 4] in (b"Xing", b"Info") and len(head) >= at + 16:
        size_at = at + (12 if head[at + 7] & 1 else 8) if head[at + 7] & 2 else None
        return FrameIndex(data, offsets[1:], head, size_at, 0, samples, _ends(data, end))
    if any(name in head[:64] for name in (b"Xing", b"Info", b"VBRI")):
        return None
    tag = _tag(head, at, sizes, rate, len(offsets))
    return FrameIndex(data, offsets, tag, None, samples - _DELAY if tag else 0, samples, _ends(data, end))


def _tag(head: bytes, at: int, sizes: list[int], rate: int, frames: int) -> bytes:
    """A frame that tells how many follow, and a silent one; nothing where frames have checksums.

    Without it libsndfile takes the first frame's size for all the others', and stops where that ends.
    """
    if not head[1] & 1:
        return b""
    third = 9 << 4 | rate << 2
    silent = bytearray(sizes[third])
    silent[:4] = head[0], head[1], third, head[3]
    frame = silent.copy()
    frame[at : at + 12] = b"Info" + (1).to_bytes(4, "big") + (frames + 1).to_bytes(4, "big")
    return bytes(frame + silent)


def _ends(data: bytes, at: int) -> bool:
    """Whether what stands behind the last frame is no more sound: tags, zeros, less than a frame."""
    rest = data[at:]
    return len(rest) < 4 or rest[:3] in (b"TAG", b"APE", b"LYR", b"ID3") or not rest.strip(b"\0")


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


def _walk(data: bytes, at: int, sizes: list[int]) -> tuple[list[int], int]:
    """The frames' offsets, and where the last one ends."""
    second, end = data[at + 1], len(data) - 4
    offsets: list[int] = []
    # By sizes alone; whether headers stand there is asked of all at once.
    while at < end and (size := sizes[data[at + 2]]):
        offsets.append(at)
        at += size
        if len(offsets) == _MOST:
            break
    found = np.asarray(offsets, np.int64)
    content = np.frombuffer(data, np.uint8)
    right = (content[found] == 0xFF) & (content[found + 1] == second)
    if not right.all():
        count = int(right.argmin())
        at = offsets[count]
        del offsets[count:]
    return offsets, at
