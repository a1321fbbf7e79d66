"""A queue between two threads that holds a limited number of bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from merkit.engine.labelling import result_queue
from merkit.engine.labelling.result_queue import ResultQueue


def everything(queue: ResultQueue) -> list:
    results = []
    while (result := queue.get()) is not None:
        results.append(result)
    return results


def test_results_come_in_their_order() -> None:
    def produce(queue: ResultQueue) -> None:
        for number in range(1_000):
            queue.put(number, 1)

    assert everything(ResultQueue(10, produce)) == list(range(1_000))
    assert everything(ResultQueue(10, lambda queue: None)) == []


def test_the_producer_waits_for_room() -> None:
    put: list[int] = []
    third = threading.Event()

    def produce(queue: ResultQueue) -> None:
        for number, size in enumerate((100, 6, 4, 1)):  # the first is larger than all the room
            queue.put(number, size)
            put.append(number)
            if number == 2:
                third.set()

    queue = ResultQueue(10, produce)
    deadline = time.monotonic() + 30
    while put != [0] and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not third.wait(0.05)
    assert put == [0]
    assert queue.get() == 0
    assert third.wait(30)
    time.sleep(0.02)
    assert put == [0, 1, 2]
    assert everything(queue) == [1, 2, 3]


def test_an_error_comes_after_the_results_before_it() -> None:
    def produce(queue: ResultQueue) -> None:
        queue.put("result", 1)
        raise KeyError("lost")

    queue = ResultQueue(10, produce)
    assert queue.get() == "result"
    with pytest.raises(KeyError, match="lost"):
        queue.get()


def test_closing_ends_the_producer() -> None:
    ended: list[bool] = []

    def produce(queue: ResultQueue) -> None:
        while not queue.closed:
            queue.put("result", 100)
        ended.append(True)

    queue = ResultQueue(10, produce)
    assert queue.get() == "result"
    queue.close()
    assert ended == [True]
    with pytest.raises(ValueError, match="closed"):
        queue.get()
    queue.close()


@pytest.mark.parametrize("then", ["gives another", "ends"])
def test_closing_leaves_an_iterator_that_waits_for_ever(then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where it goes on at last, the producer ends before it touches what others may have by now."""
    monkeypatch.setattr(result_queue, "_PATIENCE_S", 0.2)
    waits, goes_on, ended = threading.Event(), threading.Event(), threading.Event()
    touched: list[str] = []

    def items() -> Iterator[str]:
        yield "first"
        waits.set()
        goes_on.wait(60)
        if then == "gives another":
            yield "second"

    def produce(queue: ResultQueue) -> None:
        try:
            for item in queue.taken(items()):
                queue.put(item, 1)
                touched.append(item)
            touched.append("end")
        finally:
            ended.set()

    queue = ResultQueue(10, produce)
    assert queue.get() == "first"
    assert waits.wait(30)
    began = time.monotonic()
    queue.close()
    assert 0.2 <= time.monotonic() - began < 20
    goes_on.set()
    assert ended.wait(30)
    assert touched == ["first"]


def test_closing_waits_for_what_the_producer_does_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that it starts, which would be nobody's."""
    monkeypatch.setattr(result_queue, "_PATIENCE_S", 0.0)
    begun, ended = threading.Event(), []

    def produce(queue: ResultQueue) -> None:
        begun.set()
        while not queue.closed:
            time.sleep(0.001)
        time.sleep(0.5)
        ended.append(True)

    queue = ResultQueue(10, produce)
    assert begun.wait(30)
    queue.close()
    assert ended == [True]


def test_the_producer_may_close_it_too() -> None:
    """Garbage, an abandoned generator among it, is collected in whichever thread happens to need memory."""
    queue = ResultQueue(10, lambda queue: queue.close())
    with pytest.raises(ValueError, match="closed"):
        queue.get()
