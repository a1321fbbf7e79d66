"""The walk over a stream of frames that has no index of its own: MP3 and ADTS.

Each frame begins with a header that tells its size, so the next one's place. Where no frame stands there
(tags, junk, a broken header), the walk goes on at the next place from which several frames follow one
another: a broken frame costs that frame. The file is read in pieces, and the work grows with its size,
whatever it holds.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ...errors import AudioError
from ..decoder import Budget
from ..formats import start_behind_tags

Ints = npt.NDArray[np.int64]
Content = npt.NDArray[np.uint8]

_PIECE = 512 << 10
_BLOCK = 1_024  # frames followed by their sizes alone, before it is checked that they are frames
_CHAIN = 3  # frames in a row that are no chance: one header in random bytes is 1 in 65,000
# So many frames in a row, and so many of them unlike each other, are no samples: a tone repeats itself.
_LONG_CHAIN, _UNLIKE = 24, 8
_FIRST_PIECE = 8 << 10
_FIRST_SEARCH = 4 << 10  # then twice as much, again and again
_HEAD_BYTES = 64  # of a frame, at most, that tell what it is
_MAX_TAGS = 16  # in a row
_APE, _APE_BYTES = b"APETAGEX", 32  # of an APEv2 tag's header, and of its footer
# Limits of the memory and the parts that a hostile file can ask for.
_MAX_FRAMES = 1 << 22  # at 48 kHz 28 hours of MP3, 24 of AAC
_MAX_PARTS = 1 << 12


@dataclass(frozen=True)
class Codec:
    """How the frames of a codec are recognised.

    Attributes:
        chain: follows frames by their sizes alone, which is fast. Takes the bytes, the offset of the first
            frame, the offset that ends the last one's header, and the most frames. Returns their offsets,
            up to a size that cannot be.
        headers: checks offsets, int64 ``[n]``, in uint8 ``[bytes]``. Returns of each the frame's size in
            bytes (0: no frame), and its kind, a number that changes with the sample rate or the channels.
        begins: of frames, as above, whether each begins a file of its own.
        sync: the bits of a header's second byte that are always the same, and their value.
        longest: the most bytes of a frame.
    """

    chain: Callable[[bytes, int, int, int], list[int] | Ints]
    headers: Callable[[Content, Ints], tuple[Ints, Ints]]
    begins: Callable[[Content, Ints], npt.NDArray[np.bool_]]
    sync: tuple[int, int]
    longest: int


class FrameList:
    """Frames of one ``kind``, that is of one sample rate and number of channels."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self._offsets, self._sizes = array("q"), array("H")  # compact: there may be millions

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def offsets(self) -> Ints:
        """Of the frames in the file, in bytes: int64 ``[frames]``."""
        return np.frombuffer(self._offsets, np.int64)

    @property
    def sizes(self) -> npt.NDArray[np.uint16]:
        """Of the frames, in bytes: uint16 ``[frames]``."""
        return np.frombuffer(self._sizes, np.uint16)

    def add(self, offsets: Ints, sizes: Ints) -> None:
        self._offsets.frombytes(offsets.tobytes())
        self._sizes.frombytes(sizes.astype(np.uint16).tobytes())


def frames_from_file(descriptor: int, codec: Codec, budget: Budget, junk: int = 0) -> list[FrameList]:
    """The parts of a file, in order; none where no frames stand at its beginning.

    Args:
        junk: so many bytes before the first frame are allowed. ID3 tags do not count.

    Raises:
        AudioError: it has more than 2^22 frames, or takes too much time.
    """
    return _Walk(descriptor, codec, budget).parts(junk)


def kind_of_frames(data: bytes, codec: Codec) -> int | None:
    """The kind of the frames that begin where ``data`` does; None where they are too few to be no samples."""
    offsets = np.array(codec.chain(data, 0, len(data), len(data)), np.int64)
    if len(offsets) < _LONG_CHAIN:
        return None
    sizes, kinds = codec.headers(np.frombuffer(data, np.uint8), offsets)
    good = (sizes > 0) & (kinds == kinds[0])
    count = int(np.append(good, False).argmin())
    unlike = {data[first:last] for first, last in pairwise(offsets[:count].tolist())}
    return int(kinds[0]) if count >= _LONG_CHAIN and len(unlike) >= _UNLIKE else None


