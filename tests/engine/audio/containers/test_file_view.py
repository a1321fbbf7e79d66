"""Parts of files, and files with some bytes corrected."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.audio.containers.file_view import FileView

CONTENT = bytes(range(256)) * 4


@given(
    st.integers(0, 1_100),
    st.integers(0, 1_100),
    st.dictionaries(st.integers(0, 1_100), st.binary(max_size=20), max_size=3),
    st.lists(st.tuples(st.integers(-50, 1_200), st.sampled_from([0, 1, 2]), st.integers(0, 600))),
)
def test_it_reads_as_a_file_of_those_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    start: int,
    end: int,
    corrections: dict[int, bytes],
    steps: list[tuple[int, int, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "view"
    if not path.exists():
        path.write_bytes(CONTENT)
    expected = bytearray(CONTENT[start : max(start, end)])
    for offset, correct in corrections.items():
        correct = correct[: max(0, len(expected) - offset)]
        expected[offset : offset + len(correct)] = correct
    model = io.BytesIO(bytes(expected))
    with path.open("rb") as file:
        descriptor = file.fileno()
        view = FileView(descriptor, start, min(end, len(CONTENT)), corrections)
        assert view.readall() == expected
        view.seek(0)
        for offset, whence, count in steps:
            place = max(0, {0: 0, 1: model.tell(), 2: len(expected)}[whence] + offset)
            assert view.seek(offset, whence) == model.seek(place) == view.tell()
            assert view.read(count) == model.read(count)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0, "the descriptor's own position stays"
        view.close()
        assert os.fstat(descriptor).st_size == len(CONTENT)


@given(
    st.integers(0, 200),
    st.lists(st.integers(0, 600), max_size=8, unique=True),
    st.dictionaries(st.integers(0, 600), st.binary(max_size=20), max_size=3),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 300))),
)
def test_bytes_that_are_left_out(
    tmp_path_factory: pytest.TempPathFactory,
    start: int,
    edges: list[int],
    corrections: dict[int, bytes],
    steps: list[tuple[int, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "view"
    path.write_bytes(CONTENT)
    expected, edges = bytearray(CONTENT[start : start + 600]), sorted(edges[: len(edges) // 2 * 2])
    for offset, correct in corrections.items():
        correct = correct[: 600 - offset]
        expected[offset : offset + len(correct)] = correct
    left_out = list(zip(edges[::2], edges[1::2], strict=True))
    for first, behind in reversed(left_out):
        del expected[first:behind]
    with path.open("rb") as file:
        view = FileView(file.fileno(), start, start + 600, corrections, left_out)
        assert view.readall() == expected
        for place, count in steps:
            view.seek(place)
            assert view.read(count) == expected[place : place + count]
