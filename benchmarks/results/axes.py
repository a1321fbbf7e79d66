"""Values to pixels: the axes of the page's charts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

WIDTH = 860
"""Of every chart, in pixels."""


@dataclass(frozen=True)
class Scale:
    """A value's place in pixels: ``low`` is at ``begin``, ``high`` at ``end``, which may be smaller."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, place = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(self.begin + (self.end - self.begin) * (place - low) / (high - low), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """(pixel, text) of round values: 1, 2 and 5 in every decade, or about five equal steps."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [m * 10.0**d for d in decades for m in (1, 2, 5) if self.low <= m * 10.0**d <= self.high]
            if len(values) > 9:
                values = [v for v in values if f"{v:e}"[0] == "1"]
        else:
            step = _round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            values = [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(self(value), f"{value:,.10g}") for value in values]


def log_scale(values: Iterable[float], begin: float, end: float, margin: float) -> Scale:
    """A logarithmic axis that holds all values, which are above 0, with a factor of ``margin`` on both sides.

    The margin is larger where the values are close together, so that every axis has ticks.
    """
    known = list(values)
    margin = max(margin, (5 * min(known) / max(known)) ** 0.5)
    return Scale(min(known) / margin, max(known) * margin, begin, end, log=True)


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(m * size for m in (1, 2, 5, 10) if m * size >= step * 0.999)