class _Walk:
    def __init__(self, descriptor: int, codec: Codec, budget: Budget) -> None:
        self._descriptor, self._codec, self._budget = descriptor, codec, budget
        self._size = os.fstat(descriptor).st_size
        self._data, self._begin, self._piece = b"", 0, _FIRST_PIECE
        self._content = np.empty(0, np.uint8)

    def parts(self, junk: int) -> list[FrameList]:
        parts: list[FrameList] = []
        frames = 0
        start = self._at_or_after(0, 0, junk)
        while start is not None:
            kind, begins = self._head(start)
            if not parts or begins or parts[-1].kind != kind:
                if len(parts) == _MAX_PARTS:
                    break
                parts.append(FrameList(kind))
            frames -= len(parts[-1])
            last, end = self._follow(start, parts[-1])
            frames += len(parts[-1])
            # A frame with a broken size, or with bytes missing, may hide the one after it.
            start = self._at_or_after(end, last + 4, self._size)
            if start is not None and frames >= _MAX_FRAMES:
                raise AudioError(f"holds more than {_MAX_FRAMES:,} frames of MP3 or AAC (a day): split it")
        return parts

    def _at_or_after(self, offset: int, search_from: int, distance: int) -> int | None:
        """Where frames stand: at ``offset``, after the tags there, or from ``search_from`` on."""
        if self._is_chain(offset):
            return offset
        after_ape = self._after_ape(search_from, offset)
        start = after_ape or offset
        after = start_behind_tags(self._descriptor, start)
        after = after if after > start else after_ape
        if after and self._is_chain(after):
            return after
        return self._search(max(search_from, after_ape or 0), distance)

    def _is_chain(self, offset: int) -> bool:
        """Whether frames of one kind follow one another from ``offset`` on."""
        self._load(offset, _CHAIN * self._codec.longest)
        chain = self._codec.chain(self._data, offset - self._begin, len(self._data), _CHAIN)
        if len(chain) < _CHAIN:
            return False
        sizes, kinds = self._codec.headers(self._content, np.array(chain))
        return bool(sizes.all() and (kinds == kinds[0]).all())

    def _head(self, start: int) -> tuple[int, bool]:
        """The kind of the frame at ``start``, and whether it begins a file of its own."""
        self._load(start, self._codec.longest)
        offset = np.array([start - self._begin])
        _, kinds = self._codec.headers(self._content, offset)
        return int(kinds[0]), bool(self._codec.begins(self._content, offset)[0])

    def _follow(self, start: int, part: FrameList) -> tuple[int, int]:
        """Adds the frame at ``start`` and those like it behind it. Returns the last one's offset and end."""
        last, end, intact = start, start, True
        while intact and len(part) < _MAX_FRAMES:
            self._budget.spend(0)
            self._load(end, 2 * self._codec.longest)
            is_rest = self._begin + len(self._data) >= self._size
            limit = len(self._data) - (0 if is_rest else _HEAD_BYTES)
            chain = self._codec.chain(self._data, end - self._begin, limit, _BLOCK)
            offsets = np.array(chain, np.int64)
            sizes, kinds = self._codec.headers(self._content, offsets)
            begins = self._codec.begins(self._content, offsets)
            offsets += self._begin
            good = (kinds == part.kind) & (~begins | (offsets == start))
            good &= (sizes > 0) & (offsets + sizes <= self._size)  # the last frame may be cut short
            intact = bool(len(good) and good.all())
            count = len(good) if intact else int(np.append(good, False).argmin())
            part.add(offsets[:count], sizes[:count])
            if count:
                last, end = int(offsets[count - 1]), int(offsets[count - 1] + sizes[count - 1])
        return last, end

    def _search(self, start: int, distance: int) -> int | None:
        """The first offset, less than ``distance`` after ``start``, from which frames follow one another."""
        mask, value = self._codec.sync
        reach = _CHAIN * self._codec.longest
        step, end = _FIRST_SEARCH, min(start + distance, self._size)
        while start < end:
            self._budget.spend(0)
            step = min(step, end - start)
            self._load(start, step + reach)
            begin = start - self._begin
            content = self._content[begin : begin + step + 1]
            candidates = np.flatnonzero((content[:-1] == 0xFF) & (content[1:] & mask == value)) + begin
            first = candidates
            kinds: Ints | None = None
            for _ in range(_CHAIN):
                inside = candidates < len(self._content) - 8
                candidates, first = candidates[inside], first[inside]
                sizes, these = self._codec.headers(self._content, candidates)
                good = sizes > 0
                if kinds is not None:
                    good &= these == kinds[inside]
                kinds, first = these[good], first[good]
                candidates = candidates[good] + sizes[good]
            if len(first):
                return int(first[0]) + self._begin
            start += step
            step = min(2 * step, _PIECE)
        return None

    def _after_ape(self, start: int, offset: int) -> int | None:
        """The offset after the APEv2 tags at ``offset``, or from ``start`` on: a frame may be cut short.

        None without one. Only what ends with a footer that says the same as its header is a tag: then it may
        be long, and frames inside it are of a picture or a file. No other size is believed.
        """
        after = None
        for _ in range(_MAX_TAGS):
            content = os.pread(self._descriptor, offset - start + _APE_BYTES, start)
            at = content.find(_APE, 0, offset - start + len(_APE))
            head = content[at : at + _APE_BYTES]
            if at < 0 or len(head) < _APE_BYTES:
                break
            end = start + at + _APE_BYTES + int.from_bytes(head[12:16], "little")
            foot = os.pread(self._descriptor, _APE_BYTES, end - _APE_BYTES)
            is_header = [bool(each[23] & 0x20) for each in (head, foot) if len(each) == _APE_BYTES]
            if is_header != [True, False] or foot[:16] != head[:16]:
                break
            after = start = offset = end
        return after

    def _load(self, offset: int, count: int) -> None:
        """Makes ``_data`` hold ``count`` bytes from ``offset`` on, or all up to the file's end."""
        end = min(offset + count, self._size)
        if self._begin <= offset and end <= self._begin + len(self._data):
            return
        self._data = os.pread(self._descriptor, max(count, self._piece), offset)
        self._piece = _PIECE  # the first is short: most files that are opened hold no frames
        self._begin = offset
        self._content = np.frombuffer(self._data, np.uint8)
