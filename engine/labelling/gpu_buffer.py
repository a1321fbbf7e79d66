"""Windows of several files on their way to the GPU, in memory from which it copies by itself."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from ..arrays import Float32, Int16
from .file_windows import FileSamples


@dataclass(eq=False)
class GpuBuffer:
    """Windows that are filled in, and then computed: int16 ``[batch, samples]``, float32 ``[batch]``.

    ``owners`` are keys of files with a number of windows, in order. ``logits`` are of the windows computed.
    """

    samples: Int16
    scales: Float32
    owners: list[tuple[Hashable, int]] = field(default_factory=list)
    filled: int = 0
    logits: list[Float32] = field(default_factory=list)

    @property
    def computed(self) -> int:
        """How many windows have logits."""
        return sum(map(len, self.logits))

    def fill(self, key: Hashable, file: FileSamples, start: int) -> int:
        """Copies a file's windows from ``start`` on, as many as there is room for; gives their number."""
        count = min(len(file.samples) - start, len(self.samples) - self.filled)
        rows = slice(self.filled, self.filled + count)
        self.samples[rows] = file.samples[start : start + count]
        self.scales[rows] = file.scales[start : start + count]
        self.owners.append((key, count))
        self.filled += count
        return count
