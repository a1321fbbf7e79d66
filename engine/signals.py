"""Ctrl-C and SIGTERM, in the three ways that commands take them: as an event, as an exception, or later."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_BOTH = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 128 + signal.SIGINT


@dataclass
class Stop:
    """``code`` is the exit code of the first signal (130 or 143); None as long as there was none."""

    event: threading.Event
    code: int | None = None


@contextmanager
def stop_event() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM set ``event``, so that what is under way ends well; a second one exits at once."""
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
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does; ``code`` is 143 after it, else None."""
    stop = Stop(threading.Event())

    def handle(number: int, frame: Any) -> None:
        stop.code = 128 + number
        stop.event.set()
        raise KeyboardInterrupt

    with _handling((signal.SIGTERM,), handle):
        yield stop


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block is done. Outside the main thread this does nothing."""
    caught: list[int] = []
    with _handling(_BOTH, lambda number, frame: caught.append(number)):
        yield
    if caught:
        signal.raise_signal(caught[0])


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Puts the handlers of both signals back after a library has taken them."""
    before = {number: signal.getsignal(number) for number in _BOTH}
    try:
        yield
    finally:
        if _in_main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def ignore_interrupts() -> None:
    """In a child process: Ctrl-C reaches the whole group, and the parent decides what ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _handling(numbers: tuple[signal.Signals, ...], handler: Callable[[int, Any], Any]) -> Iterator[None]:
    if not _in_main_thread():  # Python lets no other thread set handlers
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
