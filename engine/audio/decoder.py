"""The contract of every decoder: mono samples of an open file, within limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..arrays import Float32
from ..errors import AudioError, UnreadableError

TAGS = ("artist", "title", "album")
"""The tags that rows carry."""

SLACK_S = 0.1
"""A header may state so much more than the file has: the padding of its codec."""

_BLOCK = 1 << 20  # samples
_LEAST_RATE = 1_000  # Hz: nothing below it is music, and a lying header makes years of a few seconds
_SAMPLED_S = 0.1  # between two looks at the CPU time
_WAITING_S = 1.0  # between two looks: a longer time without CPU is that of a process that was stopped


class Decoder(Protocol):
    """An open file of ``length`` samples a channel at ``sample_rate`` Hz. Rows hold ``name``."""

    name: str
    sample_rate: int
    length: int

    def read(self, start: int, count: int) -> Float32:
        """Samples ``start`` to ``start + count``, mono as ``channels`` mixes them: float32 ``[samples]``.

        Returns fewer than ``count`` where the file ends.
        """
        ...

    def measure(self) -> int:
        """Decodes the whole file and returns its true length in samples: headers can be wrong."""
        ...

    def tags(self) -> dict[str, str]:
        """Those of ``TAGS`` that the decoder's library reads. Rows have them where audio/tags knows none."""
        ...

    def close(self) -> None: ...


def length_by_reading(read: Callable[[int, int], Float32]) -> int:
    """The samples that ``Decoder.read`` gives, from the first to where it gives none."""
    length = 0
    while count := len(read(length, _BLOCK)):
        length += count
    return length


@dataclass(frozen=True)
class Limits:
    """The most that one file may cost.

    ``decoded_samples`` counts all channels. ``seconds`` is wall time, without that in which the process is
    stopped (SIGSTOP, Ctrl-Z). ``private_hosts`` are the hosts of URLs that may have addresses of this machine
    or network: those that the user named, where lists name others; None: the host of every URL. A redirect
    may lead to one of these only. ``allow_private`` allows all.
    """

    decoded_samples: int = 4_000_000_000
    channels: int = 64
    sample_rate: int = 1_000_000
    seconds: float = 120.0
    private_hosts: frozenset[str] | None = None
    allow_private: bool = False


class Budget:
    """Counts what a file has cost against its ``Limits``: 0.36 MB of FLAC can hold 5.5 GB of samples.

    Attributes:
        lost: samples of one channel that were read as silence because they could not be decoded.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._decoded = self.lost = 0
        self._seconds = self._worked = 0.0  # that count and those of the CPU, up to the last look
        self._looked, self._cpu = time.monotonic(), time.process_time()

    def check_format(self, sample_rate: int, channels: int) -> None:
        """Checks the sample rate in Hz and the number of channels.

        Raises:
            AudioError: one of them is outside the limits.
        """
        if not _LEAST_RATE <= sample_rate <= self.limits.sample_rate:
            highest = self.limits.sample_rate
            raise AudioError(f"sample rate of {sample_rate} Hz is outside {_LEAST_RATE} to {highest}")
        if not 0 < channels <= self.limits.channels:
            raise AudioError(f"{channels} channels; at most {self.limits.channels} are read")

    def spend(self, samples: int, lost: bool = False) -> None:
        """Adds decoded samples of all channels, or those of one that are ``lost``, and checks the time.

        Raises:
            AudioError: too many samples, or too much time.
            UnreadableError: too much time, most of which was spent waiting, as for a disk.
        """
        self._decoded += samples
        self.lost += samples if lost else 0
        if self._decoded > self.limits.decoded_samples:
            raise AudioError(f"decodes to more than {self.limits.decoded_samples} samples (--max-decoded)")
        if self._spent_s() > self.limits.seconds:
            error = UnreadableError if self._worked < self._seconds / 2 else AudioError
            raise error(f"decoding took longer than {self.limits.seconds:g} s (--timeout)")

    def half_spent(self) -> bool:
        """Whether half of the samples or of the time is gone: what a label can do without stops then."""
        return self._decoded > self.limits.decoded_samples / 2 or self._spent_s() > self.limits.seconds / 2

    def _spent_s(self) -> float:
        now = time.monotonic()
        if now - self._looked < _SAMPLED_S:
            return self._seconds + now - self._looked
        cpu = time.process_time()
        self._seconds += min(now - self._looked, cpu - self._cpu + _WAITING_S)
        self._worked += cpu - self._cpu
        self._looked, self._cpu = now, cpu
        return self._seconds
