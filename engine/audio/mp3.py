"""The decoder of MP3: libsndfile (mpg123), from cuts around what is read."""

from __future__ import annotations

import os

import numpy as np
import soundfile

from ..arrays import Float32
from .channels import mono_from_two
from .decoder import Budget
from .libsndfile import SoundFileDecoder
from .mp3_frames import FrameIndex, index_from_mp3

_BLOCK = 1 << 20  # values decoded between two checks of the budget
_INDEXED_BYTES = 64 << 20  # a longer MP3 is not read into memory


class Mp3Decoder:
    """``Decoder`` of an MP3 that libsndfile opens.

    There libsndfile's seeks are slow, the samples after them can be wrong, and the length is a guess
    where no tag states it. ``mp3_frames`` replaces seeks and lengths.
    """

    def __init__(self, whole: SoundFileDecoder, descriptor: int, budget: Budget) -> None:
        self._whole, self._budget = whole, budget
        self.name, self.sample_rate, self.length = whole.name, whole.sample_rate, whole.length
        self._index = _index(descriptor) if hasattr(os, "memfd_create") else None
        # libsndfile guesses an MP3's length where no tag states it, and does not read beyond.
        if self._index and self._index.length:
            self.length = self._index.length
        self._end = self.length

    def read(self, start: int, count: int) -> Float32:
        cut = self._read_cut(start, min(count, self._end - start))
        return cut if len(cut) == count else max(cut, self._whole.read(start, count), key=len)

    def measure(self) -> int:
        self.length = 0
        while count := len(self.read(self.length, _BLOCK)):
            self.length += count
        return self.length

    def tags(self) -> dict[str, str]:
        return self._whole.tags()

    def close(self) -> None:
        self._whole.close()

    def _read_cut(self, start: int, count: int) -> Float32:
        """The samples of an MP3, decoded from a cut around them; empty where no cut can be made."""
        if self._index is None or count <= 0 or not (cut := self._index.cut(start, count)):
            return np.empty(0, np.float32)
        data, skip = cut
        # A file in memory, because libsndfile reads Python's file objects more slowly than it seeks.
        with os.fdopen(os.memfd_create("mer-mp3"), "w+b", buffering=0) as memory:
            memory.write(data)
            memory.seek(0)
            try:
                with _Stream(os.dup(memory.fileno()), closefd=True) as file:
                    return mono_from_two(self._read_blocks(file, skip + count)[skip:])
            except soundfile.LibsndfileError:
                return np.empty(0, np.float32)

    def _read_blocks(self, file: soundfile.SoundFile, count: int) -> Float32:
        """``[samples, channels]``, up to where the file ends or cannot be decoded."""
        parts = [np.empty((0, file.channels), np.float32)]
        step = _BLOCK // file.channels
        try:
            while count > 0:
                block = file.read(min(count, step), dtype="float32", always_2d=True)
                if not len(block):
                    break
                self._budget.spend(block.size)
                parts.append(np.asarray(block, np.float32))
                count -= len(block)
        except soundfile.LibsndfileError:
            pass
        return parts[1] if len(parts) == 2 else np.concatenate(parts)


class _Stream(soundfile.SoundFile):
    """A file that is read from its beginning. If it could seek, soundfile would do so after every read."""

    def seekable(self) -> bool:
        return False


def _index(descriptor: int) -> FrameIndex | None:
    if os.fstat(descriptor).st_size > _INDEXED_BYTES:
        return None
    parts, offset = [], 0
    while part := os.pread(descriptor, _INDEXED_BYTES, offset):  # pread leaves libsndfile's position alone
        parts.append(part)
        offset += len(part)
    return index_from_mp3(parts[0] if len(parts) == 1 else b"".join(parts))
