"""The decoder of WAV, AIFF, FLAC, Ogg Vorbis, Opus and MP3: libsndfile, through soundfile."""

from __future__ import annotations

import os

import numpy as np
import soundfile

from ..arrays import Float32
from .decoder import TAGS, Budget, mono_from_channels
from .mp3_frames import FrameIndex, index_from_mp3

_BLOCK = 1 << 20  # values decoded between two checks of the budget; every read costs a seek
_INDEXED_BYTES = 64 << 20  # a longer MP3 is not read into memory
_UNKNOWN_LENGTH = 1 << 53  # libsndfile reports SF_COUNT_MAX where a header has no length


class SoundFileDecoder:
    """``Decoder`` by libsndfile, exact to the sample in all of its formats.

    In MP3 libsndfile's seeks are slow, the samples after them can be wrong, and the length is a guess
    where no tag states it. There ``mp3_frames`` replaces seeks and lengths.

    Args:
        descriptor: of an open file; it is closed with the decoder, or when opening fails.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot open the file.
        AudioError: a rate, a number of channels or a size outside the limits.
    """

    name = f"libsndfile {soundfile.__libsndfile_version__}"

    def __init__(self, descriptor: int, budget: Budget) -> None:
        self._descriptor, self._budget = descriptor, budget
        self._index: FrameIndex | None = None
        self._end = 0
        try:
            self._file = self._open()
            budget.check_format(self._file.samplerate, self._file.channels)
            self.sample_rate = self._file.samplerate
            self.length = self._file.frames
            if not 0 < self.length < _UNKNOWN_LENGTH:
                self.length = self.measure()
            if self._file.format == "MP3" and hasattr(os, "memfd_create"):
                self._index = _index(descriptor)
            # libsndfile guesses an MP3's length where no tag states it, and does not read beyond.
            if self._index and self._index.length:
                self.length = self._index.length
            self._end = self.length
        except BaseException:
            self.close()
            raise

    def read(self, start: int, count: int) -> Float32:
        cut = self._read_cut(start, min(count, self._end - start))
        if len(cut) == count:
            return cut
        samples, intact = self._read_blocks(self._file, start, count)
        if not intact:  # libsndfile's handle cannot be used again
            self._file.close()
            self._file = self._open()
        return max(cut, samples, key=len)

    def _read_blocks(self, file: soundfile.SoundFile, start: int, count: int) -> tuple[Float32, bool]:
        """The samples that can be read, and False if an error ended them.

        An error is damage, or the true end of a file with a header that states more.
        """
        parts = []
        step = max(1, _BLOCK // file.channels)
        try:
            if file.tell() != start:
                file.seek(start)
            while count > 0:
                block = file.read(min(count, step), dtype="float32", always_2d=True)
                if not len(block):
                    break
                self._budget.spend(block.size)
                parts.append(mono_from_channels(np.asarray(block, np.float32)))
                count -= len(block)
            intact = True
        except (soundfile.LibsndfileError, ValueError):  # ValueError: a negative count after a seek too far
            intact = False
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, np.float32)]), intact

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
                    return self._read_blocks(file, 0, skip + count)[0][skip:]
            except soundfile.LibsndfileError:
                return np.empty(0, np.float32)

    def measure(self) -> int:
        self.length = 0
        while count := len(self.read(self.length, _BLOCK)):
            self.length += count
        return self.length

    def tags(self) -> dict[str, str]:
        tags = self._file.copy_metadata()
        return {name: tags[name] for name in TAGS if tags.get(name)}

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        os.close(self._descriptor)

    def _open(self) -> soundfile.SoundFile:
        # By descriptor: given a name, libsndfile trusts suffixes such as .vox or .raw.
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return soundfile.SoundFile(os.dup(self._descriptor), closefd=True)


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
