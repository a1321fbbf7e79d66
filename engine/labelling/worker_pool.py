"""A pool of child processes that survives what its work does to them.

A decoder's crash or hang costs one child. The files that a crashed child had are tried again one at
a time, so that the culprit is known and the others are not lost. concurrent.futures' pool gives up
as a whole when one child dies, which is why this is here.
"""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_all_start_methods, get_context
from multiprocessing.connection import Connection
from typing import Any

from ..cpu import usable_cores
from ..errors import MerError
from ..signals import ignore_interrupts

# A fork of this process would copy the runtimes' threads' locks; a server without any imports what the
# children need once, and forks them.
_CONTEXT: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
_IN_FLIGHT = 3  # a child: one at work, one to begin with at once, one on its way
_HELD_BYTES = 256 << 20  # of results that wait for the consumer; then the children wait too
_START_S = 300.0  # for a child to import what it needs, on a machine with much else to do
_GRACE_S = 5.0  # beyond the file's own limit, before a child is taken for hung


def start_ahead() -> None:
    """Begins to import what the children need, in their server, while the caller does something else."""
    if _CONTEXT.get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload([f"{__package__}.file_windows"])
        forkserver.ensure_running()


@dataclass(frozen=True)
class Failure:
    """Why an item has no result: a line for its row."""

    reason: str


@dataclass(eq=False)
class _Child:
    process: Any
    pipe: Connection
    had: deque[tuple[int, Any]] = field(default_factory=deque)
    ready: bool = False
    alone: bool = False
    since: float = 0.0


class WorkerPool:
    """``function(item, options)`` in ``workers`` child processes, for as many items as come.

    The function must be importable by name, its items and results picklable. Use as a context
    manager, under ``if __name__ == "__main__"`` in scripts, as with every process that is not a plain fork.
    ``start_s`` adds up the CPU seconds of the children's start, ``idle_s`` the wall seconds that they
    waited for work or to hand it in.
    """

    def __init__(
        self, function: Callable[[Any, Any], Any], options: Any, workers: int = 0, seconds: float = 120.0
    ) -> None:
        self._function, self._options = function, options
        self._deadline = seconds + _GRACE_S
        start_ahead()
        self.start_s = 0.0
        self.idle_s = 0.0
        self._children = [self._spawn() for _ in range(workers or usable_cores())]
        self._stop = threading.Event()

    def map(
        self, items: Iterable[Any], ready: Callable[[], bool] = lambda: True
    ) -> Iterator[tuple[int, Any]]:
        """Yields (position, result or ``Failure``) as they come, each position once.

        Children work on while the consumer does, until the results that wait for it are too many or
        too big. While ``ready()`` is false no further items are begun.
        """
        results = _Results(_HELD_BYTES)
        self._stop.clear()
        pump = threading.Thread(target=self._pump, args=(iter(items), ready, results), daemon=True)
        pump.start()
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self._stop.set()
            results.close()
            pump.join()

    def close(self) -> None:
        """Ends the children; what they had in hand is dropped."""
        for child in self._children:
            _end(child)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self) -> _Child:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_work, args=(theirs, self._function, self._options), daemon=True)
        process.start()
        theirs.close()
        return _Child(process, ours)

    def _pump(self, items: Iterator[Any], ready: Callable[[], bool], results: _Results) -> None:
        try:
            for result, size in self._run(enumerate(items), ready):
                results.put(result, size)
            results.put(None)
        except BaseException as error:  # the consumer must learn of it, whatever it is
            results.put(error)

    def _run(
        self, items: Iterator[tuple[int, Any]], ready: Callable[[], bool]
    ) -> Iterator[tuple[tuple[int, Any], int]]:
        """Yields (position, result) and the result's bytes."""
        alone: deque[tuple[int, Any]] = deque()
        for place, child in enumerate(self._children):
            if child.had:  # work of a call that was left early
                _end(child)
                self._children[place] = self._spawn()
        while not self._stop.is_set():
            open_ = ready()
            for child in self._children:
                self._feed(child, items if open_ else iter(()), alone)
            busy = [child for child in self._children if child.had]
            if not busy:
                if open_:
                    return
                time.sleep(0.01)
                continue
            heard = connection.wait([child.pipe for child in busy], timeout=0.2)
            for place, child in enumerate(self._children):
                if child.pipe in heard:
                    try:
                        data = child.pipe.recv_bytes()
                    except (EOFError, OSError):
                        yield from self._replace(place, alone)
                        continue
                    result, seconds = pickle.loads(data)
                    child.since = time.monotonic()
                    if not child.ready:
                        child.ready = True
                        self.start_s += seconds
                        continue
                    position, _ = child.had.popleft()
                    self.idle_s += seconds
                    yield (position, result), len(data)
                elif child.had and time.monotonic() - child.since > (
                    self._deadline if child.ready else _START_S
                ):
                    child.process.kill()
                    position, _ = child.had.popleft()
                    yield (position, Failure(f"took longer than {self._deadline:.0f} s and was stopped")), 0
                    child.alone = False
                    yield from self._replace(place, alone)

    def _feed(self, child: _Child, items: Iterator[tuple[int, Any]], alone: deque[tuple[int, Any]]) -> None:
        """Fills a child's hands; gives it one item only while there are some to be tried alone."""
        if child.had and (child.alone or alone):
            return
        if alone:
            child.alone, chosen = True, [alone.popleft()]
        else:
            child.alone = False
            chosen = itertools.islice(items, _IN_FLIGHT - len(child.had))
        for item in chosen:
            if not child.had:
                child.since = time.monotonic()
            child.had.append(item)
            with suppress(OSError):  # dead: found, with what it had, when its pipe is read
                child.pipe.send(item[1])

    def _replace(self, place: int, alone: deque[tuple[int, Any]]) -> Iterator[tuple[tuple[int, Any], int]]:
        """A new child for a dead one, whose items are tried alone; one that was alone is the culprit."""
        child = self._children[place]
        _end(child)
        if not child.ready:
            raise MerError(
                f"a worker process cannot start ({_death(child.process.exitcode)}); "
                'a script that labels needs: if __name__ == "__main__":'
            )
        if child.alone and child.had:
            position, _ = child.had.popleft()
            yield (position, Failure(f"the decoder crashed ({_death(child.process.exitcode)})")), 0
        alone.extend(child.had)
        self._children[place] = self._spawn()


