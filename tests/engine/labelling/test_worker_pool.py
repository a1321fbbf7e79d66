"""Crashes, hangs and bugs cost their own item; children outlive a map that was left early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from multiprocessing import active_children, get_all_start_methods, get_context
from pathlib import Path

import child_processes
import numpy as np
import pytest
from child_processes import is_running, rest_of_output
from merkit.engine.errors import AudioError, MerError, UnreadableError
from merkit.engine.labelling import pool_child, result_queue, worker_pool
from merkit.engine.labelling.worker_pool import Failure, WorkerPool
from merkit.engine.temporary import process_folder


class _Large:
    """A result for whose bytes there is no memory."""

    def __reduce__(self):
        raise MemoryError("no room")


def behave(item: str, options: dict) -> str:
    kind, _, rest = item.partition(":")
    if kind == "array":
        return np.full(100_000, int(rest))  # pyright: ignore[reportReturnType]
    if kind == "maps":
        return Path("/proc/self/maps").read_text()
    if kind == "sleep":
        time.sleep(float(rest))
    if kind == "pid":
        return str(os.getpid())
    if kind == "steps":  # a process that was stopped makes none meanwhile
        for _ in range(int(rest)):
            time.sleep(0.05)
    if kind == "copy":
        tempfile.mkstemp()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
    if kind == "no-server":
        # Where the fork server has died, the parent may be the process that runs the tests, or init.
        if os.getppid() not in (1, int(rest)):
            os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
    if kind == "exit":
        os._exit(3)
    if kind == "refuse":
        raise AudioError(rest)
    if kind == "away":
        raise UnreadableError(rest)
    if kind == "package":
        raise MerError(rest)
    if kind == "memory":
        raise MemoryError if rest == "full" else ImportError(rest)
    if kind == "large":
        return _Large()  # pyright: ignore[reportReturnType]
    if kind == "module":
        raise ModuleNotFoundError(f"No module named {rest!r}")
    if kind == "bug":
        raise KeyError(rest)
    return options["prefix"] + item


def run(items: list[str], workers: int = 2, seconds: float = 60.0) -> list:
    with WorkerPool(behave, {"prefix": ">"}, workers, seconds) as pool:
        results = list(pool.map(items))
    assert sorted(position for position, _ in results) == list(range(len(items)))  # each once
    return [result for _, result in sorted(results, key=lambda pair: pair[0])]


def test_every_item_has_one_result() -> None:
    items = [f"ok:{i}" for i in range(200)]
    assert run(items) == [">" + item for item in items]
    assert run([]) == []


@pytest.mark.parametrize("method", sorted(set(get_all_start_methods()) - {"fork"}))
def test_arrays_of_shared_memory_outlive_crashes_and_leave_nothing(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no name that a killed process could leave behind."""
    if method == "spawn":
        monkeypatch.setattr(pool_child, "_HAS_FORK_SERVER", False)
        monkeypatch.setattr(pool_child, "_Process", get_context("spawn").Process)
    items = ["array:1", "crash:", *[f"array:{number}" for number in range(20)]]
    held, result = [], None
    with WorkerPool(behave, {"prefix": ""}, 2, share=True) as pool:
        for position, result in pool.map(items):
            if isinstance(result, np.ndarray):
                held.append((int(items[position][6:]), result))
        if sys.platform == "linux":
            ((_, maps),) = pool.map(["maps:"])
            assert "/memfd:mer-results (deleted)" in maps
            assert "/dev/shm" not in maps
    assert len(held) == 21
    assert all(np.array_equal(result, np.full(100_000, value)) for value, result in held)
    if sys.platform == "linux":
        held, result = [], None
        assert not [file for file in Path("/proc/self/fd").iterdir() if "mer-results" in _link(file)]


def _link(file: Path) -> str:
    with suppress(OSError):  # that of the listing itself is closed meanwhile
        return str(file.readlink())
    return ""


