"""The contract of every decoder: mono samples of an open file, within limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..arrays import Float32
from ..errors import AudioError

TAGS = ("artist", "title", "album")
"""The tags that rows carry."""

_BLOCK = 1 << 20  # samples


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
    """The most that one file may cost. ``decoded_samples`` counts all channels; ``seconds`` is wall time."""

    decoded_samples: int = 4_000_000_000
    channels: int = 64
    sample_rate: int = 1_000_000
    seconds: float = 120.0


class Budget:
    """Counts what a file has cost against its ``Limits``: 0.36 MB of FLAC can hold 5.5 GB of samples."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._decoded = 0
        self._began = time.monotonic()

    def check_format(self, sample_rate: int, channels: int) -> None:
        """Checks the sample rate in Hz and the number of channels.

        Raises:
            AudioError: one of them is outside the limits.
        """
        if not 0 < sample_rate <= self.limits.sample_rate:
            raise AudioError(f"sample rate of {sample_rate} Hz is outside 1 to {self.limits.sample_rate}")
        if not 0 < channels <= self.limits.channels:
            raise AudioError(f"{channels} channels; at most {self.limits.channels} are read")

    def spend(self, samples: int) -> None:
        """Adds decoded samples of all channels, and checks the time.

        Raises:
            AudioError: too many samples, or too much time.
        """
        self._decoded += samples
        if self._decoded > self.limits.decoded_samples:
            raise AudioError(f"decodes to more than {self.limits.decoded_samples} samples")
        if time.monotonic() - self._began > self.limits.seconds:
            raise AudioError(f"decoding took longer than {self.limits.seconds:g} s")

    def half_spent(self) -> bool:
        """Whether half of the samples or of the time is gone: what a label can do without stops then."""
        return (
            self._decoded > self.limits.decoded_samples / 2
            or time.monotonic() - self._began > self.limits.seconds / 2
        )
