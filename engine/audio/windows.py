"""A file's windows at the spec's sample rate. Only the sound that the windows need is decoded."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soxr

from ..arrays import Float32
from ..errors import AudioError
from ..spec import AudioSpec
from .decoder import Decoder

WindowCount = int | Literal["all"]

_SILENCE = 1e-5  # -100 dB of full scale, less than one step of 16 bits
_SHORTEST_TAIL = 0.1  # of a window: from so much sound at the end on there is one more window
_SLACK_S = 0.1  # a header may state this much more than the file has (an MP3's padding)


@dataclass(frozen=True)
class Window:
    """``samples`` is float32 ``[spec.window_samples]`` and begins ``start_s`` seconds into the file.

    ``resample_s`` is the CPU time of resampling, in seconds.
    """

    samples: Float32
    start_s: float
    resample_s: float = 0.0


def spread_starts(total: int, size: int, count: int) -> list[int]:
    """The starts of ``count`` windows: the middles of ``count`` equal parts of ``total``.

    ``total`` and the windows' ``size`` are in the same unit, samples or frames. All windows lie inside of
    ``total``, so starts can repeat where windows are longer than parts. ``[0]`` where ``total <= size``.
    """
    if total <= size:
        return [0]
    middles = ((2 * i + 1) * total / (2 * count) for i in range(count))
    return [min(max(0, round(middle - size / 2)), total - size) for middle in middles]


def windows_from_decoder(
    decoder: Decoder, spec: AudioSpec, windows: WindowCount = 3, hop_s: float | None = None
) -> Iterator[Window]:
    """Yields an open file's windows in order, mono, resampled to ``spec.sample_rate`` by soxr.

    ``windows=N`` gives the middles of N equal parts of the file (0, 10 and 20 s for three of 10 s
    in 30 s). ``"all"`` gives one every ``hop_s`` seconds (default: a window's length), and one more at the
    end of the file where a tenth of a window or more would be left out. A file no longer than
    a window gives one, filled up as ``spec.short_audio`` says. Starts are rounded down to a sample
    that exists at both rates: by 10 ms at most from 44.1 or 48 kHz to 16 kHz. Where a header
    states more than the file has, ``decoder.length`` is corrected by the last window.

    Raises:
        AudioError: shorter than one STFT window, samples that are not finite, or, after the
            last window, silence in all of them.
    """
    reader = _Reader(decoder, spec)
    loudest = 0.0
    for window in _all(reader, hop_s or spec.window_s) if windows == "all" else _spread(reader, windows):
        peak = float(np.abs(window.samples).max())
        if not math.isfinite(peak):
            raise AudioError("holds samples that are not finite (NaN or infinite)")
        loudest = max(loudest, peak)
        yield window
    if loudest < _SILENCE:
        raise AudioError("is silent: no sample above -100 dB of full scale")


def samples_from_decoder(decoder: Decoder, spec: AudioSpec) -> Float32:
    """All of an open file, mono: float32 ``[samples]`` at ``spec.sample_rate``. For clips, not for songs."""
    samples = decoder.read(0, decoder.length)
    if decoder.sample_rate != spec.sample_rate:
        samples = soxr.resample(samples, decoder.sample_rate, spec.sample_rate, quality="HQ")
    return samples


def _spread(reader: _Reader, count: int) -> Iterator[Window]:
    starts = reader.spread(count)
    # The last window is read first: if it is missing, the header's length is wrong, and so are all starts.
    last = reader.window(starts[-1])
    if last is None:
        reader.decoder.measure()
        starts = reader.spread(count)
        last = reader.window(starts[-1])
    for start in starts[:-1]:
        window = reader.window(start)
        if window is None:
            raise AudioError("damaged: its sound breaks off in the middle")
        yield window
    if last is None:
        raise AudioError("damaged: its sound breaks off before its end")
    yield last


def _all(reader: _Reader, hop_s: float) -> Iterator[Window]:
    starts = reader.every(hop_s)
    previous = -1
    while later := [start for start in starts if start > previous]:
        window = reader.window(later[0])
        if window is None:
            if reader.end >= reader.decoder.length:
                raise AudioError("damaged: its sound breaks off before its end")
            reader.decoder.length = reader.end
            starts = reader.every(hop_s)
            continue
        previous = later[0]
        yield window


class _Reader:
    """Cuts windows out of an open file, and keeps the samples that the next window may share.

    All starts are in samples at the spec's rate.
    """

    def __init__(self, decoder: Decoder, spec: AudioSpec) -> None:
        self.decoder, self.spec = decoder, spec
        common = math.gcd(decoder.sample_rate, spec.sample_rate)
        # A step: _up samples at the spec's rate last exactly as long as _down samples of the file.
        self._up, self._down = spec.sample_rate // common, decoder.sample_rate // common
        # In steps: the sound on each side of a window that soxr's filter needs. Beyond 100 ms nothing changes
        # in float32.
        margin = math.ceil(decoder.sample_rate / 10 / self._down)
        self._margin = 0 if self._up == self._down else margin
        self._kept, self._kept_start = np.empty(0, np.float32), 0  # in samples of the file
        self.end = decoder.length

    def total(self) -> int:
        """The length of the file in samples at the spec's rate."""
        total = self.decoder.length * self._up // self._down
        if total < self.spec.n_fft:
            seconds = self.decoder.length / self.decoder.sample_rate
            shortest = self.spec.n_fft / self.spec.sample_rate
            raise AudioError(f"too short: {seconds:.3f} s of sound, at least {shortest:.3f} s are needed")
        return total

    def spread(self, count: int) -> list[int]:
        """The starts of ``count`` evenly spread windows."""
        starts = spread_starts(self.total(), self.spec.window_samples, count)
        return sorted({self._aligned(start) for start in starts})

    def every(self, hop_s: float) -> list[int]:
        """The starts of a window every ``hop_s`` seconds, and of one that ends with the file."""
        total, size = self.total(), self.spec.window_samples
        if total <= size:
            return [0]
        hop = max(1, round(hop_s * self.spec.sample_rate))
        starts = [self._aligned(start) for start in range(0, total - size + 1, hop)]
        if total - (starts[-1] + size) >= _SHORTEST_TAIL * size:
            starts.append(self._aligned(total - size))
        return sorted(set(starts))

    def window(self, start: int) -> Window | None:
        """The window at ``start``; None if the file ends inside it, before the length that it states."""
        spec = self.spec
        step = start // self._up
        first = max(0, step - self._margin)
        steps = math.ceil(spec.window_samples / self._up) + self._margin
        count = min((step + steps - first) * self._down, self.decoder.length - first * self._down)
        samples = self._read(first * self._down, count)
        if len(samples) < count:
            self.end = first * self._down + len(samples)
            size = min(spec.window_samples * self._down // self._up, self.decoder.length - step * self._down)
            if step * self._down + size - self.end > _SLACK_S * self.decoder.sample_rate:
                return None
        began = time.thread_time()
        if self._up != self._down:
            samples = soxr.resample(samples, self.decoder.sample_rate, spec.sample_rate, quality="HQ")
        resample_s = time.thread_time() - began
        skip = (step - first) * self._up
        samples = samples[skip : skip + spec.window_samples]
        return Window(self._filled(samples), start / spec.sample_rate, resample_s)

    def _read(self, start: int, count: int) -> Float32:
        """Samples of the file, at its own rate. Those of the last call are not decoded again."""
        kept = np.empty(0, np.float32)
        if self._kept_start <= start < self._kept_start + len(self._kept):
            kept = self._kept[start - self._kept_start :][:count]
        new = self.decoder.read(start + len(kept), count - len(kept)) if len(kept) < count else kept[:0]
        self._kept, self._kept_start = np.concatenate([kept, new]) if len(kept) else new, start
        return self._kept

    def _aligned(self, start: int) -> int:
        return start // self._up * self._up

    def _filled(self, samples: Float32) -> Float32:
        missing = self.spec.window_samples - len(samples)
        if missing <= 0:
            return samples
        if self.spec.short_audio == "repeat" and len(samples) >= self.spec.n_fft:
            return np.resize(samples, self.spec.window_samples)
        return np.pad(samples, (0, missing))
