"""Several GPUs of one machine: a process for each, which decodes, computes log-mels and labels by itself.

After most errors of a GPU nothing more can be done in its process, and a GPU may also hang. Such a process is
ended, and the others go on with its files.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any

from ..artifact import Artifact
from ..closing import ClosedByWith
from ..cpu import usable_cores
from ..errors import DeviceError
from .child_process import start_process
from .contract import StageSeconds
from .file_windows import WindowOptions
from .gpu_jobs import Job, Jobs
from .gpu_pipeline import open_on_its_gpu
from .gpu_process import Message, OpenNetwork, label_jobs
from .pool_child import refusals
from .song_label import SongLabel

_SPAWN = get_context("spawn")
_STARTS = 3  # of one GPU's process, at most
_START_S = 900.0  # at least, to its first label: it loads an engine, compiles kernels, starts decoders
_PATIENCE_S = 300.0  # without a label, beyond the limits of the files that are waited for
_LONGEST_LOOK_S = 1.0  # of time that counts against a process, in one pass of the loop that watches it
_log = logging.getLogger(__name__)


class GpuProcesses(ClosedByWith):
    """See ``LabelBackend``: each call has one process for each of ``count`` GPUs.

    A process that dies, hangs, or whose GPU fails costs time but no file: another one gets what it had. Where
    none is left, those that had labelled something are started again. A file that three of them had when they
    ended, the last one alone, becomes an error.

    Args:
        name: of the runtime.
        workers: processes that decode, shared out to the GPUs; 0 is one a core.
        open_network: importable by name; opens the network on the GPU of that number.
    """

    def __init__(
        self, count: int, name: str, workers: int = 0, open_network: OpenNetwork = open_on_its_gpu
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
        stop, stages = stop or threading.Event(), stages or StageSeconds()
        arguments = self._open_network, artifact, options, self._workers
        patience_s = _PATIENCE_S + 4 * options.limits.seconds
        call = _Call(Jobs(paths, self._count), stop, stages, arguments, patience_s)
        self._calls.append(call)
        try:
            for gpu in range(self._count):
                call.start_process(gpu)
            yield from call.labels()
        finally:
            self._calls.remove(call)
            call.close()

    def close(self) -> None:
        """Ends the processes, and theirs."""
        self._closed = True
        for call in self._calls:
            call.close()


@dataclass(eq=False)
class _Child:
    """A GPU's process; ``ready``: its network is open.

    ``held`` are its jobs with files that have no label yet, the oldest first. Of ``jobs`` it did not say that
    they are at their end. ``silent_s`` is for how long it gave nothing while it had one.
    """

    gpu: int
    process: Any
    pipe: Connection
    held: deque[Job] = field(default_factory=deque)
    jobs: int = 0
    ready: bool = False
    silent_s: float = 0.0

    @property
    def wants_more(self) -> bool:
        """Whether it is at its last job: the next is there before that ends, so that the GPU has no pause."""
        return not self.held or (len(self.held) == 1 and not self.held[0].alone)

    def begin(self, job: Job) -> None:
        self.silent_s = self.silent_s if self.jobs else 0.0
        self.held.append(job)
        self.jobs += 1
        with suppress(OSError):  # the process is dead, which is noticed when its pipe is read
            self.pipe.send([path for _, path in job.files])

    def labelled(self, path: str) -> int:
        """The position of the file whose label has come: the first one, but where the run is stopped."""
        job, file = next((job, file) for job in self.held for file in job.files if file[1] == path)
        job.files.remove(file)
        if not job.files:
            self.held.remove(job)
        return file[0]


@dataclass(eq=False)
class _Call:
    """One call of ``label_files``, with its processes."""

    _jobs: Jobs
    _stop: threading.Event
    _stages: StageSeconds
    _arguments: tuple[OpenNetwork, Artifact, WindowOptions, int]
    _patience_s: float
    _children: list[_Child] = field(default_factory=list)
    _ended: list[_Child] = field(default_factory=list)  # given up; some may still free what they have
    _starts: Counter[int] = field(default_factory=Counter)
    _worked: set[int] = field(default_factory=set)  # GPUs that labelled since their process was started
    _processes_stop: Any = field(default_factory=_SPAWN.Event)

    def start_process(self, gpu: int) -> None:
        self._starts[gpu] += 1
        self._worked.discard(gpu)
        with refusals():
            ours, theirs = _SPAWN.Pipe()
            with theirs:
                arguments = (theirs, self._processes_stop, gpu, *self._arguments)
                process = _SPAWN.Process(target=label_jobs, args=arguments)  # no daemon: it has children
                start_process(process)
        self._children.append(_Child(gpu, process, ours))

    def labels(self) -> Iterator[SongLabel]:
        """Labels in the order of the paths; where the call is stopped, those that are there."""
        return self._jobs.labels.and_rest(self._all_labels())

    def _all_labels(self) -> Iterator[SongLabel]:
        looked = time.monotonic()
        while True:
            if not self._children:
                raise ValueError("the backend was closed while it labelled")
            self._begin_jobs()
            if not any(child.jobs for child in self._children):
                return
            # Time in which this loop did not run is no process's fault.
            passed_s = min(time.monotonic() - looked, _LONGEST_LOOK_S)
            looked = time.monotonic()
            for pipe in connection.wait([child.pipe for child in self._children], timeout=0.2):
                self._receive(next(child for child in self._children if child.pipe is pipe))
            for child in [child for child in self._children if child.jobs]:
                child.silent_s += passed_s
                least_s = 0.0 if child.gpu in self._worked else _START_S
                patience_s = max(least_s, self._patience_s)
                if child.silent_s > patience_s and not child.pipe.poll():
                    child.process.kill()
                    self._give_up(child, DeviceError(f"it gave nothing for {patience_s:.0f} s"))
            yield from self._jobs.labels.ready()

    def close(self) -> None:
        self._processes_stop.set()
        children = [*self._children, *self._ended]
        for child in children:
            child.pipe.close()  # a process ends when it finds it closed
        for child in children:
            child.process.join(10)
            child.process.kill()
            child.process.join(10)  # one that the driver holds cannot be killed either
        self._children.clear()
        self._ended.clear()

    def _begin_jobs(self) -> None:
        if self._stop.is_set():
            self._processes_stop.set()
            return
        for child in self._children:
            if child.wants_more and (job := self._jobs.take(idle=not child.jobs)).files:
                child.begin(job)

    def _receive(self, child: _Child) -> None:
        try:
            message: Message = child.pipe.recv()
        except (EOFError, OSError):
            child.process.join(10)
            reason = f"the last process that had a GPU died (exit code {child.process.exitcode})"
            self._give_up(
                child, DeviceError(reason), f"its process died (exit code {child.process.exitcode})"
            )
            return
        child.silent_s = 0.0
        if isinstance(message.error, DeviceError):
            self._give_up(child, message.error)
        elif message.error is not None:  # of the model, or the system: no other GPU would help
            raise message.error
        elif not child.ready:
            child.ready = True
        elif message.label is None:
            child.jobs -= message.jobs
            if not child.jobs:  # where it was stopped, some files have no label
                child.held.clear()
        else:
            position = child.labelled(message.label.path)
            self._worked.add(child.gpu)
            self._jobs.labels[position] = message.label
            self._stages.add(message.seconds)

    def _give_up(self, child: _Child, error: DeviceError, reason: str = "") -> None:
        """Goes on without a process; its files are another's.

        Raises:
            DeviceError: no process is left, nor a GPU on which one could be started again.
        """
        self._children.remove(child)
        self._ended.append(child)
        for job in child.held:
            self._jobs.give_back(job, child.ready)
        if not self._children:
            for gpu in [gpu for gpu in sorted(self._worked) if self._starts[gpu] < _STARTS]:
                self.start_process(gpu)
        if not self._children:
            raise error from None
        _log.warning("GPU %d: %s; its files go to the others", child.gpu, reason or error)
