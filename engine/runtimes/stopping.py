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
    """A context in which something computes, one at a time; ``end`` is called if a signal wants its end.

    It is called in another thread, one to two seconds after the signal, if the same computation runs still;
    what computes then returns or raises, and ``check`` raises in its place. Signals count that Python would
    make KeyboardInterrupt, and those that ``merkit.engine.signals`` handles: while its handler stays, later
    computations that take so long are ended too. A program's own handlers are its own business.

    It works if the first object of a process is made in the main thread, and where no other library has asked
    for the signals' numbers.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._turn = 0  # odd while something computes
        self._number: int | None = None
        _watch(self)

    def __enter__(self) -> Self:
        self._turn += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # not while ``end`` is called: it would end the next computation
            self._turn += 1

    def check(self) -> None:
        """Call it after the computation.

        Raises:
            ComputationStoppedError: it was ended.
        """
        if self._number is not None:
            number, self._number = self._number, None
            raise ComputationStoppedError(number)

    def _end_turn(self, turn: int, number: int) -> None:
        with self._lock:
            if self._turn == turn:
                self._number = number
                self._end()


_watched: weakref.WeakSet[EndedBySignal] = weakref.WeakSet()
_numbers: socket.socket | None = None


def _watch(computation: EndedBySignal) -> None:
    global _numbers
    _watched.add(computation)
    if _numbers is not None or threading.current_thread() is not threading.main_thread():
        return
    _numbers, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    if before != -1:  # another library's: an event loop
        signal.set_wakeup_fd(before)
        return
    # Else a signal that a forked child gets would count as this process's.
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_read, args=(_numbers, theirs), daemon=True, name="mer-signals").start()


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
    computing = [(each, each._turn) for each in list(_watched) if each._turn % 2]
    time.sleep(_PATIENCE_S)
    for each, turn in computing:
        each._end_turn(turn, number)
