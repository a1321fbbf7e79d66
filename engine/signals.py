"""Three ways to handle Ctrl-C, SIGTERM and SIGHUP: as an event, as an exception, or after a critical block.

SIGHUP, of a terminal that is closed, means the same as SIGTERM. What is ignored already stays so: SIGHUP
under ``nohup``, Ctrl-C where a shell began the process in the background.
"""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from .errors import MerError

_ALL = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP

INTERRUPTED = 128 + signal.SIGINT
"""The exit code after Ctrl-C."""

_TWICE_S = 0.5  # timeout(1) sends each signal to the process and then to its group
_at_first: list[Callable[[], None]] = []  # of the process, as its handlers are


class StoppedError(MerError):
    """Ctrl-C, SIGTERM or SIGHUP came before there was anything to finish; ``exit_code`` is the signal's."""

    def __init__(self, code: int) -> None:
        super().__init__("stopped while inputs were listed: nothing was labelled")
        self.exit_code = code


class StoppedAtOnce(SystemExit):
    """A second signal, before the work had ended in order: only what is finished is to be kept."""


@dataclass
class Stop:
    """``code`` is the exit code for the first signal (130, 143 or 129), None before there was one."""

    event: threading.Event
    code: int | None = None
    _at: float = 0.0

    def is_same(self) -> bool:
        """Whether a signal that came now is the one before it, sent twice. Handlers ask once for each."""
        now = _time()
        same = self.code is not None and now - self._at < _TWICE_S
        self._at = self._at if same else now
        return same

    def check(self) -> None:
        """For loops that have nothing to finish.

        Raises:
            StoppedError: there was a signal.
        """
        if self.code is not None:
            raise StoppedError(self.code)


_interrupting: ContextVar[Stop | None] = ContextVar("_interrupting", default=None)  # of each thread its own
_came_at: ContextVar[float | None] = ContextVar("_came_at", default=None)  # the signal that was deferred


@contextmanager
def stop_event() -> Iterator[Stop]:
    """The first signal sets ``event``, so that work can end in order; a later one raises ``StoppedAtOnce``.

    Outside the main thread, where Python lets nobody set handlers, nothing sets the event.
    """
    stop = Stop(threading.Event())

    def handle(number: int, frame: Any) -> None:
        if stop.is_same():
            return
        if stop.event.is_set():
            raise StoppedAtOnce(128 + number)
        stop.code = 128 + number
        stop.event.set()
        for call in _at_first:
            call()

    with _handling(handle):
        yield stop


@contextmanager
def at_first_signal(call: Callable[[], None]) -> Iterator[None]:
    """Within the block, the first signal of ``stop_event`` calls this, in the handler."""
    _at_first.append(call)
    try:
        yield
    finally:
        _at_first.remove(call)


@contextmanager
def sigterm_interrupts() -> Iterator[Stop]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does; ``code`` is 143, 129 or 130 then.

    A block inside another one has that one's ``Stop``. Outside the main thread this does nothing.
    """
    stop = _interrupting.get() or Stop(threading.Event())

    def handle(number: int, frame: Any) -> None:
        if stop.is_same():  # or it would interrupt what the first one has cleaned up
            return
        stop.code = 128 + number
        stop.event.set()
        raise KeyboardInterrupt

    outer = _interrupting.set(stop)
    try:
        with _handling(handle):
            yield stop
    finally:
        _interrupting.reset(outer)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """All three signals take effect after the block, however that ends; of one sent twice at once, the first.

    Outside the main thread this does nothing.
    """
    received: list[tuple[int, float]] = []

    def keep(number: int, frame: Any) -> None:
        now = _time()
        if not received or now - received[-1][1] >= _TWICE_S:
            received.append((number, now))

    try:
        with _handling(keep):
            yield
    finally:
        with ExitStack() as stack:  # the second one too, if the first one raises an error
            for number, at in reversed(received):
                stack.callback(_raise_again, number, at)


def _raise_again(number: int, at: float) -> None:
    token = _came_at.set(at)
    try:
        signal.raise_signal(number)
    finally:
        _came_at.reset(token)


def _time() -> float:
    """When the signal came that is handled. To be asked once for each: one may come while that runs."""
    at = _came_at.get()
    _came_at.set(None)
    return time.monotonic() if at is None else at


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Restores the handlers of all three signals after a library has replaced them."""
    before = {number: signal.getsignal(number) for number in _ALL}
    try:
        yield
    finally:
        if _in_main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def pass_on_from_handler(error: BaseException) -> None:
    """For ``except`` blocks that say what a library's or the system's error means: raises a handler's again.

    What a program's handler raises, such as a time limit's error, can be of any type that a library raises
    too, and says nothing of what it interrupted.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        # Python gives a handler the frame that it interrupts; who else would have its caller's?
        if (caller := frame.f_back) and any(
            value is caller or (isinstance(value, tuple) and any(each is caller for each in value))
            for value in frame.f_locals.values()
        ):
            raise error


def ignore_interrupts() -> None:
    """For child processes: Ctrl-C and SIGHUP reach the whole group, and the parent ends its children.

    SIGTERM stays: multiprocessing ends children by it that nobody closed, and waits for their end.
    """
    for number in _ALL:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handling(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    if not _in_main_thread():
        yield
        return
    before = {
        number: signal.signal(number, handler)
        for number in _ALL
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