def test_a_crash_costs_only_the_culprit() -> None:
    items = [f"ok:{i}" for i in range(12)]
    items[3], items[4], items[9] = "crash:", "exit:", "crash:"
    results = run(items)
    assert results[3] == results[9] == Failure("the decoder crashed (SIGSEGV)")
    assert results[4] == Failure("the decoder crashed (exit code 3)")
    assert [result for i, result in enumerate(results) if i not in (3, 4, 9)] == [
        ">" + item for i, item in enumerate(items) if i not in (3, 4, 9)
    ]


def test_a_hang_costs_only_the_culprit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merkit.engine.labelling.worker_pool._GRACE_S", 0.5)
    items = ["ok:0", "sleep:1000", "ok:2", "ok:3", "ok:4"]
    results = run(items, seconds=0.5)
    assert results[1] == Failure("took longer than 0.5 s and was stopped (--timeout)", unreadable=True)
    assert [results[i] for i in (0, 2, 3, 4)] == [">ok:0", ">ok:2", ">ok:3", ">ok:4"]


@pytest.fixture
def held_by_a_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The processes whose SIGKILL waits: a read of a disk or share (FUSE) that does not answer goes on."""
    held: list[int] = []
    monkeypatch.setattr(pool_child._Process, "kill", lambda process: held.append(process.pid))
    monkeypatch.setattr(pool_child, "_DEATH_S", 0.2)
    monkeypatch.setattr(worker_pool, "_GRACE_S", 0.2)
    yield held
    for pid in {*held}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("held_by_a_disk")
def test_a_child_that_cannot_be_killed_costs_its_item_alone() -> None:
    before = {*active_children()}
    items = ["sleep:1000", "ok:1", "ok:2", "sleep:1000", "ok:4"]
    results = run(items, workers=1, seconds=1)
    lost = Failure("took longer than 1 s and was stopped (--timeout)", unreadable=True)
    assert results == [lost, ">ok:1", ">ok:2", lost, ">ok:4"]
    assert {*active_children()} <= before  # Python would wait for them at its end


@pytest.mark.usefixtures("held_by_a_disk")
def test_a_disk_that_is_gone_ends_the_run_before_it_has_taken_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_child, "_MOST_HELD", 2)
    results = []
    with (
        pytest.raises(MerError, match=r"share does not answer: 2 worker processes .* same command again"),
        WorkerPool(behave, {"prefix": ">"}, 1, seconds=1) as pool,
    ):
        results.extend(pool.map(["ok:0", *["sleep:1000"] * 5]))
    assert [position for position, _ in results] == [0, 1, 2]  # these have their rows


def test_time_in_which_nobody_took_results_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "_GRACE_S", 1.0)
    monkeypatch.setattr(worker_pool, "_HELD_BYTES", 1)
    items = [f"sleep:0.0{i % 5}" for i in range(20)]
    with WorkerPool(behave, {"prefix": ">"}, 2, seconds=0.5) as pool:
        results = []
        for result in pool.map(items):
            results.append(result)
            if len(results) in (4, 9):
                time.sleep(3)
    assert sorted(results) == [(i, ">" + item) for i, item in enumerate(items)]


_PYTHONPATH = os.pathsep.join([str(Path(__file__).parent), str(Path(child_processes.__file__).parent)])

_STOPPED = """
from test_worker_pool import behave
from merkit.engine.labelling import worker_pool
if __name__ == "__main__":
    worker_pool._GRACE_S = 2.0
    with worker_pool.WorkerPool(behave, {"prefix": ""}, 2, 1.0) as pool:
        results = pool.map([f"steps:{i}" for i in range(8)])
        for position, result in results:
            print(position, result, flush=True)
"""


def test_time_in_which_all_were_stopped_is_no_hang() -> None:
    """Ctrl-Z, and fg after a while."""
    environment = {**os.environ, "PYTHONPATH": _PYTHONPATH}
    command = [sys.executable, "-c", _STOPPED]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    assert process.stdout
    lines = [process.stdout.readline()]
    for _ in range(2):
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(3.5)
        os.killpg(process.pid, signal.SIGCONT)
        lines.append(process.stdout.readline())
    out, _ = rest_of_output(process)
    assert sorted([*lines, *out.splitlines(keepends=True)]) == [f"{i} steps:{i}\n" for i in range(8)]


_HANGING = """
import os, time
from test_worker_pool import behave
from merkit.engine.labelling.worker_pool import WorkerPool
if __name__ == "__main__":
    with WorkerPool(behave, {"prefix": ""}, 1) as pool:
        for position, result in pool.map(["pid:", "sleep:1000"]):
            print(result, flush=True)
