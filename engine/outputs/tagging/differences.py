"""How to get one file's bytes from another's: which parts are the same, and what is not there."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

Piece = tuple[int, int] | str
"""A part (start, length) of the other file, or bytes as base64 of zlib."""

_CHUNK = 1 << 20
_BLOCK = 512  # bytes that are looked for in what is not equal at both ends
_NEAR = 1 << 16  # how far what stands before them may have moved them
_LONG = 1 << 20  # beyond it blocks are looked for nearby only, in parts of this length


def pieces_from_files(old: IO[bytes], new: IO[bytes]) -> list[Piece]:
    """The pieces of ``new``, and the bytes, that ``old`` consists of, in order.

    Both are read in parts, however long they are: only bytes that stand in ``old`` alone are held in memory.
    """
    old_size, new_size = _size(old), _size(new)
    shorter = min(old_size, new_size)
    first = _equal(old, 0, new, 0, shorter)
    last = _equal_before(old, old_size, new, new_size, shorter - first)
    middle = _pieces(old, old_size - last, new, new_size - last, first)
    pieces: list[Piece] = [(0, first), *middle, (new_size - last, last)]
    return [piece for piece in pieces if isinstance(piece, str) or piece[1]]


def bytes_from_pieces(pieces: Sequence[Piece], new: IO[bytes]) -> Iterator[bytes]:
    """The old file's bytes, in parts. Whether they are right is for the caller to see.

    Raises:
        ValueError, zlib.error: a piece is none.
    """
    for piece in pieces:
        if isinstance(piece, str):
            yield zlib.decompress(base64.b64decode(piece, validate=True))
            continue
        start, length = piece
        new.seek(start)
        while length > 0 and (chunk := new.read(min(length, _CHUNK))):
            yield chunk
            length -= len(chunk)


def _pieces(old: IO[bytes], old_end: int, new: IO[bytes], new_end: int, first: int) -> Iterator[Piece]:
    """``old`` as blocks that stand in ``new`` too, each as long as it goes, and what is between them.

    Of both from ``first`` up to their ends.
    """
    searched = _Searched(new, first, new_end)
    done = place = first
    shift = 0
    while place + _BLOCK <= old_end:
        at = searched.find(_read(old, place, place + _BLOCK), place + shift)
        if at < 0:
            place += _BLOCK
            continue
        before = _equal_before(old, place, new, at, min(place - done, at - first))
        after = _equal(old, place, new, at, min(old_end - place, new_end - at))
        if place - before > done:
            yield _text(_read(old, done, place - before))
        yield at - before, before + after
        done, shift = place + after, at - place
        place = done
    if done < old_end:
        yield _text(_read(old, done, old_end))


class _Searched:
    """The bytes of a file between two places, of which up to ``_LONG`` around the last find are in memory."""

    def __init__(self, file: IO[bytes], start: int, end: int) -> None:
        self._file, self._start, self._end = file, start, end
        self._held_from, self._held = start, _read(file, start, min(end, start + _LONG))

    def find(self, block: bytes, near: int) -> int:
        """Where a block stands near a place or, if all bytes are in memory, anywhere; or -1."""
        start = max(self._start, near - _NEAR)
        end = min(self._end, near + _NEAR + len(block))
        is_all = self._end - self._start <= _LONG
        if not is_all and not self._held_from <= start <= end <= self._held_from + len(self._held):
            self._held_from, self._held = start, _read(self._file, start, min(self._end, start + _LONG))
        at = self._held.find(block, max(0, start - self._held_from), max(0, end - self._held_from))
        if at < 0 and is_all:
            at = self._held.find(block)
        return at if at < 0 else self._held_from + at


def _equal(old: IO[bytes], old_start: int, new: IO[bytes], new_start: int, most: int) -> int:
    """How many bytes are equal from there on, at most ``most``: about twice these are read."""
    done, step = 0, _BLOCK
    while done < most:
        count = min(step, most - done)
        ours = _read(old, old_start + done, old_start + done + count)
        theirs = _read(new, new_start + done, new_start + done + count)
        if ours != theirs:
            return done + _same(ours, theirs)
        done, step = done + count, min(2 * step, _CHUNK)
    return done


def _equal_before(old: IO[bytes], old_end: int, new: IO[bytes], new_end: int, most: int) -> int:
    """As ``_equal``, of the bytes that end there."""
    done, step = 0, _BLOCK
    while done < most:
        count = min(step, most - done)
        ours = _read(old, old_end - done - count, old_end - done)
        theirs = _read(new, new_end - done - count, new_end - done)
        if ours != theirs:
            return done + _same(ours[::-1], theirs[::-1])
        done, step = done + count, min(2 * step, _CHUNK)
    return done


def _same(one: bytes, other: bytes) -> int:
    """How many bytes are equal at the beginning of two that differ; one may be the shorter."""
    count = min(len(one), len(other))
    differ = np.frombuffer(one, np.uint8, count) != np.frombuffer(other, np.uint8, count)
    return int(differ.argmax()) if differ.any() else count


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _size(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)


def _text(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()
