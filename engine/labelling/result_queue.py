"""Results that one thread produces and another takes, in a limited number of bytes."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

from ..errors import MerError

_PATIENCE_S = 2.0  # once the queue is closed, for a caller's iterator that waits, perhaps for ever
_LOOK_S = 0.05
_END = object()


class ResultQueue:
    """Runs ``produce(queue)`` in a thread, which puts results, until it returns or the queue is closed.

    Args:
        limit: bytes of the results that wait, at most; a single result may be larger.
    """

    def __init__(self, limit: int, produce: Callable[[ResultQueue], None]) -> None:
        self.closed = False
        self._limit, self._held = limit, 0
        self._waiting: deque[tuple[Any, int]] = deque()
        self._ended = self._is_away = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._process = os.getpid()  # in a fork of it there is no thread, and the lock may be held for ever
        run = copy_context().run  # what reads items for it may be the caller's
        self._thread = threading.Thread(target=run, args=(self._run, produce), daemon=True)
        self._thread.start()

    def put(self, result: Any, size: int) -> None:
        """Adds a result of ``size`` bytes; waits for room, unless the queue is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.closed or not self._waiting or self._held + size <= self._limit
            )
            self._waiting.append((result, size))
            self._held += size
            self._changed.notify_all()

    def taken(self, items: Iterator[Any]) -> Iterator[Any]:
        """A caller's items, for ``produce``: one that waits for its next does not hold up ``close``.

        Raises:
            ValueError: the queue was closed meanwhile. What ``produce`` worked with may be another's by now.
        """
        while True:
            self._is_away = True
            item = next(items, _END)
            self._is_away = False
            if self.closed:
                raise ValueError("closed while an item was awaited")
            if item is _END:
                return
            yield item

    def get(self) -> Any:
        """The oldest result; None after the last one.

        Raises:
            ValueError: the queue is closed.
            MerError: this process is a fork of the one that opened the queue.
            BaseException: what ``produce`` raised, after the results that came before it.
        """
        if self._process != os.getpid():
            raise MerError("another process began these labels: call label_files in this one")
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._waiting or self._ended)
            if self.closed:
                raise ValueError("closed while results were awaited")
            if self._waiting:
                result, size = self._waiting.popleft()
                self._held -= size
                self._changed.notify_all()
                return result
            if self._error is not None:
                raise self._error
            return None

    def close(self) -> None:
        """Drops what waits, and returns when ``produce`` has returned.

        Where ``produce`` has waited in ``taken`` for two seconds, it is left there.
        """
        if self._process != os.getpid():
            return
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        # An abandoned generator may be finalized, and close this, in whichever thread collects garbage.
        if threading.current_thread() is self._thread:
            return
        end = time.monotonic() + _PATIENCE_S
        while self._thread.is_alive() and not (self._is_away and time.monotonic() > end):
            self._thread.join(_LOOK_S)

    def _run(self, produce: Callable[[ResultQueue], None]) -> None:
        error = None
        try:
            produce(self)
        except BaseException as caught:  # for the thread that takes the results, whatever it is
            error = caught
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()
