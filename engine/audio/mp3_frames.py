"""An index of an MP3's frames, so that a window is decoded without the sound before it.

libsndfile seeks by reading the header of every frame on the way, with two system calls each: in a song of
four minutes that costs as much as decoding ten seconds. One pass over the file in memory costs a tenth of
it. A frame can also keep part of its data in the frames before it (the bit reservoir); at low and variable
rates the first 95 ms after a seek are wrong for that reason. A cut begins early enough, and is decoded from
its beginning.

Headers are those of ISO/IEC 11172-3, 2.4.2.3, and 13818-3; the Xing or Info frame is as LAME writes it.
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
_OVERLAP_FRAMES = 2  # before a frame, with which its sound is mixed
_RESERVOIR_BYTES = 511  # of a frame's data, at most, that lie in the frames before it
_HEADER_BYTES = 38  # of a frame, at most, that are not data
_FRAMES_AFTER = 8  # a decoder holds back so many
_MAX_FRAMES = 1 << 19  # 3.8 hours at 44.1 kHz; limits the memory that a hostile file can ask for
_DECODER_DELAY = 529  # samples of its own delay that mpg123 leaves out where there is a tag
_MIN_FRAMES = 4  # fewer in a row are bytes that only look like an MP3


@dataclass(frozen=True)
class FrameIndex:
    """An MP3 and the offsets of its frames, up to the first one that does not follow its predecessor.

    ``tag`` is the file's Xing or Info frame, or a frame made in its place, which adds ``tag_samples``
    samples to the decoded sound. ``size_at`` is the position in ``tag`` of the stream's size in bytes.
    ``whole`` is True if the frames reach the end of the file.
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
        """The length in samples; None where the file's own tag states it, or where more may follow."""
        return len(self.offsets) * self.frame_samples if self.whole and self.tag_samples else None

    def cut(self, start: int, count: int) -> tuple[bytes, int] | None:
        """An MP3 with the samples ``start`` to ``start + count``, and the sample at which they begin in it.

        None where the frames around them are not in the index.
        """
        last = (start + count) // self.frame_samples + _FRAMES_AFTER
        if last < len(self.offsets):
            end = self.offsets[last]
        elif self.whole and start < len(self.offsets) * self.frame_samples:
            end = len(self.data)
        else:
            return None
        # The tag states the encoder's delay: the decoder drops it from a cut as it does from the whole file.
        first = max(0, start // self.frame_samples - _OVERLAP_FRAMES)
        borrowed = _RESERVOIR_BYTES
        while first > 0 and borrowed > 0:
            first -= 1
            borrowed -= self.offsets[first + 1] - self.offsets[first] - _HEADER_BYTES
        body = self.data[self.offsets[first] : end]
        tag = self.tag
        if self.size_at is not None:  # the decoder warns of a size that is not the true one
            size = (len(tag) + len(body)).to_bytes(4, "big")
            tag = tag[: self.size_at] + size + tag[self.size_at + 4 :]
        return tag + body, start - first * self.frame_samples + self.tag_samples


def index_from_mp3(data: bytes) -> FrameIndex | None:
    """The index of an MP3's bytes.

    None for other layers, free format, VBRI tags, a mix of mono and stereo, and what is no MP3.
    """
    start = _after_id3(data)
    if len(data) < start + 64 or data[start] != 0xFF or data[start + 1] < 0xE0:
        return None
    version, layer = data[start + 1] >> 3 & 3, data[start + 1] >> 1 & 3
    rate = data[start + 2] >> 2 & 3
    if version not in _HZ or layer != _LAYER_3 or rate == 3:
        return None
    sizes = _frame_sizes(version, rate)
    offsets, end = _frame_offsets(data, start, sizes)
    modes = np.frombuffer(data, np.uint8)[np.asarray(offsets, np.int64) + 3] >> 6 == _MONO
    if len(offsets) < _MIN_FRAMES or modes.any() != modes.all():
        return None
    head = data[start : offsets[1]]
    side_bytes = (17 if modes[0] else 32) if version == 3 else (9 if modes[0] else 17)
    tag_at = 4 + side_bytes
    samples = 1_152 if version == 3 else 576
    whole = _is_end(data, end)
    if head[tag_at : tag_at + 4] in (b"Xing", b"Info") and len(head) >= tag_at + 16:
        size_at = tag_at + (12 if head[tag_at + 7] & 1 else 8) if head[tag_at + 7] & 2 else None
        return FrameIndex(data, offsets[1:], head, size_at, 0, samples, whole)
    if any(name in head[:64] for name in (b"Xing", b"Info", b"VBRI")):
        return None
    tag = _info_frames(head, tag_at, sizes, rate, len(offsets))
    return FrameIndex(data, offsets, tag, None, samples - _DECODER_DELAY if tag else 0, samples, whole)


def _info_frames(head: bytes, tag_at: int, sizes: list[int], rate: int, frames: int) -> bytes:
    """An Info frame that states the number of frames, and a silent frame; empty if frames have checksums.

    Without them libsndfile takes all frames to be as large as the first, and stops where that would end.
    """
    if not head[1] & 1:
        return b""
    third_byte = 9 << 4 | rate << 2
    silent = bytearray(sizes[third_byte])
    silent[:4] = head[0], head[1], third_byte, head[3]
    info = silent.copy()
    info[tag_at : tag_at + 12] = b"Info" + (1).to_bytes(4, "big") + (frames + 1).to_bytes(4, "big")
    return bytes(info + silent)


def _is_end(data: bytes, offset: int) -> bool:
    """Whether no sound follows: only tags, zeros, or less than a frame's header."""
    rest = data[offset:]
    return len(rest) < 4 or rest[:3] in (b"TAG", b"APE", b"LYR", b"ID3") or not rest.strip(b"\0")


def _after_id3(data: bytes) -> int:
    offset = 0
    while data[offset : offset + 3] == b"ID3" and len(data) >= offset + 10:
        size = 0
        for byte in data[offset + 6 : offset + 10]:
            size = size << 7 | byte & 0x7F
        offset += 10 + size + (10 if data[offset + 5] & 0x10 else 0)
    return offset


def _frame_sizes(version: int, rate: int) -> list[int]:
    """A frame's size in bytes by the third byte of its header; 0 where that byte cannot follow."""
    sizes = [0] * 256
    for byte in range(256):
        kbits = _KBITS[1 if version == 3 else 2][byte >> 4]
        if kbits and byte >> 2 & 3 == rate:
            scale = 144_000 if version == 3 else 72_000
            sizes[byte] = scale * kbits // _HZ[version][rate] + (byte >> 1 & 1)
    return sizes


def _frame_offsets(data: bytes, start: int, sizes: list[int]) -> tuple[list[int], int]:
    """The offsets of the frames, and the offset at which the last one ends."""
    second_byte, last = data[start + 1], len(data) - 4
    offsets: list[int] = []
    # By their sizes alone, which is fast. Whether each is a frame is checked for all of them afterwards.
    offset = start
    while offset < last and (size := sizes[data[offset + 2]]):
        offsets.append(offset)
        offset += size
        if len(offsets) == _MAX_FRAMES:
            break
    positions = np.asarray(offsets, np.int64)
    content = np.frombuffer(data, np.uint8)
    is_frame = (content[positions] == 0xFF) & (content[positions + 1] == second_byte)
    if not is_frame.all():
        count = int(is_frame.argmin())
        offset = offsets[count]
        del offsets[count:]
    return offsets, offset
