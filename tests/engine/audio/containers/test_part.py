"""Parts of files: never outside of them, never beyond the limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.containers.part import Effort, Exhausted, Part, part_of_file

places = st.integers(-20, 20) | st.sampled_from([1 << 31, 1 << 63, 1 << 70])


@given(places, places, places, places)
def test_a_part_stays_inside(start: int, length: int, position: int, count: int) -> None:
    data = bytes(range(16))
    part = Part(data, 4, 8, Effort()).part(start, length)
    inside = data[4:12][max(0, start) :][: max(0, length)]
    assert part.length == len(inside)
    assert part.read(position, count) == (inside[position:][: max(0, count)] if position >= 0 else b"")


def test_parts_and_copies_share_what_their_file_may_cost(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    with (tmp_path / "a").open("rb") as file:
        whole = part_of_file(file.fileno())
        assert whole.length == 100
        inner = whole.part(10).with_bytes(bytes(9 << 20)).part(5)
        assert len(inner.read(0, 8 << 20)) == 8 << 20
        assert len(whole.read(0, 1 << 40)) == 100
        with pytest.raises(Exhausted):
            inner.read(0, 9 << 20)


def test_reads_of_nothing_cost_too() -> None:
    part = Part(b"", 0, 0, Effort(reads=3))
    for _ in range(3):
        part.read(0, 1)
    with pytest.raises(Exhausted):
        part.read(0, 1)