class _Results:
    """A queue between two threads that holds one result of any size, or several up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held, self._closed = limit, 0, False
        self._queue: deque[tuple[Any, int]] = deque()
        self._changed = threading.Condition()

    def put(self, result: Any, size: int = 0) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._queue or self._held + size <= self._limit
            )
            self._queue.append((result, size))
            self._held += size
            self._changed.notify_all()

    def get(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._queue)
            result, size = self._queue.popleft()
            self._held -= size
            self._changed.notify_all()
            return result

    def close(self) -> None:
        """Nobody will take results any more: ``put`` must not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _end(child: _Child) -> None:
    child.process.kill()
    child.process.join()
    child.pipe.close()


def _death(exit_code: int | None) -> str:
    import signal

    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _keep_memory() -> None:
    """glibc returns big blocks to the system at once, and decoding spends a sixth of its time on having
    them mapped again: up to 256 MB are kept instead. Other libraries do without."""
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 256 << 20)  # M_TRIM_THRESHOLD
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD: the most that it takes


def _work(pipe: Connection, function: Callable[[Any, Any], Any], options: Any) -> None:
    ignore_interrupts()
    _keep_memory()
    # mpg123 writes a line for every damaged frame; what matters comes back as a row.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(EOFError, OSError):
        pipe.send((None, time.process_time()))  # ready: from here on a death is an item's doing
        done = time.monotonic()
        while True:
            item = pipe.recv()
            idle_s = time.monotonic() - done
            try:
                result = function(item, options)
            except MerError as error:
                result = Failure(str(error))
            except Exception as error:  # one row, not the end of the run
                result = Failure(f"internal error: {type(error).__name__}: {error}")
            done = time.monotonic()
            pipe.send((result, idle_s))
