import os
import signal
import time

import pytest
from merkit.engine.errors import AudioError, MerError
from merkit.engine.labelling.worker_pool import Failure, WorkerPool


def behave(item: str, options: dict) -> str:
    kind, _, rest = item.partition(":")
    if kind == "sleep":
        time.sleep(float(rest))
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "exit":
        os._exit(3)
    if kind == "refuse":
        raise AudioError(rest)
    if kind == "bug":
        raise KeyError(rest)
    return options["prefix"] + item


def run(items: list[str], workers: int = 2, seconds: float = 60.0) -> list:
    with WorkerPool(behave, {"prefix": ">"}, workers, seconds) as pool:
        answers = list(pool.map(items))
    assert sorted(position for position, _ in answers) == list(range(len(items)))  # each once
    return [answer for _, answer in sorted(answers, key=lambda pair: pair[0])]


def test_every_item_is_answered_once() -> None:
    items = [f"ok:{i}" for i in range(200)]
    assert run(items) == [">" + item for item in items]
    assert run([]) == []


def test_a_crash_costs_only_the_culprit() -> None:
    items = [f"ok:{i}" for i in range(12)]
    items[3], items[4], items[9] = "crash:", "exit:", "crash:"
    answers = run(items)
    assert answers[3] == answers[9] == Failure("the decoder crashed (SIGSEGV)")
    assert answers[4] == Failure("the decoder crashed (exit code 3)")
    assert [a for i, a in enumerate(answers) if i not in (3, 4, 9)] == [
        ">" + item for i, item in enumerate(items) if i not in (3, 4, 9)
    ]


def test_a_hang_costs_only_the_culprit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merkit.engine.labelling.worker_pool._GRACE_S", 0.5)
    items = ["ok:0", "sleep:1000", "ok:2", "ok:3", "ok:4"]
    answers = run(items, seconds=0.5)
    assert answers[1] == Failure("took longer than 1 s and was stopped")
    assert [answers[i] for i in (0, 2, 3, 4)] == [">ok:0", ">ok:2", ">ok:3", ">ok:4"]


def test_errors_and_bugs_become_answers() -> None:
    refused, bug = run(["refuse:too short", "bug:x"])
    assert refused == Failure("too short")
    assert bug == Failure("internal error: KeyError: 'x'")


def test_a_slow_consumer_loses_nothing_and_may_leave() -> None:
    with WorkerPool(behave, {"prefix": ">"}, 2) as pool:
        for taken, _ in enumerate(pool.map([f"ok:{i}" for i in range(1_000)])):
            if taken == 10:
                break
        assert len(list(pool.map(["ok:1", "ok:2"]))) == 2  # and the pool is still good


def test_a_pool_that_cannot_start_says_so() -> None:
    with WorkerPool(_unloadable, {}, 1) as pool, pytest.raises(MerError, match="cannot start"):
        list(pool.map(["a"]))


class _Unloadable:
    def __reduce__(self):
        return os._exit, (7,)  # dies while the child unpickles its work

    def __call__(self, item: str, options: dict) -> None: ...


_unloadable = _Unloadable()
