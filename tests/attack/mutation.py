"""Damages bytes as broken disks, cut transfers and hostile people do; the same seed gives the same damage."""

from __future__ import annotations

import random
from collections.abc import Callable

# Values at which sizes and counts of formats overflow, end, or become negative.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEAD = 512  # most of what a parser trusts stands in the first bytes

Mutation = Callable[[bytearray, random.Random], bytearray]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """``content`` after one to four mutations."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        changed = rng.choice(_MUTATIONS)(changed, rng)
    return bytes(changed)


def _place(content: bytearray, rng: random.Random) -> int:
    """A position, half of the time in the head."""
    end = len(content) if rng.random() < 0.5 else min(_HEAD, len(content))
    return rng.randrange(max(1, end))


def _flip_bits(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 8, 64))):
        if content:
            content[_place(content, rng)] ^= 1 << rng.randrange(8)
    return content


def _set_number(content: bytearray, rng: random.Random) -> bytearray:
    """Writes an edge value over 1, 2, 4 or 8 bytes, in either order of bytes."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(_EDGES) & (256**size - 1)
    place = _place(content, rng)
    content[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))
    return content


def _cut(content: bytearray, rng: random.Random) -> bytearray:
    return content[: _place(content, rng)]


def _remove(content: bytearray, rng: random.Random) -> bytearray:
    place = _place(content, rng)
    del content[place : place + rng.choice((1, 4, 100, 5_000))]
    return content


def _repeat(content: bytearray, rng: random.Random) -> bytearray:
    place = _place(content, rng)
    part = content[place : place + rng.choice((1, 16, 1_000, 50_000))]
    return content[:place] + part * rng.choice((2, 3, 20)) + content[place:]


def _insert_noise(content: bytearray, rng: random.Random) -> bytearray:
    place = _place(content, rng)
    content[place:place] = rng.randbytes(rng.choice((1, 7, 500, 20_000)))
    return content


def _erase(content: bytearray, rng: random.Random) -> bytearray:
    """A part becomes zeros, as after a crash of the file system."""
    place = _place(content, rng)
    size = min(rng.choice((4, 512, 4_096, 100_000)), len(content) - place)
    content[place : place + size] = bytes(size)
    return content


def _swap_halves(content: bytearray, rng: random.Random) -> bytearray:
    place = _place(content, rng)
    return content[place:] + content[:place]


_MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits, _flip_bits, _set_number, _set_number, _cut, _remove, _repeat, _insert_noise, _erase,
    _swap_halves,
)  # fmt: skip
