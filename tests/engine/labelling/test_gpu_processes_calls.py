"""When a GPU's process is given files, waited for, ended and started again; no process is started here."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from multiprocessing import Pipe, connection
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest
from merkit.engine.errors import DeviceError, MerError
from merkit.engine.labelling import gpu_processes
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.gpu_jobs import Job, Jobs
from merkit.engine.labelling.gpu_process import Message
from merkit.engine.labelling.gpu_processes import GpuProcesses, _Call, _Child
from merkit.engine.labelling.song_label import SongLabel


class Process:
    """One that was never started."""

    exitcode: int | None = None

    def __init__(self, **_: Any) -> None:
        self.killed = False

    def kill(self) -> None:
        self.killed = True

    def join(self, timeout: float) -> None:
        pass


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> _Call:
    """Of no files, with a patience of ten seconds, and of thirty with processes that labelled nothing yet."""
    spawn = SimpleNamespace(Process=Process, Pipe=Pipe)
    monkeypatch.setattr(gpu_processes, "_SPAWN", spawn)
    monkeypatch.setattr(gpu_processes, "start_process", lambda _: None)
    monkeypatch.setattr(gpu_processes, "_START_S", 30.0)
    arguments: Any = (None,) * 4
    return _Call(Jobs(iter(()), 2), threading.Event(), StageSeconds(), arguments, 10.0)


def child_of(call: _Call, gpu: int = 0, files: int = 0) -> tuple[_Child, Connection]:
    """A process of the call that has so many files, and the end of its pipe that is the process's."""
    ours, theirs = Pipe()
    child = _Child(gpu, Process(), ours, ready=True)
    if files:
        child.begin(Job(deque((number, f"{number}.mp3") for number in range(files))))
    call._children.append(child)
    return child, theirs


def test_each_label_ends_the_silence(call: _Call) -> None:
    """Else a process that labels for longer than the patience would count as hung."""
    child, theirs = child_of(call, files=2)
    child.silent_s = 9.0
    theirs.send(Message(SongLabel("0.mp3"), {"decode": 1.0}))
    call._receive(child)
    assert child.silent_s == 0
    assert call._worked == {0}


def test_a_process_that_was_started_again_has_labelled_nothing(call: _Call) -> None:
    """Its patience is that of a start, in which it compiles; and it is not started for ever."""
    call._worked.add(1)
    call._starts[1] = 1
    call.start_process(1)
    assert call._worked == set()
    assert call._starts[1] == 2
    assert [child.gpu for child in call._children] == [1]


