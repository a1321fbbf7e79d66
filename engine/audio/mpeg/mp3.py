"""The decoder of MP3: libsndfile (mpg123), from cuts around what is read."""

from __future__ import annotations

import io
import os

import numpy as np
import soundfile

from ...arrays import Float32
from ...signals import pass_on_from_handler
from ..channels import mono_from_two
from ..decoder import Budget, Decoder, length_by_reading
from ..joined import JoinedDecoder
from ..sound_handle import SoundHandle
from .mp3_frames import FrameIndex, mp3_from_file

_BLOCK = 1 << 20  # values decoded between two checks of the budget
# Before frames alone libsndfile looks in the working folder for ``._`` and ``.AppleDouble/`` (old servers
# for Macs make one in every folder), and takes the frames for SD2 where it finds one; not before a tag.
_TAG = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)
_LOUDEST = 8.0  # 18 dB above full scale
_MOST_BURSTS = 0.1  # of the frames; where there are more, the song is as loud as that


class Mp3Decoder:
    """``Decoder`` of one part of an MP3, exact to the sample.

    libsndfile reads cuts of whole frames behind a tag of our own (``mp3_frames``), so that no seek, no wrong
    tag and nothing between the frames can mislead it.

    Args:
        file: closed with the decoder. Decoders of other parts may share it.

    Raises:
        AudioError: a rate or a number of channels outside the limits.
    """

    name = f"libsndfile {soundfile.__libsndfile_version__}"

    def __init__(self, file: io.FileIO, index: FrameIndex, budget: Budget) -> None:
        budget.check_format(index.sample_rate, index.channels)
        self._file, self._index, self._budget = file, index, budget
        self.sample_rate, self.length = index.sample_rate, index.length

    def read(self, start: int, count: int) -> Float32:
        count = min(count, self._index.length - start)
        if count <= 0:
            return np.empty(0, np.float32)
        data, skip = self._index.cut(self._file.fileno(), start, count)
        sound = _without_bursts(self._decode(data, skip + count), self._index.frame_samples)
        return mono_from_two(sound[skip:])

    def measure(self) -> int:
        self.length = length_by_reading(self.read)
        return self.length

    def tags(self) -> dict[str, str]:
        return {}  # they stand around the frames, where audio/tags reads them

    def close(self) -> None:
        self._file.close()

    def _decode(self, data: bytes, count: int) -> Float32:
        """``[samples, channels]`` of a cut, up to where it cannot be decoded."""
        parts = [np.empty((0, self._index.channels), np.float32)]
        try:
            with _stream_of(data) as file:
                step = _BLOCK // file.channels
                while count > 0 and len(block := file.read(min(count, step), "float32", always_2d=True)):
                    self._budget.spend(block.size)
                    parts.append(np.asarray(block, np.float32))
                    count -= len(block)
        except soundfile.LibsndfileError:
            pass
        return parts[1] if len(parts) == 2 else np.concatenate(parts)


def mp3_decoder(file: io.FileIO, budget: Budget, junk: int = 0) -> Decoder | None:
    """The decoder of an MP3; None where the file's beginning is not one.

    Args:
        file: closed with the decoder.
        junk: so many bytes before the first frame are allowed, beside ID3 tags.

    Raises:
        AudioError: a rate outside the limits, or too much time.
    """
    parts = [Mp3Decoder(file, index, budget) for index in mp3_from_file(file.fileno(), budget, junk)]
    return JoinedDecoder(parts) if len(parts) > 1 else parts[0] if parts else None


def _without_bursts(sound: Float32, frame_samples: int) -> Float32:
    """Mutes the frames around samples far above full scale: a damaged frame can decode to any height."""
    if not sound.size or (sound.max() <= _LOUDEST and sound.min() >= -_LOUDEST):
        return sound
    peaks = np.maximum.reduceat(np.abs(sound).max(axis=1), np.arange(0, len(sound), frame_samples))
    bursts = ~(peaks <= _LOUDEST)  # so that NaN counts
    if bursts.mean() <= _MOST_BURSTS:
        bursts = np.convolve(bursts, [True] * 3, "same") > 0  # the frames overlap, and blocks are not frames
        sound[np.repeat(bursts, frame_samples)[: len(sound)]] = 0
    return sound


def _stream_of(data: bytes) -> SoundHandle:
    """Bytes as a file in memory: libsndfile reads Python's file objects more slowly than it seeks."""
    data = _TAG + data
    try:
        number = os.memfd_create("mer-mp3")
    except (AttributeError, OSError):  # another system's, or a sandbox refuses it
        return SoundHandle(io.BytesIO(data))
    with os.fdopen(number, "w+b", buffering=0) as memory:
        try:
            whole = memory.write(data) == len(data)
        except OSError as error:  # ``ulimit -f`` counts memory files too
            pass_on_from_handler(error)
            whole = False
        if not whole:
            return SoundHandle(io.BytesIO(data))
        memory.seek(0)
        return SoundHandle(os.dup(memory.fileno()))
