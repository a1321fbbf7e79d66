"""A pool of child processes that outlives the crashes and hangs of its children.

Decoders of hostile or damaged files crash. The pools of concurrent.futures and multiprocessing fail or hang
when a child dies; this one loses a single file. The files that a dead child had are tried again one at a
time, so that only the file that killed it gets an error.
"""

from __future__ import annotations

import itertools
import os
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from multiprocessing import connection
from typing import Any

from ..closing import ClosedByWith
from ..cpu import usable_cores
from ..errors import MerError
from .bug_log import log_bug
from .child_process import working_folder, working_folder_id
from .pool_child import Child, Item, held_of, start_ahead, start_child
from .result_queue import ResultQueue
from .worker import Failure

_IN_FLIGHT = 3  # items that a child has: one at work, one to go on with at once, one on its way
_HELD_BYTES = 256 << 20  # of results that the consumer has not taken; beyond that the children wait
_START_S = 300.0  # for a child to import what it needs, on a busy machine
_GRACE_S = 5.0  # beyond the limit of an item, before its child counts as hung
_STARTS = 5  # of a child that dies before it has begun, where others of its pool have begun
_PAUSE_S = 0.2  # before it is started again: the memory that it lacked may be free by then
_STOP_S = 5.0  # for what children have at work once a run is stopped; docker kills after ten
_SIGNAL_S = 0.5  # from the death of a child by a signal to the group, until this process has handled it too
_LOOK_S = 0.1  # between two looks for children that hang
_LONGEST_LOOK_S = 1.0  # of time that counts against a child, from one look to the next

_Result = tuple[int, Any]  # position and result or Failure


