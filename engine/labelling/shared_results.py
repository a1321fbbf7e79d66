"""Results from a child process, their arrays by way of memory that it shares with its parent.

Through a pipe an array is copied four times, twice of them by the parent; here the child copies it once, and
the parent reads it where it lies. The memory has no name (memfd_create): nothing of it can stay behind,
whoever is killed, and it does not depend on the size of /dev/shm. Where the system has none, or there is no
room in it, arrays go through the pipe.
"""

from __future__ import annotations

import logging
import mmap
import os
import pickle
import struct
import time
import weakref
from bisect import insort
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

_BYTES = 32 << 20  # shared with each child, at most: memory is taken where arrays were written
_SMALLEST = 1 << 14  # bytes of an array that is worth it
_LINE = 64  # bytes before each array, and the step of places; the first byte is 1 until the parent is done
_WAIT_S = 1.0  # for room, less than what a child may take beyond an item's limit
_COUNT, _PLACE = struct.Struct("<Q"), struct.Struct("<QQ")  # a message begins with its arrays' places
_log = logging.getLogger(__name__)

_Place = tuple[int, int]  # where an array begins in the shared memory, and its bytes


class ResultReader:
    """The parent's side. ``memory`` is for the child, which has it once its process is started.

    Args:
        share: without it everything goes through the pipe.
    """

    def __init__(self, share: bool) -> None:
        self.memory: Connection | None = None
        self._shared: mmap.mmap | None = None
        if not share or not hasattr(os, "memfd_create"):
            return
        try:
            number = os.memfd_create("mer-results")
            # A connection is what multiprocessing hands over to processes that it starts by whatever method.
            self.memory = Connection(number)
            os.ftruncate(number, _BYTES)
            self._shared = mmap.mmap(number, _BYTES)
        except OSError as error:
            self.close()
            reason = error.strerror or error
            _log.warning("no shared memory for a worker process (%s): pipes do it, with more CPU", reason)

    def result_from_bytes(self, content: bytes) -> tuple[Any, int]:
        """What a ``ResultWriter`` made bytes of, and how many bytes it takes.

        Its arrays lie in the shared memory: their places are used again once nobody refers to them.
        """
        (count,) = _COUNT.unpack_from(content)
        begin = _COUNT.size + count * _PLACE.size
        places = list(_PLACE.iter_unpack(content[_COUNT.size : begin]))
        arrays = [self._lent(*place) for place in places]
        result = pickle.loads(memoryview(content)[begin:], buffers=arrays)
        return result, len(content) + sum(size for _, size in places)

    def started(self) -> None:
        """Closes what the child needed to start."""
        if self.memory is not None:
            self.memory.close()
            self.memory = None

    def close(self) -> None:
        """Gives the memory up, which stays until nobody refers to an array in it."""
        self.started()
        self._shared = None

    def _lent(self, start: int, size: int) -> np.ndarray:
        assert self._shared is not None
        array = np.frombuffer(self._shared, np.uint8, size, start)
        end = weakref.finalize(array, _free, self._shared, start - _LINE, os.getpid())
        end.atexit = False
        return array


def _free(shared: mmap.mmap, place: int, process: int) -> None:
    """Lets the child use a place again; not where a fork of the reader's process drops its copy."""
    if os.getpid() == process:
        shared[place] = 0


class ResultWriter:
    """The child's side.

    Args:
        memory: the reader's, which is closed; None, or without room for it, all goes through the pipe.
    """

    def __init__(self, memory: Connection | None) -> None:
        self._shared: mmap.mmap | None = None
        self._taken: list[tuple[int, int]] = []  # from the line before each to its end, in order
        self._waits = True
        if memory is not None:
            with memory, suppress(OSError):
                self._shared = mmap.mmap(memory.fileno(), _BYTES)

    def bytes_from_result(self, result: Any) -> bytes:
        """The result as bytes for the pipe, its arrays in the shared memory as far as there is room.

        Raises:
            MemoryError: there is none for the bytes.
        """
        places: list[_Place] = []

        def stays(buffer: pickle.PickleBuffer) -> bool:
            place = self._place(buffer.raw())
            if place is not None:
                places.append(place)
            return place is None

        try:
            content = pickle.dumps(result, protocol=5, buffer_callback=stays)
            return _COUNT.pack(len(places)) + b"".join(_PLACE.pack(*place) for place in places) + content
        except MemoryError:
            for start, _ in places:  # nobody will read them
                self._shared[start - _LINE] = 0  # pyright: ignore[reportOptionalSubscript]
            raise

    def _place(self, content: memoryview) -> _Place | None:
        """Copies an array into the shared memory; None where it is to go through the pipe."""
        if self._shared is None or content.nbytes < _SMALLEST:
            return None
        size = _LINE * (1 - -content.nbytes // _LINE)
        start = self._room(size)
        if start is None:
            return None
        insort(self._taken, (start, start + size))
        self._shared[start] = 1
        first = start + _LINE
        self._shared[first : first + content.nbytes] = content
        return first, content.nbytes

    def _room(self, size: int) -> int | None:
        """Where so many bytes are free; waits for them once, and again after there was room."""
        end = time.monotonic() + _WAIT_S
        while (start := self._free(size)) is None and self._waits and size <= _BYTES:
            if time.monotonic() > end:
                break
            time.sleep(0.001)
        self._waits = start is not None or size > _BYTES
        return start

    def _free(self, size: int) -> int | None:
        """The first gap, so that a little memory is used again and again, while it is in the caches."""
        assert self._shared is not None
        self._taken = [place for place in self._taken if self._shared[place[0]]]
        start = 0
        for first, end in self._taken:
            if first - start >= size:
                break
            start = end
        return start if size <= _BYTES - start else None
