"""Three ways to handle Ctrl-C and SIGTERM: as an event, as an exception, or after a critical block."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .errors import MerError

_BOTH = (signal.SIGINT, signal.SIGTERM)

INTERRUPTED = 128 + signal.SIGINT
"""The exit code after Ctrl-C."""


class StoppedError(MerError):
    """Ctrl-C or SIGTERM came before there was anything to finish; ``exit_code`` is the signal's."""

    def __init__(self, code: int) -> None:
        super().__init__("stopped while inputs were listed: nothing was labelled")
        self.exit_code = code


@dataclass
class Stop:
    """``code`` is the exit code for the first signal (130 or 143), None before there was one."""

    event: threading.Event
    code: int | None = None

    def check(self) -> None:
        """For loops that have nothing to finish.

        Raises:
            StoppedError: there was a signal.
        """
        if self.code is not None:
            raise StoppedError(self.code)


@contextmanager
def stop_event() -> Iterator[Stop]:
    """The first Ctrl-C or SIGTERM sets ``event``, so that work can end in order; a second one exits at once.

    Outside the main thread, where Python lets nobody set handlers, nothing sets the event.
    """
    stop = Stop(threading.Event())

    def handle(number: int, frame: Any) -> None:
        if stop.event.is_set():
            sys.exit(128 + number)
        stop.code = 128 + number
        stop.event.set()

    with _handling(_BOTH, handle):
        yield stop


@contextmanager
def sigterm_interrupts() -> Iterator[Stop]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, and sets ``code`` to 143.

    Outside the main thread this does nothing.
    """
    stop = Stop(threading.Event())

    def handle(number: int, frame: Any) -> None:
        stop.code = 128 + number
        stop.event.set()
        raise KeyboardInterrupt

    with _handling((signal.SIGTERM,), handle):
        yield stop


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect after the block. Outside the main thread this does nothing."""
    received: list[int] = []
    with _handling(_BOTH, lambda number, frame: received.append(number)):
        yield
    if received:
        signal.raise_signal(received[0])


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Restores the handlers of both signals after a library has replaced them."""
    before = {number: signal.getsignal(number) for number in _BOTH}
    try:
        yield
    finally:
        if _in_main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def ignore_interrupts() -> None:
    """For child processes: Ctrl-C reaches the whole process group, and the parent ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _handling(numbers: tuple[signal.Signals, ...], handler: Callable[[int, Any], Any]) -> Iterator[None]:
    if not _in_main_thread():
        yield
        return
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