class WorkerPool(ClosedByWith):
    """Computes ``function(item, options)`` in child processes; a context manager.

    The function must be importable by name, its items and results picklable. A script in a file that uses
    this needs ``if __name__ == "__main__":``, as with every process that is not a plain fork.

    ``start_s`` is the CPU seconds of the children's start, ``idle_s`` the wall seconds in which they had no
    work or could not hand in a result, both summed over children.

    Args:
        workers: child processes, at most; behind the first, one is started when the others have work. 0 is
            one a core.
        seconds: for one item, before it is stopped and becomes a ``Failure``.
        share: arrays of results lie in memory that the children share (``ResultReader``). It is for callers
            that drop each result before they take many more.
    """

    def __init__(
        self,
        function: Callable[[Any, Any], Any],
        options: Any,
        workers: int = 0,
        seconds: float = 120.0,
        share: bool = False,
    ) -> None:
        self.options = options
        self._function, self._share = function, share
        self._seconds, self._limit_s = seconds, seconds + _GRACE_S
        start_ahead()
        self.start_s = 0.0
        self.idle_s = 0.0
        self._children: list[Child] = []
        self._held: list[Any] = []  # processes that were killed and have not ended
        # Children to start, once there is work for them: not before this time, and how many starts were lost
        # in a row; None where there was none yet.
        self._missing: list[tuple[float, int | None]] = [(0.0, None)] * (workers or usable_cores())
        self._began = False  # a child has begun: the pool's function and options can be loaded
        # Where there is none, all pipes are looked at each time; with many children that takes long.
        self._pipes = selectors.DefaultSelector() if sys.platform != "win32" else None
        self._results: ResultQueue | None = None  # of the map that is under way
        self._stop = threading.Event()  # of that map
        # In which the process was when that began.
        self._folder, self._folder_id = working_folder(), working_folder_id()
        self._closed = False
        self._closing = threading.RLock()  # a pipe that two threads close may be another file's by then
        self._process = os.getpid()

    def map(
        self,
        items: Iterable[Any],
        ready: Callable[[], bool] = lambda: True,
        stop: threading.Event | None = None,
    ) -> Generator[_Result, None, None]:
        """Yields (position, result or ``Failure``) as they come, each position once.

        The children work ahead of the consumer, until the results that wait for it are too many bytes.
        ``items`` is read in another thread. Children that start read relative paths from the folder in which
        the process was when it began. While ``ready()`` is false no further items are begun.
        Some seconds after ``stop`` is set it ends, whatever the children still have; items of children that
        died meanwhile have no result.

        Raises:
            ValueError: the pool is closed, or an earlier map is neither at its end nor closed.
            MerError: a child process cannot start, or not again; or a disk holds too many of them.
        """
        if self._closed or self._results is not None:
            raise ValueError("the pool is closed" if self._closed else "the pool is in use by another map")
        numbered = enumerate(items)
        self._stop = stop or threading.Event()
        self._folder, self._folder_id = working_folder(), working_folder_id()
        results = ResultQueue(_HELD_BYTES, lambda queue: self._run(queue, queue.taken(numbered), ready))
        self._results = results
        try:
            yield from iter(results.get, None)  # nothing here refers to a result that the caller has dropped
        finally:
            results.close()
            self._results = None

    @property
    def is_free(self) -> bool:
        """Whether it can begin a map."""
        return not self._closed and self._results is None

    def close(self) -> None:
        """Ends the children; what they had is dropped, and a map that is under way raises ValueError.

        In a fork of this process it does nothing: the children are not that one's.
        """
        if self._process != os.getpid():
            return
        self._closed = True
        # Without the lock: the queue's thread may collect a map that was left, whose end closes the pool too.
        if (results := self._results) is not None:
            results.close()
        with self._closing:
            for child in self._children:
                child.process.kill()  # all of them first: each end may be waited for
            for child in self._children:
                child.end()
            if self._pipes is not None:
                self._pipes.close()

    def _start(self) -> Child:
        if working_folder_id() == self._folder_id:
            self._folder = working_folder()  # it may have been renamed
        child = start_child(self._function, self.options, self._share, self._folder)
        if self._pipes is not None:
            self._pipes.register(child.pipe, selectors.EVENT_READ, child)
        return child

    def _run(self, results: ResultQueue, items: Iterator[Item], ready: Callable[[], bool]) -> None:
        """Hands out the items and collects the results, in the queue's thread."""
        alone: deque[Item] = deque()  # had by children that died; tried one at a time
        for child in [*self._children]:
            # Of a map that was left early; or somebody has cleaned /tmp while it had no work.
            if child.items or not child.folder.is_dir():
                self._remove(child)
                self._missing.append((0.0, 0))
        looked = time.monotonic()
        stopped_s = 0.0
        while not results.closed and stopped_s < _STOP_S:
            passed_s = time.monotonic() - looked
            if passed_s >= _LOOK_S:
                looked += passed_s
                # Time in which this loop did not run is no child's fault: the whole group may have been
                # stopped (Ctrl-Z), and nobody takes results while the consumer is busy.
                self._look(min(passed_s, _LONGEST_LOOK_S), results, alone)
                stopped_s += passed_s if self._stop.is_set() else 0.0
            may_begin = ready()
            self._hand_out(items if may_begin else iter(()), alone, results)
            if any(child.items for child in self._children):
                for child in self._readable():
                    self._take(child, results, alone)
            elif self._stop.is_set() or (may_begin and self._children):
                return
            else:
                time.sleep(0.01)

    def _hand_out(self, items: Iterator[Item], alone: deque[Item], results: ResultQueue) -> None:
        """Gives children as many items as they may have; none gets a second one before each has its first."""
        hungry = [child for child in self._children if len(child.items) < _IN_FLIGHT]
        for most in range(1, _IN_FLIGHT + 1):
            for child in hungry:
                self._feed(child, items, alone, most)
            if most == 1:
                for child in self._start_missing(results):
                    self._feed(child, items, alone, most)
                    hungry.append(child)

    def _feed(self, child: Child, items: Iterator[Item], alone: deque[Item], most: int) -> None:
        """Gives a child items until it has ``most``; only one while some are to be tried alone."""
        if child.items and (child.alone or alone):
            return
        child.alone = bool(alone)
        chosen = [alone.popleft()] if alone else itertools.islice(items, max(0, most - len(child.items)))
        for position, item in chosen:
            if not child.items:
                child.watched_s = 0.0
            child.items.append((position, item))
            with suppress(OSError):  # the child is dead, which is noticed when its pipe is read
                child.pipe.send(item)

    def _readable(self) -> list[Child]:
        """Children that sent something, or died, within a moment."""
        if self._pipes is not None:
            return [key.data for key, _ in self._pipes.select(_LOOK_S)]
        pipes = connection.wait([child.pipe for child in self._children], timeout=_LOOK_S)
        return [child for child in self._children if child.pipe in pipes]

    def _look(self, passed_s: float, results: ResultQueue, alone: deque[Item]) -> None:
        """Stops children that hang, after so much time in which they were watched."""
        for child in [*self._children]:
            child.watched_s += passed_s if child.items else 0.0
            if child.watched_s > (self._limit_s if child.ready else _START_S):
                # A result may have come since: the one before it was handed on, which can take long.
                if child.pipe.poll():
                    self._take(child, results, alone)
                else:
                    self._stop_hung(child, results, alone)

    def _take(self, child: Child, results: ResultQueue, alone: deque[Item]) -> None:
        """Reads what a child sent: that it is ready, or its oldest item's result. Replaces a dead one."""
        try:
            content = child.pipe.recv_bytes()
        except (EOFError, OSError):
            self._bury(child, results, alone)
            return
        (result, seconds), size = child.results.result_from_bytes(content)
        child.watched_s = 0.0
        if not child.ready:
            child.ready = self._began = True
            child.lost_starts = 0
            self.start_s += seconds
            return
        self.idle_s += seconds
        if isinstance(result, Failure) and result.traceback:
            log_bug(result.traceback)
        position, _ = child.items.popleft()
        results.put((position, result), size + getattr(result, "bytes_on_disk", 0))

    def _stop_hung(self, child: Child, results: ResultQueue, alone: deque[Item]) -> None:
        child.process.kill()
        if child.ready:
            position, _ = child.items.popleft()
            # Most that hang wait for a disk or a server: of the file nothing is known.
            reason = f"took longer than {self._seconds:g} s and was stopped (--timeout)"
            results.put((position, Failure(reason, unreadable=True)), 0)
            child.alone = False  # the item that hung is known; the others are tried again
        late = f"a worker process cannot start (it did not begin within {_START_S:g} s)"
        self._bury(child, results, alone, f"{late}: the machine may be too busy; take fewer --workers")
        self._held = held_of([*self._held, child.process])

    def _bury(self, child: Child, results: ResultQueue, alone: deque[Item], why_no_start: str = "") -> None:
        """Replaces a dead child. Its items are to be tried alone; one that was alone killed it."""
        if not why_no_start:
            child.process.join(_GRACE_S)  # its pipe ends before it does, and its exit code says why
        self._remove(child)
        is_stopped = self._stop.is_set() or (child.was_ended() and self._stop.wait(_SIGNAL_S))
        if child.ready or is_stopped:
            self._missing.append((0.0, 0))
        else:
            self._start_later(child.lost_starts, MerError(why_no_start or child.why_no_start()))
        if is_stopped:
            return
        if child.ready and child.alone and child.items:
            position, _ = child.items.popleft()
            results.put((position, child.failure()), 0)
        alone.extend(child.items)

    def _start_later(self, lost: int, error: MerError) -> None:
        """Has a child whose start was lost started again, unless that is hopeless."""
        lost += 1
        if not self._began or lost == _STARTS:
            raise error
        self._missing.append((time.monotonic() + _PAUSE_S, lost))

    def _start_missing(self, results: ResultQueue) -> Iterator[Child]:
        """Starts one child after another, while all that there are have work."""
        while self._missing and self._missing[0][0] <= time.monotonic():
            if self._stop.is_set() or results.closed or not all(child.items for child in self._children):
                return
            _, lost = self._missing[0]
            try:
                child = self._start()
            except MerError as error:
                if self._stop.wait(_SIGNAL_S):  # a signal to the group has ended the fork server
                    return
                if lost is None:
                    raise
                del self._missing[0]
                # In place of one that died, perhaps for want of memory. While others work there is time.
                self._start_later(0 if self._children else lost, error)
                return
            del self._missing[0]
            child.lost_starts = lost or 0
            self._children.append(child)
            yield child

    def _remove(self, child: Child) -> None:
        if self._pipes is not None:
            self._pipes.unregister(child.pipe)
        child.end()
        self._children.remove(child)
