"""A local audio file as mono samples, by libsndfile or, for what it cannot open, by FFmpeg.

Both read from any sample on, decode no more than asked for, and count what they decode against
``Limits``: 0.36 MB of FLAC can hold 5.5 GB of samples.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from .errors import AudioError
from .mp3 import FrameIndex, index_from_mp3

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What one file may cost. ``decoded_samples`` counts every channel."""

    decoded_samples: int = 4_000_000_000
    channels: int = 64
    sample_rate: int = 1_000_000
    seconds: float = 120.0


TAGS = ("artist", "title", "album")


class Decoder(Protocol):
    """An open file: ``length`` samples a channel at ``sample_rate``; ``name`` goes into its row."""

    name: str
    sample_rate: int
    length: int

    def read(self, start: int, count: int) -> Float32:
        """Samples ``start`` to ``start + count``, the channels' mean; fewer where the file ends."""
        ...

    def measure(self) -> int:
        """The true length in samples, by decoding the whole file: for headers that lie."""
        ...

    def tags(self) -> dict[str, str]:
        """Those of ``TAGS`` that the file holds, as they are."""
        ...

    def close(self) -> None: ...


def open_decoder(path: str | Path, limits: Limits) -> Decoder:
    """Opens a regular local file, choosing the decoder by its content, never by its suffix.

    Raises:
        AudioError: not there, not a regular file, empty, without sound, or in no known format.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise AudioError("no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        os.close(descriptor)
        raise AudioError("the file is empty" if stat.S_ISREG(status.st_mode) else "not a regular file")
    budget = _Budget(limits)
    try:
        return _SoundFileDecoder(descriptor, budget)
    except soundfile.LibsndfileError:
        return _ffmpeg_decoder(path, budget)


class _Budget:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._decoded = 0
        self._deadline = time.monotonic() + limits.seconds

    def check_format(self, sample_rate: int, channels: int) -> None:
        if not 0 < sample_rate <= self.limits.sample_rate:
            raise AudioError(f"sample rate of {sample_rate} Hz is outside 1 to {self.limits.sample_rate}")
        if not 0 < channels <= self.limits.channels:
            raise AudioError(f"{channels} channels; at most {self.limits.channels} are read")

    def spend(self, samples: int) -> None:
        self._decoded += samples
        if self._decoded > self.limits.decoded_samples:
            raise AudioError(f"decodes to more than {self.limits.decoded_samples} samples")
        if time.monotonic() > self._deadline:
            raise AudioError(f"decoding took longer than {self.limits.seconds:g} s")


_BLOCK = 1 << 20  # values decoded between two looks at the budget; each read costs a seek too
_INDEXED_BYTES = 64 << 20  # an MP3 that is longer is not held in memory
_UNKNOWN_LENGTH = 1 << 53  # libsndfile says SF_COUNT_MAX where a header has no length


class _SoundFileDecoder:
    """libsndfile: WAV, AIFF, FLAC, Ogg Vorbis, Opus, MP3; exact to the sample in all of them.

    In MP3 its seeks are slow and what follows them may be wrong, its lengths are guesses where no tag
    tells them: see ``mp3``.
    """

    name = f"libsndfile {soundfile.__libsndfile_version__}"

    def __init__(self, descriptor: int, budget: _Budget) -> None:
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


def mono_from_channels(block: Float32) -> Float32:
    """``[samples, channels]`` to their mean ``[samples]``, float32."""
    if block.shape[1] == 1:
        return block[:, 0]
    # A sum of columns is several times faster than mean(axis=1) over two or six of them.
    total = block[:, 0] + block[:, 1]
    for channel in range(2, block.shape[1]):
        total += block[:, channel]
    total *= np.float32(1 / block.shape[1])
    return total


def _index(descriptor: int) -> FrameIndex | None:
    if os.fstat(descriptor).st_size > _INDEXED_BYTES:
        return None
    parts, at = [], 0
    while part := os.pread(descriptor, _INDEXED_BYTES, at):  # the place in the file is libsndfile's
        parts.append(part)
        at += len(part)
    return index_from_mp3(parts[0] if len(parts) == 1 else b"".join(parts))


def _ffmpeg_decoder(path: str | Path, budget: _Budget) -> Decoder:
    from .ffmpeg import FFmpegDecoder  # FFmpeg's libraries load only when a file needs them

    return FFmpegDecoder(path, budget)
