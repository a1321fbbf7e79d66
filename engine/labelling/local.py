"""Labelling on this machine: child processes read files ahead, and one network labels them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..cpu import usable_cores
from ..runtimes import Runtime
from .contract import StageSeconds
from .file_windows import FileFacts, FileLogMels, WindowOptions, log_mels_from_file
from .song_label import SongLabel, label_from_logits
from .worker_pool import Failure, WorkerPool

_BATCH = 32  # windows given to the network at once, at most
_AHEAD = 2_000  # files begun before the oldest one is done


class FileNetwork(Protocol):
    """A network that takes whole files, and gives their logits when they are there."""

    name: str

    @property
    def work(self) -> Callable[[str, WindowOptions], Any]:
        """What a child process makes of a file for this network; importable by name, with ``facts``."""
        ...

    def add(self, position: int, file: Any) -> Iterator[tuple[int, Float32]]:
        """Takes what ``work`` gave; yields (position, logits ``[windows, labels]``) of finished files."""
        ...

    def flush(self) -> Iterator[tuple[int, Float32]]:
        """Yields those of all files that were added."""
        ...

    def close(self) -> None: ...


class FileByFile:
    """A runtime that takes log-mels. Each file is a batch of its own: its row depends on no other file."""

    def __init__(self, runtime: Runtime) -> None:
        self.name = runtime.name
        self._runtime = runtime

    @property
    def work(self) -> Callable[[str, WindowOptions], FileLogMels]:
        return log_mels_from_file

    def add(self, position: int, file: FileLogMels) -> Iterator[tuple[int, Float32]]:
        starts = range(0, len(file.log_mels), _BATCH)
        parts = [self._runtime.infer(file.log_mels[start : start + _BATCH]) for start in starts]
        yield position, np.concatenate(parts)

    def flush(self) -> Iterator[tuple[int, Float32]]:
        return iter(())

    def close(self) -> None:
        self._runtime.close()


class LocalBackend:
    """See ``LabelBackend``. The network is closed with it; so are the child processes.

    Args:
        workers: child processes that decode; 0 is one a core.
    """

    def __init__(self, network: FileNetwork, workers: int = 0) -> None:
        self.name = network.name
        self._network, self._workers = network, workers
        self._pool: WorkerPool | None = None
        self._pool_options: WindowOptions | None = None

    def label_files(
        self,
        paths: Iterable[str],
        artifact: Artifact,
        options: WindowOptions,
        stop: threading.Event | None = None,
        stages: StageSeconds | None = None,
    ) -> Iterator[SongLabel]:
        pool = self._pool_for(options)
        run = _Run(pool, self._network, artifact, stop or threading.Event(), stages or StageSeconds())
        return run.labels(paths)

    def close(self) -> None:
        """Ends the child processes and the network."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        self._network.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pool_for(self, options: WindowOptions) -> WorkerPool:
        """The child processes, which outlive a call: the next one with equal options begins at once."""
        if self._pool is not None and options != self._pool_options:
            self._pool.close()
            self._pool = None
        if self._pool is None:
            work = self._network.work
            self._pool = WorkerPool(work, options, self._workers, options.limits.seconds)
            self._pool_options = options
        return self._pool


def network_threads(workers: int = 0) -> int:
    """Threads for a network beside so many processes that decode (0: one a core).

    Two threads need a fifth more CPU for a window than one, so it has as few as it can keep up with.
    """
    return max(1, (workers or usable_cores()) // 2)


class _Run:
    """One call of ``label_files``: what is under way, and labels that wait for those before them."""

    def __init__(
        self,
        pool: WorkerPool,
        network: FileNetwork,
        artifact: Artifact,
        stop: threading.Event,
        stages: StageSeconds,
    ) -> None:
        self._pool, self._network, self._artifact = pool, network, artifact
        self._stop, self._stages = stop, stages
        self._paths: dict[int, str] = {}  # begun, not yet read
        self._read: dict[int, tuple[str, FileFacts]] = {}  # with the network
        self._done: dict[int, SongLabel] = {}
        self._newest = self._next = 0

    def labels(self, paths: Iterable[str]) -> Iterator[SongLabel]:
        """Yields labels in the order of the paths."""
        start_s, idle_s = self._pool.start_s, self._pool.idle_s  # of earlier calls
        before = self._stages.start, self._stages.idle
        waiting = time.perf_counter()
        for position, answer in self._pool.map(self._begin(paths), self._may_begin):
            self._stages.waited += time.perf_counter() - waiting
            self._take(position, answer)
            if not self._may_begin():  # what is held back to fill a batch may be what all others wait for
                self._finish(self._network.flush())
            yield from self._ready()
            self._stages.start = before[0] + self._pool.start_s - start_s
            self._stages.idle = before[1] + self._pool.idle_s - idle_s
            waiting = time.perf_counter()
        self._finish(self._network.flush())
        yield from self._ready()

    def _begin(self, paths: Iterable[str]) -> Iterator[str]:
        """Hands out paths until it is stopped; called in the pool's thread."""
        for position, path in enumerate(paths):
            if self._stop.is_set():
                return
            self._paths[position], self._newest = path, position
            yield path

    def _may_begin(self) -> bool:
        # One slow file must not let thousands of rows after it wait in memory.
        return self._newest - self._next < _AHEAD

    def _take(self, position: int, answer: Any) -> None:
        """A file that was read goes to the network; one that failed has its label at once."""
        path = self._paths.pop(position)
        if isinstance(answer, Failure):
            self._done[position] = SongLabel(path, error=answer.reason)
            return
        self._read[position] = path, answer.facts
        self._finish(self._network.add(position, answer))
        self._stages.add(answer.facts.seconds)

    def _finish(self, finished: Iterable[tuple[int, Float32]]) -> None:
        began = time.process_time()
        for position, logits in finished:
            path, facts = self._read.pop(position)
            self._done[position] = label_from_logits(path, facts, logits, self._artifact.spec)
        self._stages.network += time.process_time() - began

    def _ready(self) -> Iterator[SongLabel]:
        while self._next in self._done:
            yield self._done.pop(self._next)
            self._next += 1