"""


def test_a_child_that_hangs_does_not_outlive_a_killed_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": _PYTHONPATH}
    process = subprocess.Popen([sys.executable, "-c", _HANGING], env=environment, stdout=subprocess.PIPE)
    assert process.stdout
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(child)


def test_what_a_killed_child_was_copying_goes_at_once() -> None:
    with WorkerPool(behave, {"prefix": ">"}, 1) as pool:
        assert [*pool.map(["ok:"])] == [(0, ">ok:")]
        folders = [*process_folder().glob("worker-*")]
        (result,) = [result for _, result in pool.map(["copy:"])]
        assert [list(folder.iterdir()) for folder in process_folder().glob("worker-*")] == [[]] * len(folders)
    assert result == Failure(  # by the system: nothing is known of the file
        "the process that read it was killed (SIGKILL), as the system does when memory runs out",
        unreadable=True,
    )
    assert len([*process_folder().glob("worker-*")]) == len(folders) - 1


@pytest.mark.parametrize("kind", ["terminate", "no-server"])
def test_a_process_that_somebody_ended_says_nothing_of_its_file(kind: str) -> None:
    with WorkerPool(behave, {"prefix": ">"}, 1) as pool:
        (result,) = [result for _, result in pool.map([f"{kind}:{os.getpid()}"])]
    assert result == Failure("the process that read it was ended by a signal", unreadable=True)


@pytest.mark.parametrize(
    ("kind", "stopped_after_s"),
    # What crashes before the stop did so by itself.
    [("terminate", 0), ("terminate", 0.2), ("no-server", 0), ("no-server", 0.2), ("crash", 0)],
)
def test_what_dies_while_a_run_is_stopped_has_no_row(kind: str, stopped_after_s: float) -> None:
    """timeout(1) signals the whole group: the children die of it, before this process is told or after."""
    stop = threading.Event()
    with WorkerPool(behave, {"prefix": ">"}, 2) as pool:
        assert [result for _, result in pool.map(["a"])] == [">a"]
        if stopped_after_s:
            threading.Timer(stopped_after_s, stop.set).start()
        else:
            stop.set()
        items = [f"{kind}:{os.getpid()}", f"{kind}:{os.getpid()}", "sleep:0.2", "steps:2"]
        results = dict(pool.map(items, stop=stop))
        assert set(results.values()) <= {">sleep:0.2", ">steps:2"}
        assert dict(pool.map(["b", "c"])) == {0: ">b", 1: ">c"}


def test_what_memory_keeps_from_loading_is_no_bug_and_is_tried_again() -> None:
    mapped = "libX.so: failed to map segment from shared object"
    assert run(["memory:full", f"memory:{mapped}"]) == [
        Failure(f"cannot be read: memory may be short ({reason})", unreadable=True)
        for reason in ("MemoryError", mapped)
    ]
    assert run(["large:", "a"], 1) == [
        Failure("cannot be read: memory may be short (no room)", unreadable=True),
        ">a",
    ]
    (missing,) = run(["module:x"])  # that is one
    assert missing.reason.startswith("internal error: ModuleNotFoundError")
    assert not missing.unreadable


def test_the_traceback_of_a_bug_is_in_the_log() -> None:
    from merkit.engine.labelling.bug_log import bug_log

    with WorkerPool(behave, {"prefix": ">"}, 1) as pool:
        list(pool.map(["bug:x"]))
    text = bug_log().read_text()
    assert "'bug:x'\nTraceback (most recent call last)" in text
    assert "raise KeyError(rest)" in text


def test_errors_and_bugs_become_results() -> None:
    refused, bug = run(["refuse:too short", "bug:x"])
    assert refused == Failure("too short")
    assert bug == Failure("internal error: KeyError: 'x'")
    away, package = run(["away:no such file", "package:is not installed"])
    assert away == Failure("no such file", unreadable=True)
    assert package == Failure("is not installed", unreadable=True)  # nothing is known of the file


def test_a_slow_consumer_loses_nothing_and_may_leave() -> None:
    with WorkerPool(behave, {"prefix": ">"}, 2) as pool:
        for taken, _ in enumerate(pool.map([f"ok:{i}" for i in range(1_000)])):
            if taken == 10:
                break
        assert len(list(pool.map(["ok:1", "ok:2"]))) == 2  # and the pool is still good


def test_results_of_a_map_that_was_left_do_not_come_in_the_next() -> None:
    with WorkerPool(behave, {"prefix": ">"}, 2) as pool:
        for _ in range(3):
            left = pool.map(["ok:fast", *["sleep:0.05"] * 20])
            next(left)
            left.close()
            assert sorted(pool.map(["ok:a", "ok:b", "ok:c"])) == [(0, ">ok:a"), (1, ">ok:b"), (2, ">ok:c")]


def test_ctrl_c_is_heard_while_an_item_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And when the item comes after all, it is none of the next map's."""
    monkeypatch.setattr(result_queue, "_PATIENCE_S", 0.1)
    goes_on, came = threading.Event(), threading.Event()

    def items() -> Iterator[str]:
        yield "ok:first"
        goes_on.wait(60)
        came.set()
        yield from ["ok:late"] * 9

    with WorkerPool(behave, {"prefix": ">"}, 2) as pool:
        main = threading.main_thread().ident
        threading.Timer(1, signal.pthread_kill, [main, signal.SIGINT]).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(pool.map(items()))
        assert time.monotonic() - began < 30
        assert [*pool.map(["ok:1"])] == [(0, ">ok:1")]
        with closing(pool.map(["ok:2", "sleep:0.5"])) as others:
            assert next(others) == (0, ">ok:2")
            goes_on.set()
            assert came.wait(30)
            assert [*others] == [(1, ">sleep:0.5")]


