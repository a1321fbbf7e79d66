"""A part of an open file, or one with some bytes corrected or left out, as a file object for libsndfile."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

Span = tuple[int, int]
"""Bytes of a file, from where to where."""


class FileView(io.RawIOBase):
    """The bytes ``start`` to ``end`` of a file, read only. It has a position of its own.

    Args:
        descriptor: of an open file. It stays open when the view is closed, and must outlive it.
        corrections: the bytes that stand in the place of the file's own, by their offset from ``start``.
        left_out: the bytes that are passed over, from which offset to which, in order.
    """

    def __init__(
        self,
        descriptor: int,
        start: int,
        end: int,
        corrections: Mapping[int, bytes] | None = None,
        left_out: Sequence[Span] = (),
    ) -> None:
        super().__init__()
        self._descriptor, self._start = descriptor, start
        edges = [0, *(edge for gap in left_out for edge in gap), max(0, end - start)]
        self._pieces = list(zip(edges[::2], edges[1::2], strict=True))  # offsets from the start
        self._size = sum(end - first for first, end in self._pieces)
        self._corrections = corrections or {}
        self._position = 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        read, place = 0, self._position  # place: in a piece
        for first, end in self._pieces:
            if 0 <= place < end - first:
                data = self._read(first + place, min(len(view) - read, end - first - place))
                view[read : read + len(data)] = data
                read, place = read + len(data), place + len(data)
            place -= end - first
        self._position += read
        return read

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

    def _read(self, place: int, count: int) -> bytes:
        """Bytes of the file from an offset on, corrected."""
        data = os.pread(self._descriptor, count, self._start + place)
        for offset, correct in self._corrections.items():
            first, last = max(offset, place), min(offset + len(correct), place + len(data))
            if first < last:
                data = data[: first - place] + correct[first - offset : last - offset] + data[last - place :]
        return data
