"""Labelling on this machine: child processes read files ahead, and one network labels them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..arrays import Float32
from ..artifact import Artifact
from ..closing import ClosedByWith
from ..cpu import usable_cores
from ..errors import MerError
from ..runtimes import Runtime
from ..signals import StoppedAtOnce, StoppedError
from .child_process import FolderId, working_folder_id
from .contract import StageSeconds
from .file_windows import FileFacts, FileLogMels, WindowOptions, log_mels_from_file
from .further import label_from_outputs
from .in_order import LabelsInOrder
from .song_label import SongLabel, label_of_silence
from .worker_pool import Failure, WorkerPool

_BATCH = 32  # windows given to the network at once, at most
# On the CPU more of them leave the caches: with 32 the default's network takes half as much time again, and
# accurate 560 MB in place of 145.
_CPU_BATCH, _ON_CPU = 3, ("onnxruntime", "openvino", "openvino-bf16")
_AHEAD = 2_000  # files that may be begun after the oldest one that is not labelled


class FileNetwork(Protocol):
    """A network that takes whole files, and gives their logits when they are there."""

    name: str

    @property
    def work(self) -> Callable[[str, WindowOptions], Any]:
        """What a child process makes of a file for this network; importable by name, with ``facts``."""
        ...

    def add(self, key: Hashable, file: Any) -> Iterator[tuple[Any, Float32]]:
        """Takes a result of ``work``; yields (key, logits ``[windows, labels]``) of the files that are done.

        They may be files of earlier calls, also of one that nobody waits for any longer.
        """
        ...

    def flush(self) -> Iterator[tuple[Any, Float32]]:
        """Yields (key, logits) of all files that were added and not yet yielded."""
        ...

    def mended(self) -> FileNetwork:
        """Itself, for a call that begins; or another in its place, which is closed then.

        That is where an exception has ended ``add`` or ``flush`` in the middle, as Ctrl-C does, so that it
        does not know any longer whose windows it has. Calls that had begun before get a MerError of it.
        """
        ...

    def close(self) -> None: ...


class FileByFile:
    """A ``FileNetwork`` of a runtime that takes log-mels, which is closed with it.

    Windows of two files are never in one batch, so that a row depends on no other file.

    Args:
        batch: windows that the runtime gets at once, at most; 0 is what suits its device.
    """

    def __init__(self, runtime: Runtime, batch: int = 0) -> None:
        self.name, self._runtime = runtime.name, runtime
        self._batch = batch or (_CPU_BATCH if runtime.name in _ON_CPU else _BATCH)

    @property
    def work(self) -> Callable[[str, WindowOptions], FileLogMels]:
        return log_mels_from_file

    def add(self, key: Hashable, file: FileLogMels) -> Iterator[tuple[Any, Float32]]:
        starts = range(0, len(file.log_mels), self._batch)
        batches = (np.asarray(file.log_mels[start : start + self._batch]) for start in starts)
        parts = [self._runtime.infer(batch) for batch in batches]
        yield key, np.concatenate(parts)

    def flush(self) -> Iterator[tuple[Any, Float32]]:
        return iter(())

    def mended(self) -> FileByFile:
        return self  # it keeps nothing of a file

    def close(self) -> None:
        self._runtime.close()


class LocalBackend(ClosedByWith):
    """See ``LabelBackend``. The network is closed with it, and the child processes end.

    Several threads may use it if they may share the network.

    Args:
        workers: child processes that decode; 0 is one a core.
    """

    def __init__(self, network: FileNetwork, workers: int = 0) -> None:
        self.name = network.name
        self._network, self._workers = network, workers
        self._idle: WorkerPool | None = None  # of an earlier call
        self._idle_folder: FolderId | None = None  # in which that one's processes were started, and still are
        self._in_use: list[WorkerPool] = []
        # Two threads must not take the same idle pool; a map that was left may end anywhere, also in a block.
        self._lock = threading.RLock()
        self._closed = False
        self._process = os.getpid()

    def label_files(
        self,
        paths: Iterable[str],
        artifact: Artifact,
        options: WindowOptions,
        stop: threading.Event | None = None,
        stages: StageSeconds | None = None,
    ) -> Iterator[SongLabel]:
        """See ``LabelBackend``."""
        folder = working_folder_id()
        pool = self._take_pool(options, folder)
        try:
            stop, stages = stop or threading.Event(), stages or StageSeconds()
            run = _Run(pool, self._network, artifact, stop, stages, options.min_confidence)
            yield from run.labels(paths)
        except MerError:
            if self._closed:  # by another thread, so that the network failed
                raise ValueError("the backend is closed") from None
            raise
        finally:
            self._give_back(pool, folder)

    def close(self) -> None:
        """Ends the child processes and the network."""
        with self._lock:
            self._closed = True
            pools = [*self._in_use, *filter(None, [self._idle])]
            self._idle = None
        for pool in pools:
            pool.close()
        self._network.close()

    def _take_pool(self, options: WindowOptions, folder: FolderId | None) -> WorkerPool:
        """Child processes that no other call has, beside a network that is whole.

        Those of an earlier one with equal options and in the same working folder, or new ones.
        """
        if self._process != os.getpid():  # both would read from the same child processes
            raise MerError("another process began these labels: call label_files in this one")
        with self._lock:
            if self._closed:
                raise ValueError("the backend is closed")
            self._network = self._network.mended()
            pool, its_folder, self._idle = self._idle, self._idle_folder, None
            if pool is not None and (pool.options != options or its_folder != folder):
                pool.close()
                pool = None
            if pool is None:
                seconds = options.limits.seconds
                pool = WorkerPool(self._network.work, options, self._workers, seconds, share=True)
            self._in_use.append(pool)
        return pool

    def _give_back(self, pool: WorkerPool, folder: FolderId | None) -> None:
        with self._lock:
            self._in_use.remove(pool)
            # A second Ctrl-C may have kept a map from its end.
            kept = self._idle is None and not self._closed and pool.is_free
            if kept:
                self._idle, self._idle_folder = pool, folder
        if not kept:
            pool.close()


def network_threads(workers: int = 0) -> int:
    """Threads for a network beside so many processes that decode (0: one a core).

    Two threads need a fifth more CPU for a window than one, so it has only as many as keep up with decoding:
    half the processes, or half the cores where there are fewer.
    """
    cores = usable_cores()
    return max(1, min(workers or cores, cores) // 2)


@dataclass(eq=False)
class _Run:
    """One call of ``label_files``: the files under way, and labels that wait for those before them."""

    _pool: WorkerPool
    _network: FileNetwork
    _artifact: Artifact
    _stop: threading.Event
    _stages: StageSeconds
    _min_confidence: float | None
    _begun: dict[int, str] = field(default_factory=dict)  # paths that child processes have, by position
    _computing: dict[int, tuple[str, FileFacts]] = field(default_factory=dict)  # files that the network has
    _labels: LabelsInOrder = field(default_factory=LabelsInOrder)
    _newest: int = 0

    def labels(self, paths: Iterable[str]) -> Iterator[SongLabel]:
        """Yields labels in the order of the paths; where the run is stopped, those that are there."""
        try:
            yield from self._all_labels(paths)
        except StoppedError:  # a signal has ended the network's computation
            if not self._stop.is_set():
                raise
        except StoppedAtOnce:  # while files were waited for: labels behind them are finished, too
            yield from self._labels.rest()
            raise
        if self._stop.is_set():
            yield from self._labels.rest()

    def _all_labels(self, paths: Iterable[str]) -> Iterator[SongLabel]:
        earlier_start_s, earlier_idle_s = self._pool.start_s, self._pool.idle_s
        start_s, idle_s = self._stages.start, self._stages.idle
        waiting_since = time.perf_counter()
        with closing(self._pool.map(self._begin(paths), self._may_begin, self._stop)) as results:
            for position, result in results:
                self._stages.waited += time.perf_counter() - waiting_since
                self._take(position, result)
                del result  # its arrays' memory is wanted for the next
                if not self._may_begin():  # the file that all others wait for may wait for a full batch
                    self._finish(self._network.flush())
                yield from self._labels.ready()
                self._stages.start = start_s + self._pool.start_s - earlier_start_s
                self._stages.idle = idle_s + self._pool.idle_s - earlier_idle_s
                waiting_since = time.perf_counter()
        self._finish(self._network.flush())
        yield from self._labels.ready()

    def _begin(self, paths: Iterable[str]) -> Iterator[str]:
        """Hands out paths until the run is stopped; runs in the pool's thread."""
        for position, path in enumerate(paths):
            if self._stop.is_set():
                return
            self._begun[position], self._newest = path, position
            yield path

    def _may_begin(self) -> bool:
        # One slow file must not let thousands of labels after it wait in memory.
        return self._newest - self._labels.next < _AHEAD

    def _take(self, position: int, result: Any) -> None:
        """Gives a file that was read to the network; one that failed has its label at once."""
        path = self._begun.pop(position)
        if isinstance(result, Failure) and result.silent:
            self._labels[position] = label_of_silence(path, result.facts)
            return
        if isinstance(result, Failure):
            self._labels[position] = SongLabel(path, error=result.reason, unreadable=result.unreadable)
            return
        self._computing[position] = path, result.facts
        self._finish(self._network.add((self, position), result))
        self._stages.add(result.facts.seconds)

    def _finish(self, computed: Iterable[tuple[tuple[_Run, int], Float32]]) -> None:
        """Labels files whose logits are there. Where calls take turns, they may be another call's."""
        began = time.process_time()
        for (run, position), logits in computed:
            run._label(position, logits)
        self._stages.network += time.process_time() - began

    def _label(self, position: int, logits: Float32) -> None:
        path, facts = self._computing.pop(position)
        self._labels[position] = label_from_outputs(path, facts, logits, self._artifact, self._min_confidence)
