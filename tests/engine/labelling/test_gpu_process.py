"""What a GPU's process says when it fails; it runs in this process, which it does not end."""

from __future__ import annotations

import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from merkit.engine.errors import DeviceError, MerError
from merkit.engine.labelling import gpu_process
from merkit.engine.labelling.gpu_process import Message, label_jobs
from merkit.engine.labelling.local import LocalBackend


class Ended(BaseException):
    """In the place of ``os._exit``."""


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Connection, Connection]:
    """The parent's end and the process's; nothing outside of it is changed."""

    def end(_: int) -> None:
        raise Ended

    monkeypatch.setattr(gpu_process.os, "_exit", end)
    monkeypatch.setattr(gpu_process.signal, "signal", lambda *_: None)
    monkeypatch.setattr(gpu_process, "ignore_interrupts", lambda: None)
    monkeypatch.setattr(gpu_process, "process_folder", lambda: tmp_path / "its own")
    return Pipe()


def run(pipe: Any, opening: Any) -> None:
    options: Any = None
    label_jobs(pipe, threading.Event(), 3, opening, options, options, 1)


def raising(error: Exception) -> Any:
    def fail(*_: Any) -> Any:
        raise error

    return fail


class Network:
    """One that is opened, and closed once."""

    name = "tensorrt"

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (DeviceError("an H100: ECC"), DeviceError, "an H100: ECC"),
        (MerError("no model"), MerError, "no model"),
        (
            OSError(28, "No space left on device"),
            MerError,
            "GPU 3's process failed: .*No space left on device",
        ),
        (EOFError("short file"), MerError, "GPU 3's process failed: short file"),
    ],
)
@pytest.mark.parametrize("when", ["opening", "labelling"])
def test_why_it_failed_is_told(
    pipe: tuple[Connection, Connection],
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    error: Exception,
    kind: type[MerError],
    text: str,
) -> None:
    """Also what the system says: only the pipe's own errors mean that nobody listens."""
    ours, theirs = pipe
    network = Network()
    opening = raising(error) if when == "opening" else lambda *_: network
    monkeypatch.setattr(LocalBackend, "label_files", raising(error))
    ours.send(["a.mp3"])
    with pytest.raises(Ended):
        run(theirs, opening)
    messages: list[Message] = [ours.recv() for _ in range(1 if when == "opening" else 2)]
    told = messages[-1].error
    assert told is not None
    assert type(told) is kind
    with pytest.raises(kind, match=text):
        raise told
    assert messages[:-1] == [Message()] * (when == "labelling")
    assert network.closed == (when == "labelling")


class Closing:
    """The process's end of a pipe, whose other end is closed when it wants a job."""

    def __init__(self, theirs: Connection, ours: Connection) -> None:
        self._ours, self._theirs, self.send = ours, theirs, theirs.send

    def recv(self) -> Any:
        self._ours.close()
        return self._theirs.recv()


@pytest.mark.parametrize("when", ["before it is open", "between jobs", "in a job"])
def test_it_ends_quietly_when_nobody_listens(
    pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    ours, theirs = pipe
    network = Network()

    def label_files(self: Any, paths: Any, *_: Any) -> Any:
        for path in paths:
            ours.close()
            yield SimpleNamespace(path=path)

    monkeypatch.setattr(LocalBackend, "label_files", label_files)
    if when == "in a job":
        ours.send(["a.mp3", "b.mp3"])
    elif when == "before it is open":
        ours.close()

    def opening(*_: Any) -> Any:
        return network

    if when == "between jobs":
        theirs = Closing(theirs, ours)
    run(theirs, opening)
    assert network.closed == 1


class Listed:
    """A pipe whose jobs are there already, and which keeps what is sent."""

    def __init__(self, *jobs: list[str]) -> None:
        self._jobs = list(jobs)
        self.sent: list[Message] = []
        self.send = self.sent.append

    def poll(self) -> bool:
        return bool(self._jobs)

    def recv(self) -> list[str]:
        if not self._jobs:
            raise EOFError
        return self._jobs.pop(0)


@pytest.mark.usefixtures("pipe")
def test_jobs_that_are_there_follow_one_another_and_each_label_has_its_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The GPU has no pause between jobs; the seconds of a label are no other's."""
    given: list[Any] = []

    def label_files(self: Any, paths: Any, artifact: Any, options: Any, stop: Any, stages: Any) -> Any:
        given.append(stop)
        for path in paths:
            stages.add({"decode": 1.0})
            yield SimpleNamespace(path=path)

    monkeypatch.setattr(LocalBackend, "label_files", label_files)
    pipe, stop, nothing = Listed(["a", "b"], ["c"], ["d"]), threading.Event(), SimpleNamespace()
    theirs: Any = pipe
    options: Any = nothing
    with pytest.raises(Ended):
        label_jobs(theirs, stop, 3, lambda *_: Network(), options, options, 1)  # pyright: ignore[reportArgumentType]
    ready, *labels, end = pipe.sent[:-1]
    assert (ready, end) == (Message(), Message(jobs=3))
    assert [message.label.path for message in labels if message.label] == ["a", "b", "c", "d"]
    assert [message.seconds["decode"] for message in labels] == [1.0] * 4
    assert given == [stop]


@pytest.mark.parametrize("closing", ["works", "fails"])
def test_why_it_failed_is_told_before_anything_is_closed(
    pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch, closing: str
) -> None:
    """Closing may hang after a GPU's error, or fail; the process ends in any case."""
    ours, theirs = pipe
    told: list[bool] = []

    class Broken(Network):
        def close(self) -> None:
            told.append(isinstance(ours.recv().error, DeviceError))
            if closing == "fails":
                raise RuntimeError("CUDA error 719")

    monkeypatch.setattr(LocalBackend, "label_files", raising(DeviceError("Xid 79")))
    ours.send(["a.mp3"])
    with pytest.raises(Ended):
        run(Ready(theirs), lambda *_: Broken())
    assert told == [True]


class Ready:
    """The process's end of a pipe; that the network is open is not sent."""

    def __init__(self, theirs: Connection) -> None:
        self._theirs, self.recv, self.poll = theirs, theirs.recv, theirs.poll

    def send(self, message: Message) -> None:
        if message != Message():
            self._theirs.send(message)
