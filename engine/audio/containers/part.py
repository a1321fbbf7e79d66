"""Bytes of a file by their position, within a limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass


class Exhausted(Exception):
    """A file would cost more than tags are worth."""


@dataclass
class Effort:
    """What one file may still cost: a picture may stand among the comments of an Ogg file."""

    bytes: int = 16 << 20
    reads: int = 10_000

    def spend(self, count: int) -> None:
        self.bytes -= count
        self.reads -= 1
        if self.bytes < 0 or self.reads < 0:
            raise Exhausted


class Part:
    """``length`` bytes from ``start`` on, of a file (a descriptor) or of bytes in memory."""

    def __init__(self, source: int | bytes, start: int, length: int, effort: Effort) -> None:
        self._source, self._start, self.length, self._effort = source, start, max(0, length), effort

    def read(self, position: int, count: int) -> bytes:
        """At most ``count`` bytes; fewer where the part or the file ends.

        Raises:
            Exhausted: too much was read.
        """
        count = min(count, self.length - position)
        self._effort.spend(max(0, count))
        if count <= 0 or position < 0:
            return b""
        start = self._start + position
        if isinstance(self._source, bytes):
            return self._source[start : start + count]
        return os.pread(self._source, count, start)

    def part(self, position: int, length: int | None = None) -> Part:
        """The bytes from ``position`` on, at most ``length``, inside of this part."""
        position = min(max(0, position), self.length)
        rest = self.length - position
        length = rest if length is None else min(length, rest)
        return Part(self._source, self._start + position, length, self._effort)

    def with_bytes(self, data: bytes) -> Part:
        """Bytes in memory that are read at the cost of this part's file."""
        return Part(data, 0, len(data), self._effort)


def part_of_file(descriptor: int, effort: Effort | None = None) -> Part:
    """A whole file."""
    return Part(descriptor, 0, os.fstat(descriptor).st_size, effort or Effort())


def within(
    part: Part, children: Callable[[Part], Iterator[tuple[bytes, Part]]], *path: bytes
) -> Iterator[Part]:
    """What stands in ``part`` at a path of names. ``children`` yields the name and the content of each child.

    Raises:
        Exhausted: too much was read.
    """
    if not path:
        yield part
        return
    for name, child in children(part):
        if name == path[0]:
            yield from within(child, children, *path[1:])
