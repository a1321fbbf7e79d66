"""A part of an open file, or one with some of its bytes corrected, as a file object for libsndfile."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any


class FileView(io.RawIOBase):
    """The bytes ``start`` to ``end`` of a file, read only. It has a position of its own.

    Args:
        descriptor: of an open file. It stays open when the view is closed, and must outlive it.
        corrections: the bytes that stand in the place of the file's own, by their offset in the view.
    """

    def __init__(
        self, descriptor: int, start: int, end: int, corrections: Mapping[int, bytes] | None = None
    ) -> None:
        super().__init__()
        self._descriptor, self._start, self._size = descriptor, start, max(0, end - start)
        self._corrections = corrections or {}
        self._position = 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = os.pread(
            self._descriptor,
            max(0, min(len(view), self._size - self._position)),
            self._start + self._position,
        )
        view[: len(data)] = data
        for offset, correct in self._corrections.items():
            first = max(offset, self._position)
            last = min(offset + len(correct), self._position + len(data))
            if first < last:
                view[first - self._position : last - self._position] = correct[first - offset : last - offset]
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
