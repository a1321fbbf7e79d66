"""Ends a computation that a library does in one call, when Ctrl-C, SIGTERM or SIGHUP comes meanwhile.

Python runs no handler of a signal before such a call returns. But it writes the signal's number to a file
descriptor at once (``signal.set_wakeup_fd``), from which a thread reads here.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from .. import signals
from ..errors import MerError

_PATIENCE_S = 1.0  # for a computation to end by itself
_STOPS = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}


class ComputationStoppedError(signals.StoppedError):
    """A computation was ended for a signal; ``exit_code`` is the signal's."""

    def __init__(self, number: int) -> None:
        MerError.__init__(self, "stopped while it computed")
        self.exit_code = 128 + number


class EndedBySignal:
    """A context in which something computes; ``end`` is called if a signal wants its end.

    It is called in another thread, one to two seconds after the signal, if the same computation runs still;
    what computes then returns or raises, and ``check`` raises in its place. Several threads may compute at
    once: where one is ended, all are. Signals count that Python would
    make KeyboardInterrupt, and those that ``merkit.engine.signals`` handles: while its handler stays, later
    computations that take so long are ended too. A program's own handlers are its own business.

    It works if the first object of a process is made in the main thread, and where no other library has asked
    for the signals' numbers.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._begun = 0
        self._turns: dict[int, int] = {}  # of the threads that compute, by their numbers
        self._signals: dict[int, int] = {}  # that ended them
        _watch(self)

    def __enter__(self) -> Self:
        thread = threading.get_ident()
        with self._lock:
            self._begun += 1
            self._turns[thread] = self._begun
            self._signals.pop(thread, None)  # the one before had come to its end all the same
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # not while ``end`` is called: it would end the next computation
            self._turns.pop(threading.get_ident(), None)

    def check(self) -> None:
        """Call it after the computation, in the same thread.

        Raises:
            ComputationStoppedError: it was ended.
        """
        number = self._signals.pop(threading.get_ident(), None)
        if number is not None:
            raise ComputationStoppedError(number)

    def _end_turns(self, turns: set[int], number: int) -> None:
        with self._lock:
            if turns.intersection(self._turns.values()):
                self._signals.update(dict.fromkeys(self._turns, number))
                self._end()

    def _computing(self) -> set[int]:
        with self._lock:
            return set(self._turns.values())


_watched: weakref.WeakSet[EndedBySignal] = weakref.WeakSet()
_watching = threading.Lock()  # a set that grows meanwhile cannot be gone through
_numbers: socket.socket | None = None


def _watch(computation: EndedBySignal) -> None:
    global _numbers
    with _watching:
        _watched.add(computation)
    if _numbers is not None or threading.current_thread() is not threading.main_thread():
        return
    _numbers, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    if before != -1:  # another library's: an event loop
        signal.set_wakeup_fd(before)
        return
    if hasattr(os, "register_at_fork"):
        # Else a signal that a forked child gets would count as this process's.
        os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_read, args=(_numbers, theirs), daemon=True, name="mer-signals").start()


def _renew_lock() -> None:
    global _watching
    _watching = threading.Lock()  # a thread that is not in a forked child may hold its parent's


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_lock)


def _forget() -> None:
    with suppress(ValueError):  # forked in another thread, which is the child's main thread all the same
        signal.set_wakeup_fd(-1)


def _read(numbers: socket.socket, theirs: socket.socket) -> None:
    while data := numbers.recv(64):  # ``theirs`` is held: it must stay open
        for number in _STOPS.intersection(data):
            handler = signal.getsignal(number)
            ours = getattr(handler, "__module__", None) == signals.__name__
            if ours or handler is signal.default_int_handler:
                _end_computations(number)
            while ours and signal.getsignal(number) is handler:
                _end_computations(number)


def _end_computations(number: int) -> None:
    """Ends what computes now and still does after a while."""
    with _watching:
        computing = [(each, each._computing()) for each in _watched]
    time.sleep(_PATIENCE_S)
    for each, turns in computing:
        each._end_turns(turns, number)
