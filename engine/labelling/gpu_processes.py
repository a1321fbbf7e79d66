"""Several GPUs of one machine: a process for each, which decodes, makes images and labels by itself."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
from .contract import StageSeconds
from .file_windows import WindowOptions
from .gpu_pipeline import GpuPipeline, open_gpu_pipeline
from .local import LocalBackend
from .song_label import SongLabel

_SPAWN = get_context("spawn")
_FIRST, _MOST = 64, 1_024  # files in one job: small at first, so that small catalogues are shared out too
_AHEAD = 3  # jobs a process that may be done, or at work, beyond the first one that is not

Open = Callable[[Artifact, int], GpuPipeline]


@dataclass(eq=False)
class _Child:
    process: Any
    pipe: Connection
    has: deque[tuple[int, str]] = field(default_factory=deque)
    busy: bool = False

    def begin(self, job: list[tuple[int, str]]) -> None:
        self.has.extend(job)
        self.busy = True
        with suppress(OSError):  # dead: found when its pipe is read
            self.pipe.send([path for _, path in job])


class _Jobs:
    """Paths in jobs of growing size, and labels that wait for those before them."""

    def __init__(self, paths: Iterable[str], most_ahead: int) -> None:
        self._items = enumerate(paths)
        self._most_ahead = most_ahead
        self._size = _FIRST
        self._begun = self._next = 0
        self._returned: deque[list[tuple[int, str]]] = deque()
        self._done: dict[int, SongLabel] = {}

    def take(self) -> list[tuple[int, str]]:
        """The next job: what a dead process had, else new paths; empty where nothing may be begun."""
        if self._returned:
            return self._returned.popleft()
        if self._begun - self._next >= self._most_ahead:
            return []
        job = list(islice(self._items, self._size))
        self._begun += len(job)
        self._size = min(2 * self._size, _MOST)
        return job

    def give_back(self, job: list[tuple[int, str]]) -> None:
        """What a process had when it died."""
        self._returned.append(job)

    def done(self, position: int, label: SongLabel) -> None:
        """A label, in whichever order they come."""
        self._done[position] = label

    def ready(self) -> Iterator[SongLabel]:
        """Labels in the order of the paths."""
        while self._next in self._done:
            yield self._done.pop(self._next)
            self._next += 1


class GpuProcesses:
    """See ``LabelBackend``: one process for each of ``count`` GPUs.

    A process that dies costs time but no file: what it had is given to another.

    Args:
        workers: processes that decode, shared out; 0 is one a core.
        open_network: importable by name; opens what labels on the GPU of that number.
    """

    def __init__(
        self, count: int, name: str, workers: int = 0, open_network: Open = open_gpu_pipeline
    ) -> None:
        self.name, self._count, self._open = name, count, open_network
        self._workers = max(1, (workers or usable_cores()) // count)
        self._children: list[_Child] = []
        self._stop = _SPAWN.Event()

    def label_files(
        self,
        paths: Iterable[str],
        artifact: Artifact,
        options: WindowOptions,
        stop: threading.Event | None = None,
        stages: StageSeconds | None = None,
    ) -> Iterator[SongLabel]:
        self._start(artifact, options)
        jobs = _Jobs(paths, _AHEAD * self._count * _MOST)
        while True:
            if stop is not None and stop.is_set():
                self._stop.set()
            for child in self._children:
                if not child.busy and not self._stop.is_set() and (job := jobs.take()):
                    child.begin(job)
            if not any(child.busy for child in self._children):
                return
            for pipe in connection.wait([child.pipe for child in self._children], timeout=0.2):
                (child,) = (each for each in self._children if each.pipe is pipe)
                self._hear(child, jobs, stages)
            yield from jobs.ready()

    def close(self) -> None:
        """Ends the processes, and theirs."""
        self._stop.set()
        for child in self._children:
            child.pipe.close()  # they end when they find it closed
        for child in self._children:
            child.process.join(10)
            child.process.kill()
            child.process.join()
        self._children.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, artifact: Artifact, options: WindowOptions) -> None:
        for gpu in range(self._count):
            ours, theirs = _SPAWN.Pipe()
            arguments = (theirs, self._stop, self._open, artifact, gpu, options, self._workers)
            process = _SPAWN.Process(target=_label, args=arguments)  # no daemon: it has children itself
            process.start()
            theirs.close()
            self._children.append(_Child(process, ours))

    def _hear(
        self,
        child: _Child,
        jobs: _Jobs,
        stages: StageSeconds | None,
    ) -> None:
        try:
            answer = child.pipe.recv()
        except (EOFError, OSError):
            self._children.remove(child)
            child.process.join()
            if child.has:
                jobs.give_back(list(child.has))
            if not self._children:
                code = child.process.exitcode
                raise DeviceError(f"the last process that had a GPU died (exit code {code})") from None
            return
        if isinstance(answer, MerError):
            raise answer
        if answer is None:  # the job is done, or was stopped
            child.busy = False
            child.has.clear()
            return
        label, seconds = answer
        position, _ = child.has.popleft()
        jobs.done(position, label)
        if stages is not None:
            stages.add(seconds)


def _label(
    pipe: Connection,
    stop: Any,
    open_network: Open,
    artifact: Artifact,
    gpu: int,
    options: WindowOptions,
    workers: int,
) -> None:
    """A process: jobs of paths come by the pipe, labels go back in their order, None after each job."""
    ignore_interrupts()
    with suppress(EOFError, OSError):
        try:
            with LocalBackend(open_network(artifact, gpu), workers) as backend:
                while True:
                    job = pipe.recv()
                    stages = StageSeconds()
                    before = copy.copy(stages)
                    for label in backend.label_files(job, artifact, options, stop, stages):
                        pipe.send((label, stages.since(before)))
                        before = copy.copy(stages)
                    pipe.send(None)
        except MerError as error:
            pipe.send(error)