def test_one_map_at_a_time() -> None:
    with WorkerPool(behave, {"prefix": ">"}, 1) as pool:
        with closing(pool.map(["ok:1", "ok:2"])) as first:
            assert next(first) == (0, ">ok:1")
            with pytest.raises(ValueError, match="in use by another map"):
                next(pool.map(["ok:3"]))
            assert list(first) == [(1, ">ok:2")]
        assert list(pool.map(["ok:3"])) == [(0, ">ok:3")]


def test_a_pool_that_is_closed_says_so_and_leaves_no_child() -> None:
    before = set(active_children())
    pool = WorkerPool(behave, {"prefix": ">"}, 2)
    results = pool.map([f"ok:{i}" for i in range(1_000)])
    next(results)
    pool.close()
    assert set(active_children()) == before
    with pytest.raises(ValueError, match="closed"):
        next(results)
    with pytest.raises(ValueError, match="the pool is closed"):
        next(pool.map(["ok:1"]))
    pool.close()
    assert set(active_children()) == before


def test_while_not_ready_nothing_begins() -> None:
    begun: list[int] = []
    allowed = [3]

    def items():
        for number in range(9):
            begun.append(number)
            yield f"ok:{number}"

    with WorkerPool(behave, {"prefix": ">"}, 1) as pool:
        for done, _ in enumerate(pool.map(items(), lambda: len(begun) < allowed[0]), 1):
            assert len(begun) <= allowed[0] + 2  # a child takes up to three at once
            if done == len(begun):
                allowed[0] = len(begun) + 1
    assert begun == list(range(9))


def test_a_pool_that_cannot_start_says_so() -> None:
    with WorkerPool(_unloadable, {}, 1) as pool, pytest.raises(MerError, match="cannot start"):
        list(pool.map(["a"]))


class _Unloadable:
    def __reduce__(self):
        return os._exit, (7,)  # dies while the child unpickles its work

    def __call__(self, item: str, options: dict) -> None: ...


_unloadable = _Unloadable()
