"""Several GPUs of one machine: a process for each, which decodes, makes images and labels by itself."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any, Self

from .artifact import Artifact
from .device import DeviceNetwork, open_device
from .errors import DeviceError, MerError
from .images import ImageOptions, samples_from_file
from .labeler import SongLabel, StageSeconds, label_in_pool
from .workers import WorkerPool

_SPAWN = get_context("spawn")
_FIRST, _MOST = 64, 1_024  # files in one job: small at first, so that small catalogues are shared out too
_AHEAD = 3  # jobs a process that may be done, or at work, beyond the first one that is not

Open = Callable[[Artifact, int], DeviceNetwork]


@dataclass(eq=False)
class _Child:
    process: Any
    pipe: Connection
    has: deque[tuple[int, str]] = field(default_factory=deque)
    busy: bool = False


class GpuProcesses:
    """Labels on ``count`` GPUs; a context manager. Labels come in the order of the files.

    A process that dies costs time but no file: what it had is given to another.

    Args:
        workers: processes that decode, shared out; 0 is one a core.
        open_network: importable by name; opens what labels on the GPU of that number.
    """

    def __init__(self, count: int, name: str, workers: int = 0, open_network: Open = open_device) -> None:
        self.name, self._count, self._open = name, count, open_network
        self._workers = max(1, (workers or os.cpu_count() or 1) // count)
        self._children: list[_Child] = []
        self._stop = _SPAWN.Event()

    def label_files(
        self,
        paths: Iterable[str],
        artifact: Artifact,
        options: ImageOptions,
        stop: threading.Event | None = None,
        stages: StageSeconds | None = None,
    ) -> Iterator[SongLabel]:
        """See ``labeler.label_files``.

        Raises:
            MerError: what a process reports, or that all of them died.
        """
        self._start(artifact, options)
        items = enumerate(paths)
        size = _FIRST
        begun = following = 0
        done: dict[int, SongLabel] = {}
        again: deque[list[tuple[int, str]]] = deque()
        while True:
            if stop is not None and stop.is_set():
                self._stop.set()
            for child in self._children:
                if child.busy or self._stop.is_set():
                    continue
                job = again.popleft() if again else []
                if not job and begun - following < _AHEAD * self._count * _MOST:
                    job = list(islice(items, size))
                    begun += len(job)
                    size = min(2 * size, _MOST)
                if job:
                    child.has.extend(job)
                    child.busy = True
                    with suppress(OSError):  # dead: found when its pipe is read
                        child.pipe.send([path for _, path in job])
            if not any(child.busy for child in self._children):
                return
            for pipe in connection.wait([child.pipe for child in self._children], timeout=0.2):
                (child,) = (each for each in self._children if each.pipe is pipe)
                self._hear(child, done, again, stages)
            while following in done:
                yield done.pop(following)
                following += 1

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

    def _start(self, artifact: Artifact, options: ImageOptions) -> None:
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
        done: dict[int, SongLabel],
        again: deque[list[tuple[int, str]]],
        stages: StageSeconds | None,
    ) -> None:
        try:
            answer = child.pipe.recv()
        except (EOFError, OSError):
            self._children.remove(child)
            child.process.join()
            if child.has:
                again.append(list(child.has))
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
        done[position] = label
        if stages is not None:
            for name, value in seconds.items():
                setattr(stages, name, getattr(stages, name) + value)


def _label(
    pipe: Connection,
    stop: Any,
    open_network: Open,
    artifact: Artifact,
    gpu: int,
    options: ImageOptions,
    workers: int,
) -> None:
    """A process: jobs of paths come by the pipe, labels go back in their order, None after each job."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    with suppress(EOFError, OSError):
        try:
            with (
                open_network(artifact, gpu) as network,
                WorkerPool(samples_from_file, options, workers, options.limits.seconds) as pool,
            ):
                while True:
                    job = pipe.recv()
                    stages = StageSeconds()
                    before = dict(vars(stages))
                    for label in label_in_pool(pool, job, artifact, network, stop, stages):
                        now = dict(vars(stages))
                        pipe.send((label, {name: now[name] - before[name] for name in now}))
                        before = now
                    pipe.send(None)
        except MerError as error:
            pipe.send(error)
