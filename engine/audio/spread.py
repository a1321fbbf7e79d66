"""Where windows stand: the middles of equal parts of a sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which comes with NumPy, and commands that read their options need none
    from .silence import Stretch

MOST_WINDOWS = 100_000
"""The most that may be asked for: each takes memory, also where a file is too short to have so many."""


def spread_starts(total: int, size: int, count: int) -> list[int]:
    """The starts of ``count`` windows: the middles of ``count`` equal parts of ``total``.

    ``total`` and the windows' ``size`` are in the same unit, samples or frames. All windows lie inside of
    ``total``, so starts can repeat where windows are longer than parts. ``[0]`` where ``total <= size``.
    """
    return [start for start, _ in spread_over([(0, total)], size, count)] if total > size else [0]


def spread_over(stretches: Sequence[Stretch], size: int, count: int) -> list[Stretch]:
    """The starts and ends of ``count`` windows: the middles of ``count`` equal parts of the stretches.

    All are in the same unit. Each window lies inside of its stretch, and is as long as that if it is shorter
    than ``size``. Windows can repeat.
    """
    total = sum(end - start for start, end in stretches)
    windows, passed = [], 0  # what lies before a stretch
    for start, end in stretches:
        while len(windows) < count:
            middle = (2 * len(windows) + 1) * total / (2 * count) - passed
            if middle > end - start:
                break
            first = min(max(start, round(start + middle - size / 2)), max(start, end - size))
            windows.append((first, min(first + size, end)))
        passed += end - start
    return windows
