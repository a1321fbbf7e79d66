"""An index of an MP3's frames, so that a window is decoded without the sound before it.

libsndfile seeks by reading the header of every frame on the way, with two system calls each: in a song of
four minutes that costs as much as decoding ten seconds. One pass over the file costs a tenth of it. A frame
can also keep part of its data in the frames before it (the bit reservoir); at low and variable rates the
first 95 ms after a seek are wrong for that reason. A cut begins early enough, and is decoded from its
beginning.

The length is that of the frames. What a tag states is not true in files that were joined, cut or badly
written.

Headers are those of ISO/IEC 11172-3, 2.4.2.3, and 13818-3; the Xing or Info frame is as LAME writes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..decoder import Budget
from .frame_walk import Codec, Content, FrameList, Ints, frames_from_file, kind_of_frames

_KBITS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # MPEG 1, 2, 2.5
_LAYER_3_MASK, _LAYER_3 = 0xE6, 0xE2  # the second byte without its version and its word on checksums
_MONO = 3
_OVERLAP_FRAMES = 2  # before a frame, with which its sound is mixed
_RESERVOIR_BYTES = 511  # of a frame's data, at most, that lie in the frames before it
_HEADER_BYTES = 38  # of a frame, at most, that are not data
_FRAMES_AFTER = 8  # a decoder holds back so many
_DECODER_DELAY = 529  # samples of its own delay that mpg123 leaves out where there is a tag
_TAGS = (b"Xing", b"Info", b"VBRI")
_MAY_BE_TAG = np.isin(np.arange(256), [name[0] for name in _TAGS])
_VBRI_AT = 36
_SIDE_AT = 8  # a byte of the side information, whether or not a checksum precedes it
_ALL_FIELDS = 120  # bytes of a tag before the encoder's name, where the flags do not tell
_ENCODERS = (b"LAME", b"Lavc", b"Lavf")
_PERIOD = 49  # frames after which the sizes of a constant bit rate repeat: at 44.1 kHz they are n * 160 / 49


def _frame_sizes(version: int) -> list[int]:
    """A frame's size in bytes by the third byte of its header; 0 where that byte cannot be."""
    sizes = [0] * 256
    for byte in range(256) if version in _HZ else ():
        kbits, rate = _KBITS[1 if version == 3 else 2][byte >> 4], byte >> 2 & 3
        if kbits and rate < 3:
            sizes[byte] = (144_000 if version == 3 else 72_000) * kbits // _HZ[version][rate] + (
                byte >> 1 & 1
            )
    return sizes


_SIZES = [_frame_sizes(version) for version in range(4)]
_SIZE_TABLE = np.array(_SIZES, np.int64)
# A number of the version and the sample rate, by the version and the third byte; one more for mono.
_KINDS = np.array([[8 * version + (byte >> 1 & 6) for byte in range(256)] for version in range(4)])
# Where the tag of a Xing or Info frame stands: behind the header and the side information. [version, mono]
_TAG_AT = np.array([[21, 13], [21, 13], [21, 13], [36, 21]])


