"""A pool of child processes that outlives the crashes and hangs of its children.

Decoders of hostile or damaged files crash. The pools of concurrent.futures and multiprocessing fail or hang
when a child dies; this one loses a single file. The files that a dead child had are tried again one at a
time, so that only the file that killed it gets an error.
"""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_all_start_methods, get_context
from multiprocessing.connection import Connection
from typing import Any

from ..cpu import usable_cores
from ..errors import AudioError, MerError, UnreadableError
from ..signals import ignore_interrupts
from .child_process import runs_main_again, start_process
from .result_queue import ResultQueue

# A plain fork would copy locks that the runtimes' threads hold. The fork server is a process without such
# threads: it imports what the children need once, and forks them.
_CONTEXT: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
_IN_FLIGHT = 3  # items that a child has: one at work, one to go on with at once, one on its way
_HELD_BYTES = 256 << 20  # of results that the consumer has not taken; beyond that the children wait
_START_S = 300.0  # for a child to import what it needs, on a busy machine
_GRACE_S = 5.0  # beyond the limit of an item, before its child counts as hung

_Item = tuple[int, Any]  # position and item
_Result = tuple[int, Any]  # position and result or Failure


def start_ahead() -> None:
    """Starts the fork server and its imports, while the caller does something else."""
    if _CONTEXT.get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload([f"{__package__}.file_windows"])
        forkserver.ensure_running()


@dataclass(frozen=True)
class Failure:
    """Why an item has no result: one line for its row.

    ``unreadable``: another day it may have one, since its file could not be read at all.
    """

    reason: str
    unreadable: bool = False


@dataclass(eq=False)
class _Child:
    """A child process. ``items`` are the ones that it has, the one at work first.

    ``alone`` is set while it has one item of a child that died. ``since`` is when its oldest item began.
    """

    process: Any
    pipe: Connection
    items: deque[_Item] = field(default_factory=deque)
    ready: bool = False
    alone: bool = False
    since: float = 0.0


