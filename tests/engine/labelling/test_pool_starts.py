"""A child that dies while it starts is started again, unless none of its pool has begun."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from merkit.engine.cpu import BLAS_THREADS
from merkit.engine.errors import MerError
from merkit.engine.labelling import fork_server, worker_pool
from merkit.engine.labelling.pool_child import Child, start_child
from merkit.engine.labelling.worker_pool import Failure, WorkerPool

CRASHED = Failure("the decoder crashed (SIGSEGV)")


def behave(item: str, prefix: str) -> str:
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "slow":
        time.sleep(0.3)
    return prefix + item


def pid(item: str, _: str) -> int:
    time.sleep(0.5)
    return os.getpid()


def blas_threads(item: str, _: str) -> str | None:
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    return os.environ.get(BLAS_THREADS)


class _Dying:
    """``behave``, in children of which those of these numbers get a signal while they start."""

    def __init__(self, folder: Path, numbers: range, number: signal.Signals = signal.SIGKILL) -> None:
        self.arguments = folder, numbers, number

    def __reduce__(self):
        return _load, self.arguments

    def __call__(self, item: str, prefix: str) -> str: ...


def _load(folder: Path, numbers: range, number: signal.Signals) -> Callable[[str, str], str]:
    with (folder / "starts").open("ab") as file:
        file.write(b".")
        file.flush()
        child = file.tell() - 1
    if child in numbers:
        os.kill(os.getpid(), number)
    return behave


def starts(folder: Path) -> int:
    return (folder / "starts").stat().st_size


def test_where_none_has_begun_one_death_is_enough(tmp_path: Path) -> None:
    reason = r"cannot start \(SIGABRT"
    function = _Dying(tmp_path, range(100), signal.SIGABRT)
    with WorkerPool(function, "", 1) as pool, pytest.raises(MerError, match=reason):
        list(pool.map(["a"]))
    assert starts(tmp_path) == 1


def test_a_child_that_is_killed_while_it_starts_is_started_again(tmp_path: Path) -> None:
    """What it was given meanwhile has its result, and none is blamed."""
    with WorkerPool(_Dying(tmp_path, range(1, 5)), ">", 1) as pool:
        results = sorted(pool.map(["a", "crash", "b", "c"]))
    assert results == [(0, ">a"), (1, CRASHED), (2, ">b"), (3, ">c")]
    assert starts(tmp_path) >= 6


def test_the_others_go_on_meanwhile(tmp_path: Path) -> None:
    with WorkerPool(_Dying(tmp_path, range(2, 6)), ">", 2) as pool:
        assert len(list(pool.map(["slow", "slow"]))) == 2  # both have begun
        results = sorted(pool.map(["crash", *["a"] * 20]))
    assert results == [(0, CRASHED), *[(i, ">a") for i in range(1, 21)]]


def test_five_starts_that_are_killed_end_the_map(tmp_path: Path) -> None:
    reason = r"cannot start \(SIGKILL\): memory may be short; take fewer --workers$"
    with WorkerPool(_Dying(tmp_path, range(1, 100)), ">", 1) as pool, pytest.raises(MerError, match=reason):
        list(pool.map(["crash", "a"]))
    assert starts(tmp_path) == 1 + 5


def test_a_start_that_hangs_is_no_items_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "_START_S", 1.5)
    with WorkerPool(_Dying(tmp_path, range(1, 2), signal.SIGSTOP), ">", 1) as pool:
        assert sorted(pool.map(["crash", "a"])) == [(0, CRASHED), (1, ">a")]


def test_a_first_start_that_hangs_is_not_blamed_on_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is this pool that kills it."""
    monkeypatch.setattr(worker_pool, "_START_S", 1.0)
    reason = r"cannot start \(it did not begin within 1 s\): the machine may be too busy; take fewer --work"
    function = _Dying(tmp_path, range(1), signal.SIGSTOP)
    with WorkerPool(function, ">", 1) as pool, pytest.raises(MerError, match=reason):
        list(pool.map(["a"]))


def test_no_more_start_than_there_is_work_for(tmp_path: Path) -> None:
    with WorkerPool(_Dying(tmp_path, range(0)), ">", 64) as pool:
        assert list(pool.map(["a"])) == [(0, ">a")]
        assert starts(tmp_path) <= 2
        assert len(list(pool.map(["slow"] * 6))) == 6
        assert starts(tmp_path) <= 7


def test_none_has_a_second_item_before_each_has_one() -> None:
    with WorkerPool(pid, "", 4) as pool:
        assert len({process for _, process in pool.map(["slow"] * 4)}) == 4


@pytest.mark.parametrize("stopped", [True, False])
def test_a_start_that_fails_is_no_error_where_a_signal_to_all_ended_the_fork_server(
    stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        threading.Timer(0.1, stop.set if stopped else (lambda: None)).start()
        raise MerError("a worker process cannot start")

    stop = threading.Event()
    monkeypatch.setattr(worker_pool, "start_child", refuse)
    with WorkerPool(behave, ">", 3) as pool:
        if stopped:
            assert list(pool.map(["a", "b"], stop=stop)) == []
        else:
            with pytest.raises(MerError, match="cannot start"):
                list(pool.map(["a", "b"], stop=stop))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_system_that_refuses_another_process_for_a_while_ends_nothing(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory is short: the file that crashed has a row, and all others too."""
    refusals = iter([True] * 2)

    def start(*arguments: Any) -> Child:
        if len(started) == workers and next(refusals, False):
            raise MerError("a worker process cannot start (Cannot allocate memory)")
        started.append(start_child(*arguments))
        return started[-1]

    started: list[Child] = []
    monkeypatch.setattr(worker_pool, "start_child", start)
    with WorkerPool(behave, ">", workers) as pool:
        assert len(list(pool.map(["slow"] * workers))) == workers
        results = sorted(pool.map(["crash", *["slow"] * 12]))
    assert results == [(0, CRASHED), *[(i, ">slow") for i in range(1, 13)]]
    assert len(started) > workers
    assert next(refusals, None) is None


def test_a_system_that_refuses_every_other_process_ends_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def start(*arguments: Any) -> Child:
        if pool._began:
            refused.append(arguments)
            raise MerError("a worker process cannot start (Cannot allocate memory)")
        return start_child(*arguments)

    monkeypatch.setattr(worker_pool, "start_child", start)
    with WorkerPool(behave, ">", 1) as pool, pytest.raises(MerError, match="Cannot allocate memory"):
        list(pool.map(["crash", "a"]))
    assert len(refused) == worker_pool._STARTS


def test_a_stop_ends_the_starts() -> None:
    stop = threading.Event()
    with WorkerPool(behave, ">", 500) as pool:
        threading.Timer(0.3, stop.set).start()
        began = time.monotonic()
        list(pool.map(["slow"] * 2_000, stop=stop))
        assert len(pool._children) < 500
    assert time.monotonic() - began < 20


def test_children_have_one_thread_of_blas() -> None:
    before = os.environ.get(BLAS_THREADS)
    end_fork_server()
    with WorkerPool(blas_threads, "", 1) as pool:
        assert list(pool.map(["a"])) == [(0, before or "1")]
        end_fork_server()
        assert list(pool.map(["crash"])) == [(0, CRASHED)]  # and both are started again
        assert list(pool.map(["a"])) == [(0, before or "1")]
    assert os.environ.get(BLAS_THREADS) == before


def end_fork_server() -> None:
    server = fork_server.SERVER._forkserver_pid  # pyright: ignore
    if server is not None:
        os.kill(server, signal.SIGKILL)
        os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