@dataclass(frozen=True)
class FrameIndex:
    """The frames of one sample rate and number of channels.

    Attributes:
        offsets, sizes: of the frames in the file, in bytes: ``[frames]``.
        length: of the sound, in samples.
        skipped: samples of the encoder's and the decoder's delay before the sound.
        head: the first frame's header.
    """

    sample_rate: int
    channels: int
    offsets: Ints
    sizes: npt.NDArray[np.uint16]
    frame_samples: int
    length: int
    skipped: int
    head: bytes

    def cut(self, descriptor: int, start: int, count: int) -> tuple[bytes, int]:
        """An MP3 that holds the samples ``start`` to ``start + count``, and where in its sound they begin."""
        start += self.skipped
        end = min((start + count) // self.frame_samples + _FRAMES_AFTER, len(self.offsets))
        first = heard = max(0, start // self.frame_samples - _OVERLAP_FRAMES)
        borrowed = _RESERVOIR_BYTES
        while first > 0 and borrowed > 0:
            first -= 1
            borrowed -= max(1, int(self.sizes[first]) - _HEADER_BYTES)
        body = bytearray(_bytes_of_frames(descriptor, self.offsets[first:end], self.sizes[first:end]))
        self._silence(body, self.sizes[first:heard].tolist())
        position = start - first * self.frame_samples - _DECODER_DELAY
        if position >= 0:
            return self._info_frame(end - first) + body, position
        # Of a silent frame's sound the decoder leaves out what it would leave out of the first frame's.
        return self._info_frame(end - first + 1) + self._silent_frame() + body, position + self.frame_samples

    def _silence(self, body: bytearray, sizes: list[int]) -> None:
        """Takes the sound out of the first frames, whose data is for those behind them.

        Data of their own may lie before the cut, and mpg123 would complain of it on stderr.
        """
        version = self.head[1] >> 3 & 3
        length = int(_TAG_AT[version, 2 - self.channels]) - 4  # of the side information
        at = 0
        for size in sizes if len(body) >= sum(sizes) else ():  # the file has been cut meanwhile
            side = at + (4 if body[at + 1] & 1 else 6)  # behind the checksum
            at += size
            # The first 8 or 9 bits stay, which say where the data begin: frames behind it find theirs so.
            body[side + 1] &= 0x80 if version == 3 else 0
            body[side + 2 : side + length] = bytes(length - 2)

    def _info_frame(self, frames: int) -> bytes:
        """An Info frame that states the number of frames.

        Without one libsndfile takes all frames to be as large as the first, and stops where that would end.
        """
        info = bytearray(self._silent_frame())
        tag_at = int(_TAG_AT[self.head[1] >> 3 & 3, 2 - self.channels])
        info[tag_at : tag_at + 12] = b"Info" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
        return bytes(info)

    def _silent_frame(self) -> bytes:
        third_byte = 9 << 4 | self.head[2] & 0x0C  # a bit rate of the middle, the sample rate
        head = bytes((self.head[0], self.head[1] | 1, third_byte, self.head[3]))  # | 1: no checksum
        return head.ljust(_SIZES[self.head[1] >> 3 & 3][third_byte], b"\0")


def mp3_from_file(descriptor: int, budget: Budget, junk: int = 0) -> list[FrameIndex]:
    """The parts of an MP3: another begins with each change of the sample rate or of mono and stereo.

    Empty for other layers, free format, and what is no MP3.

    Args:
        junk: so many bytes before the first frame are allowed, beside ID3 tags.
    """
    parts = frames_from_file(descriptor, _CODEC, budget, junk)
    return [index for part in parts if (index := _index(descriptor, part))]


def rate_of_mp3(data: bytes) -> int | None:
    """The rate in Hz of the frames that begin where ``data`` does; None where they may be samples."""
    kind = kind_of_frames(data, _CODEC)
    return None if kind is None else _HZ[data[1] >> 3 & 3][data[2] >> 2 & 3]


def _index(descriptor: int, part: FrameList) -> FrameIndex | None:
    offsets, sizes = part.offsets, part.sizes
    head = os.pread(descriptor, int(sizes[0]), int(offsets[0]))
    if len(head) < sizes[0]:  # the file has been cut meanwhile
        return None
    version = head[1] >> 3 & 3
    samples = 1_152 if version == 3 else 576
    skipped = padding = 0
    if _is_tag(np.frombuffer(head, np.uint8), np.zeros(1, np.int64))[0]:
        offsets, sizes = offsets[1:], sizes[1:]
        skipped, padding = _gapless(head, len(offsets))
    length = len(offsets) * samples
    if skipped + padding >= length:
        skipped = padding = 0
    if not length:
        return None
    rate = _HZ[version][head[2] >> 2 & 3]
    channels = 1 if head[3] >> 6 == _MONO else 2
    length -= skipped + padding
    return FrameIndex(rate, channels, offsets, sizes, samples, length, skipped, head[:4])


def _gapless(head: bytes, frames: int) -> tuple[int, int]:
    """Samples that do not belong to the sound, at the beginning and at the end, by a Xing or Info frame.

    As mpg123 counts them. A tag whose number of frames is wrong is believed if a known encoder wrote it; the
    end of a file that was cut short is no padding.
    """
    tag = max(head.find(b"Xing", 0, 48), head.find(b"Info", 0, 48))
    if tag < 0 or len(head) < tag + 16:
        return 0, 0
    flags = head[tag + 7]
    stated = int.from_bytes(head[tag + 8 : tag + 12], "big") if flags & 1 else 0
    encoder = tag + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
    places = [place for place in (encoder, tag + _ALL_FIELDS) if head[place : place + 4] in _ENCODERS]
    if not places and (not flags & 1 or abs(stated - frames) > 1):
        return 0, 0
    encoder = places[0] if places else encoder
    delays = int.from_bytes(head[encoder + 21 : encoder + 24].ljust(3, b"\0"), "big")
    padding = delays & 0xFFF if stated <= frames + 1 else 0
    return (delays >> 12) + _DECODER_DELAY, max(0, padding - _DECODER_DELAY)


def _is_tag(content: Content, offsets: Ints) -> npt.NDArray[np.bool_]:
    """Whether frames are those of a Xing, Info or VBRI tag, which hold no sound."""
    is_tag = np.zeros(len(offsets), np.bool_)
    end = len(content) - 1
    few = np.flatnonzero(content[np.minimum(offsets + _SIDE_AT, end)] == 0)  # without sound
    offsets = offsets[few]
    tag_at = _TAG_AT[content[offsets + 1] >> 3 & 3, (content[offsets + 3] >> 6 == _MONO).view(np.int8)]
    for place in (tag_at, tag_at + 2, _VBRI_AT):  # + 2: LAME's, where frames have checksums
        places = np.minimum(offsets + place, end)
        for i in np.flatnonzero(_MAY_BE_TAG[content[places]]):
            is_tag[few[i]] |= content[places[i] : places[i] + 4].tobytes() in _TAGS
    return is_tag


def _headers(content: Content, offsets: Ints) -> tuple[Ints, Ints]:
    second, third = content[offsets + 1], content[offsets + 2]
    version = second >> 3 & 3
    mono = content[offsets + 3] >> 6 == _MONO
    is_frame = (content[offsets] == 0xFF) & (second & _LAYER_3_MASK == _LAYER_3)
    sizes = _SIZE_TABLE[version, third] * is_frame
    return sizes, _KINDS[version, third] + mono


def _chain(data: bytes, offset: int, end: int, most: int) -> list[int] | Ints:
    offsets = _chain_by_frame(data, offset, end, min(most, _PERIOD + 1))
    if not most > len(offsets) > _PERIOD:
        return offsets
    # At a constant bit rate all that follows is known now, and checked at once.
    period = offsets[-1] - offset
    starts = np.arange(offset, end - 3, period)
    expected = (starts[:, None] + (np.array(offsets[:-1]) - offset)).ravel()
    expected = expected[: np.searchsorted(expected, end - 4, "right")]
    content = np.frombuffer(data, np.uint8)
    sizes = _SIZE_TABLE[content[expected + 1] >> 3 & 3, content[expected + 2]]
    same = sizes[:-1] == np.diff(expected)
    agreed = int(np.append(same, False).argmin()) + 1  # the last one's own size may be any other
    agreed -= int(sizes[agreed - 1] == 0)
    at_the_end = agreed == len(expected) and expected[-1] + sizes[-1] > end - 4  # nothing comes after it
    return expected[:agreed] if agreed >= most or at_the_end else _chain_by_frame(data, offset, end, most)


def _chain_by_frame(data: bytes, offset: int, end: int, most: int) -> list[int]:
    offsets: list[int] = []
    if offset + 4 > end:
        return offsets
    sizes, end = _SIZES[data[offset + 1] >> 3 & 3], end - 4
    for _ in range(most):
        if offset > end or not (size := sizes[data[offset + 2]]):
            break
        offsets.append(offset)
        offset += size
    return offsets


_CODEC = Codec(_chain, _headers, _is_tag, (_LAYER_3_MASK, _LAYER_3), _SIZE_TABLE.max())


def _bytes_of_frames(descriptor: int, offsets: Ints, sizes: npt.NDArray[np.uint16]) -> bytes:
    """The frames one after the other, without what stands between them."""
    ends = offsets + sizes
    breaks = [0, *(np.flatnonzero(ends[:-1] != offsets[1:]) + 1).tolist(), len(offsets)]
    return b"".join(
        os.pread(descriptor, int(ends[stop - 1] - offsets[start]), int(offsets[start]))
        for start, stop in pairwise(breaks)
    )
