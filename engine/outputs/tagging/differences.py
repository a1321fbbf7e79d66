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
_LONG = 1 << 20  # beyond it blocks are looked for nearby only


def pieces_from_files(old: IO[bytes], new: IO[bytes]) -> list[Piece]:
    """The pieces of ``new``, and the bytes, that ``old`` consists of, in order.

    Equal beginnings and ends are read in chunks; only what stands between them is held in memory.
    """
    old_size, new_size = _size(old), _size(new)
    shorter = min(old_size, new_size)
    first = _equal(old, new, shorter)
    last = _equal_at_end(old, new, old_size, new_size, shorter - first)
    middle = list(_pieces(_read(old, first, old_size - last), _read(new, first, new_size - last), first))
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


def _pieces(old: bytes, new: bytes, offset: int) -> Iterator[Piece]:
    """``old`` as blocks that stand in ``new`` too, each as long as it goes, and what is between them."""
    ours, theirs = memoryview(old), memoryview(new)  # of which a rest is no copy
    done = place = shift = 0
    while place + _BLOCK <= len(old):
        at = _find(new, old[place : place + _BLOCK], place + shift)
        if at < 0:
            place += _BLOCK
            continue
        before = _same(ours[done:place][::-1], theirs[max(0, at - (place - done)) : at][::-1])
        after = _same(ours[place:], theirs[at:])
        if place - before > done:
            yield _text(old[done : place - before])
        yield offset + at - before, before + after
        done, shift = place + after, at - place
        place = done
    if done < len(old):
        yield _text(old[done:])


def _find(new: bytes, block: bytes, near: int) -> int:
    start = max(0, near - _NEAR)
    at = new.find(block, start, near + _NEAR + len(block))
    return at if at >= 0 or len(new) > _LONG else new.find(block)


def _equal(old: IO[bytes], new: IO[bytes], most: int) -> int:
    """How many bytes are equal from the beginning on, at most ``most``."""
    done = 0
    while done < most:
        count = min(_CHUNK, most - done)
        ours, theirs = _read(old, done, done + count), _read(new, done, done + count)
        if ours != theirs:
            return done + _same(ours, theirs)
        done += count
    return done


def _equal_at_end(old: IO[bytes], new: IO[bytes], old_size: int, new_size: int, most: int) -> int:
    done = 0
    while done < most:
        count = min(_CHUNK, most - done)
        ours = _read(old, old_size - done - count, old_size - done)
        theirs = _read(new, new_size - done - count, new_size - done)
        if ours != theirs:
            return done + _same(ours[::-1], theirs[::-1])
        done += count
    return done


def _same(one: bytes | memoryview, other: bytes | memoryview) -> int:
    """How many bytes are equal at the beginning of both, of which no more than about twice these are read."""
    ours, theirs = np.asarray(memoryview(one)), np.asarray(memoryview(other))
    count = min(len(ours), len(theirs))
    done, step = 0, _BLOCK
    while done < count:
        end = min(count, done + step)
        differ = ours[done:end] != theirs[done:end]
        if differ.any():
            return done + int(differ.argmax())
        done, step = end, 2 * step
    return count


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _size(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)


def _text(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()
