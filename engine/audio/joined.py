"""The decoder of sounds that follow one another in one file, each with a sample rate of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import soxr

from ..arrays import Float32
from .decoder import SLACK_S, Decoder

_MARGIN_S = 0.1  # on each side of what is resampled; beyond it nothing changes in float32


class JoinedDecoder:
    """``Decoder`` of parts one after the other, at the highest of their sample rates.

    Args:
        parts: one or more.
    """

    def __init__(self, parts: Sequence[Decoder]) -> None:
        self._parts = parts
        self.name = parts[0].name
        self.sample_rate = max(part.sample_rate for part in parts)
        self._place_parts()

    def read(self, start: int, count: int) -> Float32:
        count = min(count, self._starts[-1] - start)
        if count <= 0:
            return np.empty(0, np.float32)
        blocks, read = [], 0
        part = int(np.searchsorted(self._starts, start, "right")) - 1
        while read < count:
            inside = start + read - self._starts[part]
            size = min(count - read, self._lengths[part] - inside)
            block = self._read_part(part, inside, size)
            part += 1
            missing = size - len(block)
            if part < len(self._parts) and 0 < missing <= SLACK_S * self.sample_rate:
                block = np.append(block, np.zeros(missing, np.float32))
            blocks.append(block)
            read += len(block)
            if len(block) < size:
                break
        return np.concatenate(blocks)

    def measure(self) -> int:
        # What is missing in another part is a hole: only the last one that has sound ends the file early.
        for part in reversed(self._parts):
            if part.measure():
                break
        self._place_parts()
        return self.length

    def tags(self) -> dict[str, str]:
        return self._parts[0].tags()

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def _place_parts(self) -> None:
        rate = self.sample_rate
        self._lengths = [math.ceil(part.length * rate / part.sample_rate) for part in self._parts]
        self._starts = [0, *accumulate(self._lengths)]
        self.length = self._starts[-1]

    def _read_part(self, number: int, start: int, count: int) -> Float32:
        """Samples of one part, both at the highest rate."""
        part = self._parts[number]
        if part.sample_rate == self.sample_rate:
            return part.read(start, count)
        common = math.gcd(part.sample_rate, self.sample_rate)
        # A step: up samples at the highest rate last exactly as long as down samples of the part.
        up, down = self.sample_rate // common, part.sample_rate // common
        margin = math.ceil(_MARGIN_S * part.sample_rate / down)
        first = max(0, start // up - margin)
        last = -(-(start + count) // up) + margin
        samples = part.read(first * down, min((last - first) * down, part.length - first * down))
        if not len(samples):
            return samples
        samples = soxr.resample(samples, part.sample_rate, self.sample_rate, quality="HQ")
        skip = start - first * up
        samples = samples[skip : skip + count]
        # The length was rounded up.
        is_end = start + count == self._lengths[number] and len(samples) == count - 1
        return np.append(samples, np.float32(0)) if is_end else samples