class WorkerPool:
    """Computes ``function(item, options)`` in child processes; a context manager.

    The function must be importable by name, its items and results picklable. A script in a file that uses
    this needs ``if __name__ == "__main__":``, as with every process that is not a plain fork.

    ``start_s`` is the CPU seconds of the children's start, ``idle_s`` the wall seconds in which they had no
    work or could not hand in a result, both summed over children.

    Args:
        workers: child processes; 0 is one a core.
        seconds: for one item, before it is stopped and becomes a ``Failure``.
    """

    def __init__(
        self, function: Callable[[Any, Any], Any], options: Any, workers: int = 0, seconds: float = 120.0
    ) -> None:
        self.options = options
        self._function = function
        self._limit_s = seconds + _GRACE_S
        start_ahead()
        self.start_s = 0.0
        self.idle_s = 0.0
        self._children = [self._spawn() for _ in range(workers or usable_cores())]
        self._results: ResultQueue | None = None  # of the map that is under way
        self._closed = False

    def map(
        self, items: Iterable[Any], ready: Callable[[], bool] = lambda: True
    ) -> Generator[_Result, None, None]:
        """Yields (position, result or ``Failure``) as they come, each position once.

        The children work ahead of the consumer, until the results that wait for it are too many bytes.
        ``items`` is read in another thread. While ``ready()`` is false no further items are begun.

        Raises:
            ValueError: the pool is closed, or an earlier map is neither at its end nor closed.
            MerError: a child process cannot start.
        """
        if self._closed or self._results is not None:
            raise ValueError("the pool is closed" if self._closed else "the pool is in use by another map")
        numbered = enumerate(items)
        results = ResultQueue(_HELD_BYTES, lambda results: self._run(results, numbered, ready))
        self._results = results
        try:
            while (result := results.get()) is not None:
                yield result
        finally:
            results.close()
            self._results = None

    def close(self) -> None:
        """Ends the children; what they had is dropped, and a map that is under way raises ValueError."""
        self._closed = True
        if self._results is not None:
            self._results.close()
        for child in self._children:
            _end(child)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self) -> _Child:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_work, args=(theirs, self._function, self.options), daemon=True)
        start_process(process)
        theirs.close()
        return _Child(process, ours)

    def _run(self, results: ResultQueue, items: Iterator[_Item], ready: Callable[[], bool]) -> None:
        """Hands out the items and collects the results, in the queue's thread."""
        alone: deque[_Item] = deque()  # had by children that died; tried one at a time
        for child in self._children:
            if child.items:  # of a map that was left early
                _end(child)
                self._replace(child)
        while not results.closed:
            may_begin = ready()
            for child in self._children:
                self._feed(child, items if may_begin else iter(()), alone)
            busy = [child for child in self._children if child.items]
            if busy:
                for result, size in self._receive(busy, alone):
                    results.put(result, size)
            elif may_begin:
                return
            else:
                time.sleep(0.01)

    def _feed(self, child: _Child, items: Iterator[_Item], alone: deque[_Item]) -> None:
        """Gives a child as many items as it may have; only one while some are to be tried alone."""
        if child.items and (child.alone or alone):
            return
        child.alone = bool(alone)
        chosen = [alone.popleft()] if alone else itertools.islice(items, _IN_FLIGHT - len(child.items))
        for position, item in chosen:
            if not child.items:
                child.since = time.monotonic()
            child.items.append((position, item))
            with suppress(OSError):  # the child is dead, which is noticed when its pipe is read
                child.pipe.send(item)

    def _receive(self, busy: list[_Child], alone: deque[_Item]) -> Iterator[tuple[_Result, int]]:
        """Yields the results that come within a moment, with their bytes; replaces dead and hung children."""
        readable = connection.wait([child.pipe for child in busy], timeout=0.2)
        for child in busy:
            if child.pipe in readable:
                yield from self._take(child, alone)
            elif time.monotonic() - child.since > (self._limit_s if child.ready else _START_S):
                yield from self._stop_hung(child, alone)

    def _take(self, child: _Child, alone: deque[_Item]) -> Iterator[tuple[_Result, int]]:
        """Reads what a child sent: that it is ready, or its oldest item's result."""
        try:
            content = child.pipe.recv_bytes()
        except (EOFError, OSError):
            yield from self._bury(child, alone)
            return
        result, seconds = pickle.loads(content)
        child.since = time.monotonic()
        if not child.ready:
            child.ready = True
            self.start_s += seconds
            return
        self.idle_s += seconds
        position, _ = child.items.popleft()
        yield (position, result), len(content)

    def _stop_hung(self, child: _Child, alone: deque[_Item]) -> Iterator[tuple[_Result, int]]:
        child.process.kill()
        position, _ = child.items.popleft()
        yield (position, Failure(f"took longer than {self._limit_s:.0f} s and was stopped")), 0
        child.alone = False  # the item that hung is known; the others are tried again
        yield from self._bury(child, alone)

    def _bury(self, child: _Child, alone: deque[_Item]) -> Iterator[tuple[_Result, int]]:
        """Replaces a dead child. Its items are to be tried alone; one that was alone killed it."""
        child.process.join(_GRACE_S)  # its pipe ends before it does, and its exit code says why
        _end(child)
        if not child.ready:
            raise MerError(_why_no_start(child.process.exitcode))
        if child.alone and child.items:
            position, _ = child.items.popleft()
            yield (position, Failure(f"the decoder crashed ({_death(child.process.exitcode)})")), 0
        alone.extend(child.items)
        self._replace(child)

    def _replace(self, child: _Child) -> None:
        self._children[self._children.index(child)] = self._spawn()


def _end(child: _Child) -> None:
    child.process.kill()
    child.process.join()
    child.pipe.close()


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _why_no_start(exit_code: int | None) -> str:
    reason = f"a worker process cannot start ({_death(exit_code)})"
    if exit_code == 1 and runs_main_again():  # Python's code for an exception
        reason += '; a script that labels needs: if __name__ == "__main__":'
    return reason


def _keep_memory() -> None:
    """Lets glibc keep up to 256 MB of freed memory.

    It would return big blocks to the system at once, and decoding would spend a sixth of its time on having
    them mapped again. Other C libraries have no such setting.
    """
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 256 << 20)  # M_TRIM_THRESHOLD
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD: its largest value


def _work(pipe: Connection, function: Callable[[Any, Any], Any], options: Any) -> None:
    """Runs in a child: sends (None, CPU seconds of its start), then (result, idle seconds) for each item."""
    ignore_interrupts()
    _keep_memory()
    # mpg123 writes a line for every damaged frame; errors that matter come back as results.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(EOFError, OSError):
        pipe.send((None, time.process_time()))  # ready: if it dies after this, an item killed it
        finished = time.monotonic()
        while True:
            item = pipe.recv()
            idle_s = time.monotonic() - finished
            result = _result(function, item, options)
            finished = time.monotonic()
            pipe.send((result, idle_s))


def _result(function: Callable[[Any, Any], Any], item: Any, options: Any) -> Any:
    try:
        return function(item, options)
    except MerError as error:  # a package that is missing says nothing about the file either
        return Failure(str(error), isinstance(error, UnreadableError) or not isinstance(error, AudioError))
    except Exception as error:  # a bug costs one row, not the run
        return Failure(f"internal error: {type(error).__name__}: {error}")
