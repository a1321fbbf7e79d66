"""Arrays in memory that a child shares: the same values, places that are used again, and no dead end."""

from __future__ import annotations

import gc
import logging
import os
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.labelling import shared_results
from merkit.engine.labelling.shared_results import ResultReader, ResultWriter

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")


def pair() -> tuple[ResultReader, ResultWriter]:
    reader = ResultReader(share=True)
    return reader, ResultWriter(reader.memory)


def through(reader: ResultReader, writer: ResultWriter, result: Any) -> tuple[Any, int, int]:
    """The result on the other side, its bytes, and those of the message."""
    content = writer.bytes_from_result(result)
    return *reader.result_from_bytes(content), len(content)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for 15 lines of 64 bytes beside an array's own line, and no patience."""
    monkeypatch.setattr(shared_results, "_BYTES", 1 << 12)
    monkeypatch.setattr(shared_results, "_SMALLEST", 64)
    monkeypatch.setattr(shared_results, "_WAIT_S", 0.02)


def test_arrays_of_every_kind_come_over() -> None:
    rng = np.random.default_rng(0)
    result = {
        "samples": rng.integers(-9, 9, (3, 16_000), np.int16),
        "columns": np.asfortranarray(rng.standard_normal((200, 300))),
        "turned": rng.standard_normal((300, 200)).astype(np.float32)[::-1, ::2],
        "few": np.arange(3),
        "text": "é",
    }
    got, size, sent = through(*pair(), result)
    for name in ("samples", "columns", "turned", "few"):
        np.testing.assert_array_equal(got[name], result[name])
        assert got[name].dtype == result[name].dtype
    assert got["text"] == "é"
    assert got["samples"].ctypes.data % 64 == 0
    assert sent < 130_000 < 96_000 + 480_000 < size  # all but the small and the turned one


class _Large:
    def __reduce__(self):
        raise MemoryError


def test_what_there_was_no_memory_for_leaves_its_room(small: None) -> None:
    reader, writer = pair()
    for _ in range(5):
        with pytest.raises(MemoryError):
            writer.bytes_from_result((np.zeros(100), _Large()))
    assert through(reader, writer, np.zeros(100))[2] < 800


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of 3.12: of a fork beside threads
def test_what_a_fork_of_the_reader_drops_stays_the_readers(small: None) -> None:
    reader, writer = pair()
    got, *_ = through(reader, writer, np.full(100, 7.0))
    child = os.fork()
    if not child:
        del got
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for value in range(3):
        through(reader, writer, np.full(100, float(value)))
    np.testing.assert_array_equal(got, 7.0)


def test_a_place_is_used_again_once_nobody_refers_to_it(small: None) -> None:
    reader, writer = pair()
    held: deque[np.ndarray] = deque()
    for number in range(200):
        array, _, sent = through(reader, writer, np.full(1_000, number % 256, np.uint8))
        assert sent < 400, number
        held.append(array[10:20])  # a part holds the whole
        if len(held) == 3:
            assert held.popleft().tolist() == [(number - 2) % 256] * 10


@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 5)), max_size=40))
def test_what_is_held_never_changes(steps: list[tuple[int, int]]) -> None:
    """Arrays of any sizes, dropped in any order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_results, "_BYTES", 1 << 13)
        patch.setattr(shared_results, "_SMALLEST", 1)
        patch.setattr(shared_results, "_WAIT_S", 0.0)
        reader, writer = pair()
        held: list[tuple[int, np.ndarray]] = []
        for number, (size, drop) in enumerate(steps):
            value = number % 251
            held.append((value, through(reader, writer, np.full(size, value, np.uint8))[0]))
            if drop < len(held):
                del held[drop]
            for expected, array in held:
                assert np.array_equal(np.unique(array), [expected])


def test_an_array_that_is_a_line_too_long_for_a_gap_goes_elsewhere(small: None) -> None:
    """Its last line would lie over the line before the next array, by which that one is known to be held."""
    reader, writer = pair()
    gap, *_ = through(reader, writer, np.full(512, 1, np.uint8))
    held, *_ = through(reader, writer, np.full(512, 2, np.uint8))
    del gap
    longer, *_ = through(reader, writer, np.zeros(512 + 64, np.uint8))
    other, *_ = through(reader, writer, np.full(512, 3, np.uint8))
    assert [np.unique(array).tolist() for array in (held, longer, other)] == [[2], [0], [3]]


def test_without_room_the_pipe_takes_it(small: None) -> None:
    reader, writer = pair()
    held = [through(reader, writer, np.full(1_500, value, np.uint8)) for value in range(5)]
    assert [sent > 1_500 for _, _, sent in held] == [False, False, True, True, True]
    assert [np.unique(array).tolist() for array, _, _ in held] == [[0], [1], [2], [3], [4]]
    held.clear()
    assert through(reader, writer, np.zeros(1_500, np.uint8))[2] < 400
    assert through(reader, writer, np.zeros(5_000, np.uint8))[2] > 5_000


def test_room_is_waited_for_once_and_again_after_there_was_some(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a parent that is slow would be waited for with every array."""
    clock, sleeps = [0.0], [0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        sleeps[0] += 1

    monkeypatch.setattr(shared_results, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    reader, writer = pair()

    def waited(size: int, *into: list[np.ndarray]) -> bool:
        before = sleeps[0]
        array, *_ = through(reader, writer, np.zeros(size, np.uint8))
        for arrays in into:
            arrays.append(array)
        return sleeps[0] > before

    held: list[np.ndarray] = []
    assert not waited((1 << 12) - 64, held)  # all that there is
    assert [waited(1_500) for _ in range(3)] == [True, False, False]
    held.clear()
    assert [waited(1_500, held) for _ in range(2)] == [False, False]
    assert not waited(5_000)  # there will never be room for it
    assert [waited(1_500) for _ in range(2)] == [True, False]


def test_an_array_outlives_its_reader() -> None:
    reader, writer = pair()
    array, _, _ = through(reader, writer, np.full(100_000, 7, np.uint8))
    reader.close()
    del reader, writer
    gc.collect()
    assert np.unique(array).tolist() == [7]


def test_nothing_is_shared_unless_asked_for() -> None:
    reader = ResultReader(share=False)
    assert reader.memory is None
    got, size, sent = through(reader, ResultWriter(None), np.zeros(100_000, np.uint8))
    assert np.array_equal(got, np.zeros(100_000, np.uint8))
    assert size == sent > 100_000


@pytest.mark.parametrize("name", ["memfd_create", "ftruncate"])
def test_no_shared_memory_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, name, full)
    with caplog.at_level(logging.WARNING):
        reader, writer = pair()
    assert [record.getMessage() for record in caplog.records] == [
        "no shared memory for a worker process (No space left on device): pipes do it, with more CPU"
    ]
    assert len(os.listdir("/proc/self/fd")) == before
    array = np.arange(100_000)
    assert np.array_equal(through(reader, writer, array)[0], array)


def test_many_arrays_of_one_result() -> None:
    arrays = [np.full(20_000, number, np.uint8) for number in range(9)]
    got, _, sent = through(*pair(), arrays)
    assert [np.unique(array).tolist() for array in got] == [[number] for number in range(9)]
    assert sent < 2_000
