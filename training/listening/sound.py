"""A queued file as a browser plays it: its own bytes where browsers know them, else a WAV of its sound."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import soundfile

from ...engine.arrays import Float32
from ...engine.audio.decoder import Budget, Limits
from ...engine.audio.formats import open_regular_file
from ...engine.audio.open import open_decoder
from ...engine.errors import AudioError, UnreadableError
from ...engine.labelling.worker_pool import Failure, WorkerPool

_LONGEST_S = 900  # of a WAV: an emotion is heard sooner, and the disk for it is 80 MB
_BLOCK = 1 << 20  # samples
_MP3_FRAMES = tuple(b"\xff" + bytes([second]) for second in (0xFA, 0xFB, 0xF2, 0xF3, 0xE2, 0xE3))
_KEPT = 4  # WAVs: the song that plays, the next one, and what undo comes back to


@dataclass(frozen=True)
class Sound:
    """An open regular file, its size in bytes and its media type. Whoever gets it closes ``descriptor``."""

    descriptor: int
    size: int
    kind: str


class NotItsTurnError(AudioError):
    """Another song was asked for before this one's turn: by a listener who has skipped it, or another tab."""


class Sounds:
    """The sound of files by their number; a context manager, for several threads.

    Only what is audio leaves it: a file whose first bytes are no container that browsers play is decoded, in
    a child process, as everywhere in mer.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._pool: WorkerPool | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="listen-")
        self._decoded: dict[int, Path] = {}
        self._asked = -1  # the last song that was asked for
        self._failed: dict[int, str] = {}  # why, where no other try helps: pages try thrice

    def open(self, number: int, decoded: bool = False) -> Sound:
        """The file as it is, or its sound as a WAV: mono, 16 bits, at most its first 15 minutes.

        Args:
            decoded: the browser could not play the file's own bytes.

        Raises:
            AudioError: the file is gone, or nothing here can read it.
            NotItsTurnError: another was asked for before it was decoded.
        """
        path, self._asked = self._paths[number], number
        if not decoded:
            descriptor = open_regular_file(path)
            kind = _kind(os.pread(descriptor, 16, 0))
            if kind:
                return Sound(descriptor, os.fstat(descriptor).st_size, kind)
            os.close(descriptor)
        with self._lock:  # one at a time: the pool has one map
            descriptor = open_regular_file(self._wav(number, path))
        return Sound(descriptor, os.fstat(descriptor).st_size, "audio/wav")

    def _wav(self, number: int, path: str) -> Path:
        if number in self._failed:
            raise AudioError(self._failed[number])
        if number not in self._decoded:
            if number != self._asked:
                raise NotItsTurnError("another song was asked for meanwhile: reload the page to hear this")
            if self._pool is None:
                self._pool = WorkerPool(_write_wav, None, workers=1, seconds=Limits().seconds)
            target, began = Path(self._folder.name, f"{number}.wav"), time.monotonic()
            [(_, result)] = self._pool.map([(path, target)])
            if isinstance(result, Failure):
                target.unlink(missing_ok=True)
                # What took its time may be quicker when the machine is less busy.
                if not result.unreadable and time.monotonic() - began < Limits().seconds:
                    self._failed[number] = result.reason
                raise AudioError(result.reason)
            self._decoded[number] = target
            for old in list(self._decoded)[:-_KEPT]:
                self._decoded.pop(old).unlink(missing_ok=True)
        return self._decoded[number]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.close()
            with suppress(OSError):
                self._folder.cleanup()


def _write_wav(job: tuple[str, Path], _: None) -> None:
    path, target = job
    with (
        closing(open_decoder(path, Budget(Limits()))) as decoder,
        _writing(target, decoder.sample_rate) as write,
    ):
        position, end = 0, min(decoder.length, _LONGEST_S * decoder.sample_rate)
        while position < end and len(block := decoder.read(position, min(_BLOCK, end - position))):
            write(block)
            position += len(block)
        if not position:
            raise AudioError("damaged: nothing of its sound can be decoded")


@contextmanager
def _writing(target: Path, rate: int) -> Iterator[Callable[[Float32], None]]:
    """Opens a WAV; what is yielded adds samples. Errors of the block itself stay as they are."""
    try:
        file = soundfile.SoundFile(target, "w", rate, 1, "PCM_16", format="WAV")
    except (soundfile.LibsndfileError, OSError):
        raise _unwritable(target) from None

    def write(block: Float32) -> None:
        try:
            file.write(block)
        except (soundfile.LibsndfileError, OSError, AssertionError):  # the latter where a part was written
            raise _unwritable(target) from None

    try:
        yield write
    finally:
        try:
            file.close()
        except soundfile.LibsndfileError:
            raise _unwritable(target) from None


def _unwritable(target: Path) -> UnreadableError:
    return UnreadableError(f"its sound cannot be written to {target.parent}: is the disk full? (TMPDIR)")


def _kind(head: bytes) -> str:
    """The media type of what browsers play, by its first bytes; "" for all else."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[:3] == b"ID3" or head[:2] in _MP3_FRAMES:
        return "audio/mpeg"
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    return {b"fLaC": "audio/flac", b"OggS": "audio/ogg"}.get(head[:4], "")
