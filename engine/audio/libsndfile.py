"""libsndfile through soundfile: WAV, AIFF, FLAC, Ogg Vorbis, Opus and MP3."""

from __future__ import annotations

import os

import numpy as np
import soundfile

from ..arrays import Float32
from .decoder import TAGS, Budget, mono_from_channels
from .mp3_frames import FrameIndex, index_from_mp3

_BLOCK = 1 << 20  # values decoded between two looks at the budget; each read costs a seek too
_INDEXED_BYTES = 64 << 20  # an MP3 that is longer is not held in memory
_UNKNOWN_LENGTH = 1 << 53  # libsndfile says SF_COUNT_MAX where a header has no length


class SoundFileDecoder:
    """libsndfile: WAV, AIFF, FLAC, Ogg Vorbis, Opus, MP3; exact to the sample in all of them.

    In MP3 its seeks are slow and what follows them may be wrong, its lengths are guesses where no tag
    tells them: see ``mp3_frames``.
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
            # Without a tag that tells it libsndfile guesses an MP3's length, and reads no further.
            if self._index and self._index.length:
                self.length = self._index.length
            self._end = self.length
        except BaseException:
            self.close()
            raise

    def read(self, start: int, count: int) -> Float32:
        part = self._from_cut(start, min(count, self._end - start))
        if len(part) == count:
            return part
        samples, whole = self._blocks(self._file, start, count)
        if not whole:  # libsndfile's handle is of no use any more
            self._file.close()
            self._file = self._open()
        return max(part, samples, key=len)

    def _blocks(self, file: soundfile.SoundFile, start: int, count: int) -> tuple[Float32, bool]:
        """What could be read, and whether no error ended it.

        Damaged, or beyond the true end of a file whose header lies: what came before counts.
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
            whole = True
        except (soundfile.LibsndfileError, ValueError):  # of a negative count, where a seek went too far
            whole = False
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, np.float32)]), whole

    def _from_cut(self, start: int, count: int) -> Float32:
        """The same of an MP3's part around these samples; nothing where it has none."""
        if self._index is None or count <= 0 or not (cut := self._index.cut(start, count)):
            return np.empty(0, np.float32)
        data, skip = cut
        # A file in memory: libsndfile reads through Python's objects slower than it seeks.
        with os.fdopen(os.memfd_create("mer-mp3"), "w+b", buffering=0) as memory:
            memory.write(data)
            memory.seek(0)
            try:
                with _Stream(os.dup(memory.fileno()), closefd=True) as file:
                    return self._blocks(file, 0, skip + count)[0][skip:]
            except soundfile.LibsndfileError:
                return np.empty(0, np.float32)

    def measure(self) -> int:
        self.length = 0
        while got := len(self.read(self.length, _BLOCK)):
            self.length += got
        return self.length

    def tags(self) -> dict[str, str]:
        found = self._file.copy_metadata()
        return {name: found[name] for name in TAGS if found.get(name)}

    def close(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        os.close(self._descriptor)

    def _open(self) -> soundfile.SoundFile:
        # By descriptor: with a name, libsndfile would believe suffixes such as .vox or .raw.
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return soundfile.SoundFile(os.dup(self._descriptor), closefd=True)


class _Stream(soundfile.SoundFile):
    """Read from its beginning on: else soundfile seeks to where it is after every read."""

    def seekable(self) -> bool:
        return False


def _index(descriptor: int) -> FrameIndex | None:
    if os.fstat(descriptor).st_size > _INDEXED_BYTES:
        return None
    parts, at = [], 0
    while part := os.pread(descriptor, _INDEXED_BYTES, at):  # the place in the file is libsndfile's
        parts.append(part)
        at += len(part)
    return index_from_mp3(parts[0] if len(parts) == 1 else b"".join(parts))