def test_a_system_that_starts_no_process_says_so_in_a_line(
    call: _Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(gpu_processes, "start_process", refuse)
    with pytest.raises(MerError, match=r"cannot start \(Resource temporarily unavailable\): the limit"):
        call.start_process(0)
    assert not call._children


def test_a_gpus_process_is_started_three_times_at_most(call: _Call) -> None:
    for _ in range(2):
        call.start_process(0)
        call._worked.add(0)
    assert call._starts[0] == 2
    for child in list(call._children):
        call._give_up(child, DeviceError("Xid 79"))
    assert call._starts[0] == 3
    (last,) = call._children
    call._worked.add(0)
    with pytest.raises(DeviceError, match="Xid 79"):
        call._give_up(last, DeviceError("Xid 79"))
    assert call._starts[0] == 3


def test_a_gpu_that_never_labelled_anything_is_not_started_again(call: _Call) -> None:
    child, _ = child_of(call)
    call._starts[0] = 1
    with pytest.raises(DeviceError, match="no driver"):
        call._give_up(child, DeviceError("no driver"))


@pytest.mark.parametrize(
    ("worked", "of_files_s", "patience_s"), [(True, 10, 10), (False, 10, 30), (False, 40, 40)]
)
def test_a_process_that_hangs_is_killed_when_its_time_is_up(
    call: _Call, worked: bool, of_files_s: float, patience_s: float
) -> None:
    """Its first file may take as long as any other, where the limit of a file is a long one."""
    call._patience_s = of_files_s
    child, _theirs = child_of(call, files=2)
    call._starts[0] = 3
    if worked:
        call._worked.add(0)
    child.silent_s = patience_s - 0.1
    with pytest.raises(DeviceError, match=f"it gave nothing for {patience_s:.0f} s"):
        next(call.labels())
    assert child.process.killed
    assert call._ended == [child]


def test_what_it_sent_at_the_last_moment_counts(call: _Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it comes between looking for messages and looking at the time."""
    waits: list[Any] = [lambda *_, **__: theirs.send(Message(SongLabel("0.mp3"), {})) or [], connection.wait]
    late = SimpleNamespace(wait=lambda *given, **options: waits.pop(0)(*given, **options))
    monkeypatch.setattr(gpu_processes, "connection", late)
    child, theirs = child_of(call, files=2)
    child.silent_s = 1_000.0
    assert next(call.labels()).path == "0.mp3"
    assert not child.process.killed


def test_a_file_that_is_to_be_alone_goes_to_a_process_that_has_nothing(call: _Call) -> None:
    """And that process gets no other job beside it."""
    call._jobs.give_back(Job(deque([(5, "bad.mp3")]), ended=1), begun=True)
    busy, _ = child_of(call, files=2)
    call._begin_jobs()
    assert len(busy.held) == 1
    idle, theirs = child_of(call, gpu=1)
    call._begin_jobs()
    assert theirs.recv() == ["bad.mp3"]
    assert idle.held[0].alone
    assert not idle.wants_more
    assert len(busy.held) == 1


@pytest.mark.parametrize(("count", "workers", "each"), [(2, 8, 4), (4, 1, 1), (3, 8, 2)])
def test_decoders_are_shared_out_to_the_gpus(count: int, workers: int, each: int) -> None:
    assert GpuProcesses(count, "tensorrt", workers)._workers == each


def test_the_patience_covers_the_limits_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that takes as long as it may is no reason to end a process."""
    patiences: list[float] = []

    def made(*arguments: Any) -> Any:
        patiences.append(arguments[-1])
        return SimpleNamespace(start_process=lambda _: None, labels=lambda: iter(()), close=lambda: None)

    monkeypatch.setattr(gpu_processes, "_Call", made)
    options: Any = SimpleNamespace(limits=SimpleNamespace(seconds=50.0))
    artifact: Any = None
    with GpuProcesses(2, "tensorrt") as backend:
        assert list(backend.label_files([], artifact, options)) == []
    assert patiences == [300.0 + 4 * 50.0]
    with pytest.raises(ValueError, match="closed"):
        next(backend.label_files([], artifact, options))


def test_files_are_no_reason_where_the_network_was_never_open(call: _Call) -> None:
    """So a GPU that cannot be opened makes no file an error, nor has it tried alone."""
    child_of(call, gpu=1)
    for ready, ended in ((False, 0), (True, 1)):
        child, _ = child_of(call, files=2)
        child.ready = ready
        call._give_up(child, DeviceError("no driver"))
        assert call._jobs.take().ended == ended
        assert child in call._ended


def test_jobs_end_together(call: _Call) -> None:
    """What came while a job was at its end is counted with it; what was stopped has no label."""
    child, theirs = child_of(call, files=2)
    child.begin(Job(deque([(2, "2.mp3")])))
    assert not child.wants_more
    theirs.send(Message(jobs=2))
    call._receive(child)
    assert (child.jobs, len(child.held)) == (0, 0)
    assert child.wants_more


def test_a_label_goes_to_its_file_where_one_before_it_is_missing(call: _Call) -> None:
    """As of a process that was stopped while a file hung."""
    child, theirs = child_of(call, files=3)
    child.begin(Job(deque([(3, "3.mp3")])))
    for number in (1, 3):
        theirs.send(Message(SongLabel(f"{number}.mp3"), {}))
        call._receive(child)
    assert [path for job in child.held for _, path in job.files] == ["0.mp3", "2.mp3"]
    assert [label.path for label in call._jobs.labels.rest()] == ["1.mp3", "3.mp3"]


def test_an_error_that_no_other_gpu_would_mend_is_raised(call: _Call) -> None:
    child, theirs = child_of(call, files=2)
    theirs.send(Message(error=MerError("no room on the disk")))
    with pytest.raises(MerError, match="no room") as caught:
        call._receive(child)
    assert type(caught.value) is MerError
    assert call._children == [child]


def test_a_label_brings_its_seconds(call: _Call) -> None:
    child, theirs = child_of(call, files=1)
    for seconds in (1.0, 2.0):
        child.held.append(Job(deque([(0, "0.mp3")])))
        theirs.send(Message(SongLabel("0.mp3"), {"decode": seconds}))
        call._receive(child)
    assert call._stages.decode == 3.0


def test_time_in_which_nobody_looked_is_no_silence(call: _Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the labels may be away for an hour."""
    clock = [0.0]
    monkeypatch.setattr(gpu_processes, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    child, theirs = child_of(call, files=3)
    labels = call.labels()
    for number, passed_s in enumerate((0.0, 3_600.0, 0.25)):
        theirs.send(Message(SongLabel(f"{number}.mp3"), {}))
        assert next(labels).path == f"{number}.mp3"
        clock[0] += passed_s
    theirs.send(Message(jobs=1))
    assert list(labels) == []
    assert child.silent_s <= 1.0
    assert not child.process.killed


def test_silence_goes_on_with_another_job_and_begins_with_the_first(call: _Call) -> None:
    child, _ = child_of(call)
    child.silent_s = 7.0
    child.begin(Job(deque([(0, "0.mp3")])))
    assert child.silent_s == 0
    child.silent_s = 7.0
    child.begin(Job(deque([(1, "1.mp3")])))
    assert child.silent_s == 7.0


def test_after_a_stop_nothing_is_begun(call: _Call) -> None:
    call._jobs.give_back(Job(deque([(0, "0.mp3")])), begun=False)
    child, _ = child_of(call)
    call._stop.set()
    call._begin_jobs()
    assert call._processes_stop.is_set()
    assert child.jobs == 0


def test_a_process_that_died_is_waited_for_to_say_how(call: _Call) -> None:
    class Died(Process):
        def join(self, timeout: float) -> None:
            self.exitcode = -9

    child, theirs = child_of(call)
    child.process = Died()
    theirs.close()
    with pytest.raises(DeviceError, match=r"the last process that had a GPU died \(exit code -9\)"):
        call._receive(child)


def test_a_process_that_died_with_a_job_unread_is_noticed(call: _Call) -> None:
    """Its end of the pipe has bytes that nobody read: then the pipe is reset, and not at its end."""
    child, theirs = child_of(call, files=2)
    child_of(call, gpu=1)
    theirs.close()
    call._receive(child)
    assert child in call._ended
    assert len(call._jobs.take().files) == 2


def test_a_process_without_files_is_not_hung(call: _Call) -> None:
    """However long the others have theirs."""
    idle, _idles = child_of(call)
    busy, theirs = child_of(call, gpu=1, files=1)
    idle.silent_s = 1_000.0
    theirs.send(Message(SongLabel("0.mp3"), {}))
    theirs.send(Message(jobs=1))
    assert [label.path for label in call.labels()] == ["0.mp3"]
    assert not idle.process.killed
    assert call._children == [idle, busy]


def test_the_end_of_a_job_is_none_of_the_next(call: _Call) -> None:
    child, theirs = child_of(call, files=1)
    child.begin(Job(deque([(1, "1.mp3")])))
    theirs.send(Message(SongLabel("0.mp3"), {}))
    theirs.send(Message(jobs=1))
    for _ in range(2):
        call._receive(child)
    assert (child.jobs, [job.files for job in child.held]) == (1, [deque([(1, "1.mp3")])])


def test_a_process_that_does_not_end_is_killed(call: _Call) -> None:
    """Else it would keep its GPU; also one that was given up."""
    child, _ = child_of(call)
    other, _ = child_of(call, gpu=1)
    call._give_up(other, DeviceError("Xid 79"))
    other.process.killed = False
    call.close()
    assert child.process.killed
    assert other.process.killed
