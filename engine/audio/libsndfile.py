"""The decoder of WAV, AIFF, FLAC, Ogg Vorbis and Opus: libsndfile, through soundfile."""

from __future__ import annotations

import os

import numpy as np
import soundfile

from ..arrays import Float32
from .decoder import TAGS, Budget, mono_from_channels

_BLOCK = 1 << 20  # values decoded between two checks of the budget; every read costs a seek
_UNKNOWN_LENGTH = 1 << 53  # libsndfile reports SF_COUNT_MAX where a header has no length


class SoundFileDecoder:
    """``Decoder`` by libsndfile, exact to the sample in all of its formats.

    In MP3 libsndfile's seeks are slow, the samples after them can be wrong, and the length is a guess
    where no tag states it: there ``mp3`` takes its place.

    Args:
        descriptor: of an open file; it is closed with the decoder, or when opening fails.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot open the file.
        AudioError: a rate, a number of channels or a size outside the limits.
    """

    name = f"libsndfile {soundfile.__libsndfile_version__}"

    def __init__(self, descriptor: int, budget: Budget) -> None:
        self._descriptor, self._budget = descriptor, budget
        try:
            self._file = self._open()
            budget.check_format(self._file.samplerate, self._file.channels)
            self.sample_rate = self._file.samplerate
            self.length = self._file.frames
            if not 0 < self.length < _UNKNOWN_LENGTH:
                self.length = self.measure()
        except BaseException:
            self.close()
            raise

    def read(self, start: int, count: int) -> Float32:
        samples, intact = self._read_blocks(self._file, start, count)
        if not intact:  # libsndfile's handle cannot be used again
            self._file.close()
            self._file = self._open()
        return samples

    def _read_blocks(self, file: soundfile.SoundFile, start: int, count: int) -> tuple[Float32, bool]:
        """The samples that can be read, and False if an error ended them.

        An error is damage, or the true end of a file with a header that states more.
        """
        parts = []
        step = max(1, _BLOCK // file.channels)
        try:
            if file.tell() != start:
                if (
                    file.subtype == "VORBIS"
                ):  # after a small step forward libsndfile is up to 896 samples late
                    file.seek(0)
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

    def measure(self) -> int:
        self.length = 0
        while count := len(self.read(self.length, _BLOCK)):
            self.length += count
        return self.length

    @property
    def is_mp3(self) -> bool:
        return self._file.format == "MP3"

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
