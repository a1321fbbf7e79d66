"""Several GPUs of one machine: a process for each, which decodes, computes log-mels and labels by itself."""

from __future__ import annotations

import copy
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any, Self

from ..artifact import Artifact
from ..cpu import usable_cores
from ..errors import DeviceError, MerError
from ..signals import ignore_interrupts
from .child_process import start_process
from .contract import StageSeconds
from .file_windows import WindowOptions
from .gpu_pipeline import GpuPipeline, open_gpu_pipeline
from .local import LocalBackend
from .song_label import SongLabel

_SPAWN = get_context("spawn")
_FIRST, _MOST = 64, 1_024  # files of a job: few at first, so that small catalogues are shared out too
_AHEAD = 3  # jobs for each process that may be begun after the oldest file that is not labelled

OpenNetwork = Callable[[Artifact, int], GpuPipeline]


class GpuProcesses:
    """See ``LabelBackend``: each call has one process for each of ``count`` GPUs.

    A process that dies costs time but no file: another one gets what it had.

    Args:
        name: of the runtime.
        workers: processes that decode, shared out to the GPUs; 0 is one a core.
        open_network: importable by name; opens the network on the GPU of that number.
    """

    def __init__(
        self, count: int, name: str, workers: int = 0, open_network: OpenNetwork = open_gpu_pipeline
    ) -> None:
        self.name, self._count, self._open_network = name, count, open_network
        self._workers = max(1, (workers or usable_cores()) // count)
        self._calls: list[_Call] = []
        self._closed = False

    def label_files(
        self,
        paths: Iterable[str],
        artifact: Artifact,
        options: WindowOptions,
        stop: threading.Event | None = None,
        stages: StageSeconds | None = None,
    ) -> Iterator[SongLabel]:
        """See ``LabelBackend``."""
        if self._closed:
            raise ValueError("the backend is closed")
        jobs = _Jobs(paths, _AHEAD * self._count * _MOST)
        call = _Call(jobs, stop or threading.Event(), stages or StageSeconds())
        self._calls.append(call)
        try:
            for gpu in range(self._count):
                call.start_process(self._open_network, artifact, gpu, options, self._workers)
            yield from call.labels()
        finally:
            self._calls.remove(call)
            call.close()

    def close(self) -> None:
        """Ends the processes, and theirs."""
        self._closed = True
        for call in self._calls:
            call.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class _Message:
    """What a process sends: the next file's label with stage seconds, an error, or how many jobs it ended."""

    label: SongLabel | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: MerError | None = None
    jobs: int = 0


@dataclass(eq=False)
class _Child:
    """A GPU's process; ``files`` are those that it has and did not label yet, of so many ``jobs``."""

    process: Any
    pipe: Connection
    files: deque[tuple[int, str]] = field(default_factory=deque)
    jobs: int = 0
    newest: int = 0  # files of the job that it got last

    @property
    def wants_more(self) -> bool:
        """Whether it is at its last job: the next is there before that ends, so that the GPU has no pause."""
        return len(self.files) <= self.newest

    def begin(self, job: list[tuple[int, str]]) -> None:
        self.files.extend(job)
        self.jobs += 1
        self.newest = len(job)
        with suppress(OSError):  # the process is dead, which is noticed when its pipe is read
            self.pipe.send([path for _, path in job])


class _Jobs:
    """Paths, handed out in jobs of growing size, and the labels that wait for those before them."""

    def __init__(self, paths: Iterable[str], most_ahead: int) -> None:
        self._items = enumerate(paths)
        self._most_ahead = most_ahead
        self._size = _FIRST
        self._begun = self._next = 0
        self._returned: deque[list[tuple[int, str]]] = deque()
        self._labels: dict[int, SongLabel] = {}

    def take(self) -> list[tuple[int, str]]:
        """The next job: what a dead process had, or else new paths; empty where nothing may be begun."""
        if self._returned:
            return self._returned.popleft()
        if self._begun - self._next >= self._most_ahead:
            return []
        job = list(islice(self._items, self._size))
        self._begun += len(job)
        self._size = min(2 * self._size, _MOST)
        return job

    def give_back(self, job: list[tuple[int, str]]) -> None:
        """Takes back what a process had when it died."""
        self._returned.append(job)

    def add(self, position: int, label: SongLabel) -> None:
        """Takes a label; they come in any order."""
        self._labels[position] = label

    def ready(self) -> Iterator[SongLabel]:
        """Yields labels in the order of the paths."""
        while self._next in self._labels:
            yield self._labels.pop(self._next)
            self._next += 1


class _Call:
    """One call of ``label_files``, with its processes."""

    def __init__(self, jobs: _Jobs, stop: threading.Event, stages: StageSeconds) -> None:
        self._jobs, self._stop, self._stages = jobs, stop, stages
        self._children: list[_Child] = []
        self._processes_stop = _SPAWN.Event()

    def start_process(
        self, open_network: OpenNetwork, artifact: Artifact, gpu: int, options: WindowOptions, workers: int
    ) -> None:
        ours, theirs = _SPAWN.Pipe()
        arguments = (theirs, self._processes_stop, open_network, artifact, gpu, options, workers)
        process = _SPAWN.Process(target=_label_jobs, args=arguments)  # no daemon: it has children itself
        start_process(process)
        theirs.close()
        self._children.append(_Child(process, ours))

    def labels(self) -> Iterator[SongLabel]:
        """Yields labels in the order of the paths, until all are done or it is stopped."""
        while True:
            if not self._children:
                raise ValueError("the backend was closed while it labelled")
            self._begin_jobs()
            if not any(child.jobs for child in self._children):
                return
            for pipe in connection.wait([child.pipe for child in self._children], timeout=0.2):
                self._receive(next(child for child in self._children if child.pipe is pipe))
            yield from self._jobs.ready()

    def close(self) -> None:
        self._processes_stop.set()
        for child in self._children:
            child.pipe.close()  # a process ends when it finds it closed
        for child in self._children:
            child.process.join(10)
            child.process.kill()
            child.process.join()
        self._children.clear()

    def _begin_jobs(self) -> None:
        if self._stop.is_set():
            self._processes_stop.set()
            return
        for child in self._children:
            if child.wants_more and (job := self._jobs.take()):
                child.begin(job)

    def _receive(self, child: _Child) -> None:
        try:
            message: _Message = child.pipe.recv()
        except (EOFError, OSError):
            self._bury(child)
            return
        if message.error is not None:
            raise message.error
        if message.label is None:
            child.jobs -= message.jobs
            if not child.jobs:  # where it was stopped, some files have no label
                child.files.clear()
            return
        position, _ = child.files.popleft()
        self._jobs.add(position, message.label)
        self._stages.add(message.seconds)

    def _bury(self, child: _Child) -> None:
        """Gives back what a dead process had."""
        self._children.remove(child)
        child.process.join()
        if child.files:
            self._jobs.give_back(list(child.files))
        if not self._children:
            code = child.process.exitcode
            raise DeviceError(f"the last process that had a GPU died (exit code {code})") from None


def _label_jobs(
    pipe: Connection,
    stop: Any,
    open_network: OpenNetwork,
    artifact: Artifact,
    gpu: int,
    options: WindowOptions,
    workers: int,
) -> None:
    """Runs in a process: receives jobs, lists of paths; sends a ``_Message`` a label, and at jobs' ends."""
    ignore_interrupts()
    # timeout(1) and systemd send SIGTERM to every process. What this one has begun is to be finished: it ends
    # when its pipe is closed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        try:
            with LocalBackend(open_network(artifact, gpu), workers) as backend:
                while True:
                    jobs = [pipe.recv()]
                    stages = StageSeconds()
                    before = copy.copy(stages)
                    for label in backend.label_files(_paths(pipe, jobs), artifact, options, stop, stages):
                        pipe.send(_Message(label, stages.since(before)))
                        before = copy.copy(stages)
                    pipe.send(_Message(jobs=len(jobs)))
        except MerError as error:
            pipe.send(_Message(error=error))


def _paths(pipe: Connection, jobs: list[list[str]]) -> Iterator[str]:
    """The paths of a job, and of those that have come when it is at its end; they are added to ``jobs``."""
    yield from jobs[0]
    while pipe.poll():
        jobs.append(pipe.recv())
        yield from jobs[-1]
