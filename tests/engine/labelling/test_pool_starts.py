"""A child that dies while it starts is started again, unless none of its pool has begun."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from merkit.engine.errors import MerError
from merkit.engine.labelling import worker_pool
from merkit.engine.labelling.worker_pool import Failure, WorkerPool

CRASHED = Failure("the decoder crashed (SIGSEGV)")


def behave(item: str, prefix: str) -> str:
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "slow":
        time.sleep(0.3)
    return prefix + item


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
