"""A pool of child processes that outlives the crashes and hangs of its children.

Decoders of hostile or damaged files crash. The pools of concurrent.futures and multiprocessing fail or hang
when a child dies; this one loses a single file. The files that a dead child had are tried again one at a
time, so that only the file that killed it gets an error.
"""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_all_start_methods, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..cpu import usable_cores
from ..errors import MerError
from ..temporary import process_folder
from .bug_log import log_bug
from .child_process import last_words, runs_main_again, start_fork_server, start_process
from .result_queue import ResultQueue
from .worker import Failure, work

# A plain fork would copy locks that the runtimes' threads hold. The fork server is a process without such
# threads: it imports what the children need once, and forks them.
_CONTEXT: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
_IN_FLIGHT = 3  # items that a child has: one at work, one to go on with at once, one on its way
_HELD_BYTES = 256 << 20  # of results that the consumer has not taken; beyond that the children wait
_START_S = 300.0  # for a child to import what it needs, on a busy machine
_GRACE_S = 5.0  # beyond the limit of an item, before its child counts as hung
_LONGEST_LOOK_S = 1.0  # of time that counts against a child, in one pass of the loop that watches it

_Item = tuple[int, Any]  # position and item
_Result = tuple[int, Any]  # position and result or Failure


def start_ahead(as_copy: bool = False) -> None:
    """Starts the fork server and its imports, while the caller does something else.

    Args:
        as_copy: see ``start_fork_server``.

    Raises:
        MerError: the system starts no process, or there is no folder for its socket.
    """
    if _CONTEXT.get_start_method() == "forkserver":
        with _refusals():
            start_fork_server(f"{__package__}.file_windows", as_copy)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the system refuses to a process that is to start, in a line."""
    try:
        yield
    except EOFError:  # the fork server has died of it
        reason = last_words()
        if reason.startswith("AssertionError"):  # of multiprocessing: it was to receive a file too many
            reason = os.strerror(errno.EMFILE)
    except OSError as error:
        reason = str(error.strerror or error)
        if error.errno == errno.ENOENT:  # children begin in the working folder
            raise MerError(f"a worker process cannot start: is the working folder gone? ({reason})") from None
    else:
        return
    advice = "the limits on files (ulimit -n), processes (-u) or memory (-v) may be too low"
    raise MerError(f"a worker process cannot start ({reason or 'the system starts none'}): {advice}")


@dataclass(eq=False)
class _Child:
    """A child process. ``items`` are the ones that it has, the one at work first.

    ``alone`` is set while it has one item of a child that died. ``watched_s`` is for how long its oldest
    item was seen to be at work. ``folder`` is for its temporary files.
    """

    process: Any
    pipe: Connection
    folder: Path
    items: deque[_Item] = field(default_factory=deque)
    ready: bool = False
    alone: bool = False
    watched_s: float = 0.0


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
        self._children: list[_Child] = []
        self._results: ResultQueue | None = None  # of the map that is under way
        self._closed = False
        try:
            self._children.extend(self._spawn() for _ in range(workers or usable_cores()))
        except BaseException:
            self.close()
            raise

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
        with _refusals(), ExitStack() as on_failure:
            folder = Path(tempfile.mkdtemp(prefix="worker-", dir=process_folder()))
            ours, theirs = _CONTEXT.Pipe()
            on_failure.callback(ours.close)
            with theirs:
                arguments = (theirs, folder, self._function, self.options)
                process = _CONTEXT.Process(target=work, args=arguments, daemon=True)
                start_process(process)
            on_failure.pop_all()
        return _Child(process, ours, folder)

    def _run(self, results: ResultQueue, items: Iterator[_Item], ready: Callable[[], bool]) -> None:
        """Hands out the items and collects the results, in the queue's thread."""
        alone: deque[_Item] = deque()  # had by children that died; tried one at a time
        for child in self._children:
            if child.items:  # of a map that was left early
                _end(child)
                self._replace(child)
        looked = time.monotonic()
        while not results.closed:
            # Time in which this loop did not run is no child's fault: the whole group may have been stopped
            # (Ctrl-Z), and nobody takes results while the consumer is busy.
            passed_s = min(time.monotonic() - looked, _LONGEST_LOOK_S)
            looked = time.monotonic()
            for child in self._children:
                child.watched_s += passed_s if child.items else 0.0
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
                child.watched_s = 0.0
            child.items.append((position, item))
            with suppress(OSError):  # the child is dead, which is noticed when its pipe is read
                child.pipe.send(item)

    def _receive(self, busy: list[_Child], alone: deque[_Item]) -> Iterator[tuple[_Result, int]]:
        """Yields the results that come within a moment, with their bytes; replaces dead and hung children."""
        readable = connection.wait([child.pipe for child in busy], timeout=0.2)
        for child in busy:
            hung = child.watched_s > (self._limit_s if child.ready else _START_S)
            # A result may have come since: the one before it was handed on, which can take long.
            if child.pipe in readable or (hung and child.pipe.poll()):
                yield from self._take(child, alone)
            elif hung:
                yield from self._stop_hung(child, alone)

    def _take(self, child: _Child, alone: deque[_Item]) -> Iterator[tuple[_Result, int]]:
        """Reads what a child sent: that it is ready, or its oldest item's result."""
        try:
            content = child.pipe.recv_bytes()
        except (EOFError, OSError):
            yield from self._bury(child, alone)
            return
        result, seconds = pickle.loads(content)
        child.watched_s = 0.0
        if not child.ready:
            child.ready = True
            self.start_s += seconds
            return
        self.idle_s += seconds
        if isinstance(result, Failure) and result.traceback:
            log_bug(result.traceback)
        position, _ = child.items.popleft()
        yield (position, result), len(content) + getattr(result, "bytes_on_disk", 0)

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
            yield (position, Failure(_why_dead(child.process.exitcode))), 0
        alone.extend(child.items)
        self._replace(child)

    def _replace(self, child: _Child) -> None:
        self._children[self._children.index(child)] = self._spawn()


def _end(child: _Child) -> None:
    child.process.kill()
    child.process.join()
    child.pipe.close()
    shutil.rmtree(child.folder, ignore_errors=True)  # what it was copying when it was killed


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _why_dead(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:  # not by a decoder
        return "the process that read it was killed (SIGKILL), as the system does when memory runs out"
    return f"the decoder crashed ({_death(exit_code)})"


def _why_no_start(exit_code: int | None) -> str:
    start = f"a worker process cannot start ({_death(exit_code)}"
    if exit_code == 1 and runs_main_again() and "bootstrapping" in last_words(whole=True):
        return start + '); a script that labels needs: if __name__ == "__main__":'
    words = last_words()
    return f"{start}: {words})" if words else f"{start})"
