"""When a GPU's process is given files, waited for, ended and started again; no process is started here."""

from __future__ import annotations

import threading
from collections import deque
from multiprocessing import Pipe, connection
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest
from merkit.engine.errors import DeviceError
from merkit.engine.labelling import gpu_processes
from merkit.engine.labelling.contract import StageSeconds
from merkit.engine.labelling.gpu_jobs import Job, Jobs
from merkit.engine.labelling.gpu_process import Message
from merkit.engine.labelling.gpu_processes import _Call, _Child
from merkit.engine.labelling.song_label import SongLabel


class Process:
    """One that was never started."""

    exitcode = None

    def __init__(self, **_: Any) -> None:
        self.killed = False

    def kill(self) -> None:
        self.killed = True

    def join(self, timeout: float) -> None:
        pass


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> _Call:
    """Of no files, with a patience of ten seconds, and of thirty with processes that labelled nothing yet."""
    spawn = SimpleNamespace(Process=Process, Pipe=Pipe, Event=threading.Event)
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


@pytest.mark.parametrize(("worked", "patience_s"), [(True, 10), (False, 30)])
def test_a_process_that_hangs_is_killed_when_its_time_is_up(
    call: _Call, worked: bool, patience_s: float
) -> None:
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
