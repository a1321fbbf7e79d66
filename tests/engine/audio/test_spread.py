"""Where windows stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.spread import spread_over, spread_starts


@given(total=st.integers(1, 10**7), size=st.integers(1, 10**6), count=st.integers(1, 40))
def test_spread_starts_are_the_middles_of_equal_parts(total: int, size: int, count: int) -> None:
    starts = spread_starts(total, size, count)
    if total <= size:
        assert starts == [0]
        return
    assert len(starts) == count
    assert starts == sorted(starts)
    for i, start in enumerate(starts):
        centred = (2 * i + 1) * total / (2 * count) - size / 2
        assert start == pytest.approx(min(max(0, centred), total - size), abs=0.5)


@given(
    lengths=st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), min_size=1, max_size=9),
    size=st.integers(1, 10**6),
    count=st.integers(1, 40),
)
def test_windows_over_stretches(lengths: list[tuple[int, int]], size: int, count: int) -> None:
    """Each lies in one stretch, as long as it can be; each stretch has as many as is its share."""
    stretches, end = [], 0
    for silence, sound in lengths:
        stretches.append((end + silence, end + silence + sound))
        end += silence + sound
    windows = spread_over(stretches, size, count)
    assert len(windows) == count
    assert windows == sorted(windows)
    total, passed = sum(sound for _, sound in lengths), 0
    for first, end in stretches:
        inside = [window for window in windows if first <= window[0] and window[1] <= end]
        assert {stop - start for start, stop in inside} <= {min(size, end - first)}
        middles = [(2 * i + 1) * total / (2 * count) - passed for i in range(count)]
        share = sum(0 < middle <= end - first for middle in middles)
        assert len(inside) == share
        passed += end - first
