"""Bytes of a file by their position, within a limit; and the text in them."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass

Tags = dict[str, list[str]]
"""The values of each of ``TAGS`` that a file has."""

LONGEST = 1 << 16
"""Bytes of a value that are read: a title is shorter."""

MOST_VALUES = 100
"""Values of one tag."""


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


def part_of_file(descriptor: int) -> Part:
    """A whole file."""
    return Part(descriptor, 0, os.fstat(descriptor).st_size, Effort())


def add(tags: Tags, name: str | None, *texts: str) -> None:
    """Adds those texts that are new; ``name`` is None for what is no tag of ours."""
    for text in map(_trimmed, texts):
        if name and text and text not in (values := tags.get(name, [])) and len(values) < MOST_VALUES:
            tags.setdefault(name, []).append(text)


def text_from_bytes(data: bytes) -> str:
    """UTF-8, whatever a tag says that it is, or else Windows-1252, of which Latin-1 is a part.

    The last character of UTF-8 may be cut off, as in ID3v1.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(data)
        if not decoder.getstate()[0] or not text.isascii():
            return text
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:  # it leaves five bytes out
        return data.decode("latin-1")


def text_from_utf16(data: bytes, codec: str = "utf-16-le") -> str:
    """UTF-16 with a byte order mark, or else by ``codec``; half of a last character is left out."""
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        codec = "utf-16-le" if data[:2] == codecs.BOM_UTF16_LE else "utf-16-be"
    return data[: len(data) // 2 * 2].decode(codec, "replace")


def _trimmed(text: str) -> str:
    return text.strip("\0\ufeff \t\r\n")
