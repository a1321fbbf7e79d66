"""Windows cut out of an open file, and what silence makes of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from ..arrays import Float32
from ..errors import AudioError
from ..spec import AudioSpec
from .decoder import SLACK_S, Budget, Decoder
from .full_scale import error_from_not_finite
from .silence import Stretch, ends_of_sound, error_from_silence, has_pause, is_silence, loud_in, sound_in
from .spread import spread_over, spread_starts

_LOUDEST = 100.0  # 40 dB above full scale: samples in other units, of which a network says anything
_PAUSE, _PAUSE_S = 0.2, 1.0  # of a window, and at least so long: a silence that is no part of the music
_SHORTEST_TAIL = 0.1  # of a window: from so much sound at the end on there is one more window
# An offset is not heard, but counts in the lowest mel and in the power. All parts of a window have it, and
# it is more than this share of the level.
_PARTS, _OFFSET = 8, 0.02


@dataclass(frozen=True)
class Window:
    """``samples`` is float32 ``[spec.window_samples]`` and begins ``start_s`` seconds into the file.

    ``pauses`` says whether more than a fifth of it on end is silence. A ``silent`` one has no vote: all of it
    is silence, or all but a click. ``resample_s`` is the CPU time of resampling, in seconds.
    """

    samples: Float32
    start_s: float
    pauses: bool
    silent: bool
    resample_s: float = 0.0


class WindowReader:
    """Cuts windows out of an open file, and keeps the samples that the next window may share.

    All starts are in samples at the spec's rate.
    """

    def __init__(self, decoder: Decoder, spec: AudioSpec, budget: Budget | None) -> None:
        self.decoder, self.spec, self._budget = decoder, spec, budget
        common = math.gcd(decoder.sample_rate, spec.sample_rate)
        # A step: _up samples at the spec's rate last exactly as long as _down samples of the file.
        self._up, self._down = spec.sample_rate // common, decoder.sample_rate // common
        # In steps: the sound on each side of a window that soxr's filter needs. Beyond 100 ms nothing changes
        # in float32.
        margin = math.ceil(decoder.sample_rate / 10 / self._down)
        self._margin = 0 if self._up == self._down else margin
        self._kept, self._kept_start = np.empty(0, np.float32), 0  # in samples of the file
        self.end = decoder.length  # of what could be decoded, where ``window`` gave None
        self.level = 0.0  # the highest of all that was read
        self.not_finite: set[int] = set()  # the starts of windows that are not made of numbers
        self.searched_s: float | None = None  # where the budget ended a search for sound

    def from_file(self, samples: int) -> int:
        """A place in samples of the file as one at the spec's rate."""
        return samples * self._up // self._down

    def total(self) -> int:
        """The length of the file in samples at the spec's rate."""
        return self._enough(self.from_file(self.decoder.length))

    def spread(self, count: int) -> list[int]:
        """The starts of ``count`` evenly spread windows."""
        total, size = self.total(), self.spec.window_samples
        starts = spread_starts(total, size, count)
        return sorted({self._aligned(start, max(0, total - size)) for start in starts})

    def every(self, hop_s: float) -> Sequence[int]:
        """The starts of a window every ``hop_s`` seconds, and of one that ends with the file.

        Neighbours are equal where ``hop_s`` is shorter than the steps in which starts are rounded.
        """
        total, size = self.total(), self.spec.window_samples
        last = max(0, total - size)
        hop = max(1, round(hop_s * self.spec.sample_rate))
        count = last // hop + 1
        if total - (self._aligned((count - 1) * hop, last) + size) >= _SHORTEST_TAIL * size:
            count += 1
        return _Starts(count, lambda number: self._aligned(min(number * hop, last), last))

    def window(self, start: int, end: int | None = None, trim: bool = False) -> Window | None:
        """The window at ``start``, or its sound up to ``end``, filled up.

        None if the file ends, or cannot be decoded, inside it, before the length that it states, or if some
        of its samples are not finite.

        Args:
            trim: leaves out a long silence at its beginning and end. What has less than a tenth of a window
                left is silent, and what has less than one STFT window of sound in it.
        """
        spec = self.spec
        size = spec.window_samples if end is None else min(spec.window_samples, end - start)
        step = start // self._up
        first = max(0, step - self._margin)
        steps = math.ceil(size / self._up) + self._margin
        count = min((step + steps - first) * self._down, self.decoder.length - first * self._down)
        samples = self._read(first * self._down, count)
        if len(samples) < count:
            self.end = first * self._down + len(samples)
            needed = min(size * self._down // self._up, self.decoder.length - step * self._down)
            if step * self._down + needed - self.end > SLACK_S * self.decoder.sample_rate:
                return None
        began = time.thread_time()
        if self._up != self._down:
            samples = soxr.resample(samples, self.decoder.sample_rate, spec.sample_rate, quality="HQ")
        resample_s = time.thread_time() - began
        skip = (step - first) * self._up
        samples = samples[skip : skip + size]
        if not np.isfinite(samples).all():
            self.not_finite.add(start)
            return None
        return self._window(samples, start, trim, resample_s) if len(samples) else None

    def error_without_windows(self) -> AudioError:
        """Why a file has no window."""
        if self.not_finite:
            return error_from_not_finite()
        return AudioError("damaged: no window of its sound can be decoded whole")

    def sounding(self, count: int, read: Sequence[Window] = ()) -> Sequence[Window]:
        """The middles of ``count`` equal parts of what sounds; those that were ``read``, where none is found.

        What was read is not read again. Where sound cannot be searched or read, a file that has a label
        without it keeps that. What was not searched counts as sound, unless a window in it is silent.

        Raises:
            SilentError: all that sounds is shorter than one STFT window.
            AudioError: it is, and most of what was searched could not be decoded.
        """
        length_s = self.decoder.length / self.decoder.sample_rate
        sound = sound_in(self.decoder, _pause(min(length_s, self.spec.window_s)), self._budget)
        self.level = max(self.level, sound.level)
        if sound.searched < self.decoder.length and self._budget and self._budget.half_spent():
            self.searched_s = sound.searched / self.decoder.sample_rate
        if self.from_file(sound.loud) < self.spec.n_fft:
            if self.not_finite or sound.lost > sound.searched / 2:
                raise self.error_without_windows()
            raise error_from_silence(self.level)
        found = [
            (first, min(end, sound.searched)) for first, end in sound.stretches if first < sound.searched
        ]
        try:
            windows = self._windows_in(sound.stretches, count, read)
            if found and sound.searched < self.decoder.length and any(window.silent for window in windows):
                windows = self._windows_in(found, count, read)
        except AudioError:
            if all(window.silent for window in read):
                raise
            return read
        return windows if any(not window.silent for window in windows) else read

    def _windows_in(
        self, stretches: Sequence[Stretch], count: int, read: Sequence[Window]
    ) -> Sequence[Window]:
        """The middles of ``count`` equal parts of these stretches; what was ``read`` is not read again."""
        total, size = self.total(), self.spec.window_samples
        ours = [
            (self.from_file(first), min(-(-end * self._up // self._down), total)) for first, end in stretches
        ]
        whole = {round(window.start_s * self.spec.sample_rate): window for window in read}
        places = sorted({(self._aligned(start), end) for start, end in spread_over(ours, size, count)})
        return [
            window
            for start, end in places
            if (window := (end - start >= size and whole.get(start)) or self.window(start, end))
        ]

    def _read(self, start: int, count: int) -> Float32:
        """Samples of the file, at its own rate. Those of the last call are not decoded again."""
        kept = np.empty(0, np.float32)
        if self._kept_start <= start < self._kept_start + len(self._kept):
            kept = self._kept[start - self._kept_start :][:count]
        new = self.decoder.read(start + len(kept), count - len(kept)) if len(kept) < count else kept[:0]
        self._kept, self._kept_start = np.concatenate([kept, new]) if len(kept) else new, start
        return self._kept

    def _enough(self, samples: int) -> int:
        rate, shortest = self.spec.sample_rate, self.spec.n_fft
        if samples < shortest:
            seconds = f"{samples / rate:.3f} s of sound"
            raise AudioError(f"too short: {seconds}, at least {shortest / rate:.3f} s are needed")
        return samples

    def _aligned(self, start: int, last: int | None = None) -> int:
        """The nearest sample that is one at both rates, at most ``last``.

        Not the one before: lengths differ by a few samples from container to container, and starts are often
        whole steps, which would then be a step earlier.
        """
        step = (start + self._up // 2) // self._up
        return (step if last is None else min(step, last // self._up)) * self._up

    def _window(self, samples: Float32, start: int, trim: bool, resample_s: float) -> Window:
        rate = self.spec.sample_rate
        highest, lowest = float(samples.max()), float(samples.min())
        if (peak := max(highest, -lowest)) > _LOUDEST:
            raise AudioError(
                f"holds samples far beyond full scale (a peak of {peak:,.6g} where 1 is full scale): "
                "divide them by the largest value of their unit, such as 32,768"
            )
        level = (highest - lowest) / 2
        self.level = max(self.level, level)
        silent, pause_s = is_silence(level), _pause(len(samples) / rate)
        pauses = silent or has_pause(samples, rate, pause_s)
        if trim and pauses and not silent:
            first, end = ends_of_sound(samples, rate)
            silent = end - first < _SHORTEST_TAIL * self.spec.window_samples
            silent = silent or loud_in(samples, rate) < self.spec.n_fft
            if end > first and len(samples) - (end - first) > pause_s * rate:
                samples = samples[first:end]
        means = [part.mean() for part in np.array_split(samples, min(_PARTS, len(samples)))]
        if max(min(means), -max(means)) > _OFFSET * level:
            samples = samples - samples.mean()
        return Window(self._filled(samples), start / rate, pauses, silent, resample_s)

    def _filled(self, samples: Float32) -> Float32:
        missing = self.spec.window_samples - len(samples)
        if missing <= 0:
            return samples
        if self.spec.short_audio == "repeat" and len(samples) >= self.spec.n_fft:
            return np.resize(samples, self.spec.window_samples)
        return np.pad(samples, (0, missing))


class _Starts(Sequence[int]):
    """Starts that are computed when they are asked for: a small header can state billions of them."""

    def __init__(self, count: int, start: Callable[[int], int]) -> None:
        self._count, self._start = count, start

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < self._count:
            raise IndexError(number)
        return self._start(number)


def _pause(window_s: float) -> float:
    return max(_PAUSE_S, _PAUSE * window_s)
