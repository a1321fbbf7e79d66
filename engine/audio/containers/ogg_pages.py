"""The pages of Ogg files (RFC 3533), and where one file ends and another follows in the same one.

``cat a.ogg b.ogg`` makes such a chain, and so does an internet radio at every song.
"""

from __future__ import annotations

import os

from ...errors import AudioError
from ..decoder import Budget
from .file_view import Span

PAGE = b"OggS\0"
HEAD_BYTES = 27
LONGEST_PAGE = HEAD_BYTES + 255 + 255 * 255
_BLOCK_BYTES = 1 << 20
_FIRST_PAGE = 2  # the flag of the first page of a stream
_MORE = 1.5  # times as many bytes a page, on average, as at the beginning and the end

_TAIL_BYTES = 1 << 20
_SEARCHED_BYTES = 4 << 30  # libsndfile searches so many for the last page in 6 s

MOST_PARTS = 1 << 16
"""Of one file: an internet radio's songs of half a year. A file of nothing but heads would have billions."""


def check_end(descriptor: int) -> None:
    """Refuses an Ogg file of many gigabytes without a page at its end, in which libsndfile would search.

    Raises:
        AudioError: it is one.
    """
    size = os.fstat(descriptor).st_size
    if size <= _SEARCHED_BYTES or os.pread(descriptor, len(PAGE), 0) != PAGE:
        return
    if PAGE not in os.pread(descriptor, _TAIL_BYTES, size - _TAIL_BYTES):
        raise AudioError("damaged: its last megabyte holds no page of Ogg")


def begins_together(descriptor: int, start: int = 0) -> bool:
    """Whether an Ogg file from ``start`` on begins with several streams: tracks, or a video and its sound."""
    head = os.pread(descriptor, LONGEST_PAGE, start)
    if len(head) < HEAD_BYTES or not head.startswith(PAGE):
        return False
    second = HEAD_BYTES + head[26] + sum(head[HEAD_BYTES : HEAD_BYTES + head[26]])
    return head.startswith(PAGE, second) and any(
        flags & _FIRST_PAGE for flags in head[second + 5 : second + 6]
    )


def may_be_chain(descriptor: int) -> bool:
    """Whether an Ogg file is worth a walk over all its pages: the last one is not of the first stream, or its
    number is too low for the file's size.
    """
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, LONGEST_PAGE, 0)
    tail = os.pread(descriptor, LONGEST_PAGE, max(0, size - LONGEST_PAGE))
    last = tail.rfind(PAGE)
    last_head = tail[last : last + HEAD_BYTES]
    if last < 0 or len(last_head) < HEAD_BYTES or last_head[14:18] != head[14:18]:
        return True
    pages = int.from_bytes(last_head[18:22], "little") + 1
    return size / pages > _MORE * max(len(part) / max(1, part.count(PAGE)) for part in (head, tail))


def parts_from_ogg(descriptor: int, budget: Budget) -> list[Span]:
    """The bytes of each link of a chain, from where to where.

    At most ``MOST_PARTS``; the last one reaches to the end.
    """
    end = os.fstat(descriptor).st_size
    starts: list[int] = []
    place, block, block_at, in_heads = 0, b"", 0, False
    while place < end:
        block_end = block_at + len(block)
        is_inside = block_at <= place <= block_end - LONGEST_PAGE - len(PAGE)
        if (not is_inside and block_end < end) or place >= block_end:
            budget.spend(0)
            block, block_at = os.pread(descriptor, _BLOCK_BYTES, place), place
        local = place - block_at
        if not block.startswith(PAGE, local):
            there = block.find(PAGE, local + 1)
            place = block_at + (there if there >= 0 else max(local + 1, len(block) - 4))
            continue
        head = block[local : local + HEAD_BYTES]
        if len(head) < HEAD_BYTES:
            break
        is_first = bool(head[5] & _FIRST_PAGE)
        # Streams that play at once begin one after the other.
        if is_first and not in_heads and len(starts) < MOST_PARTS:
            starts.append(place)
        in_heads = is_first
        sizes = block[local + HEAD_BYTES : local + HEAD_BYTES + head[26]]
        size = HEAD_BYTES + head[26] + sum(sizes)
        # The sizes of a page that was cut off reach into the next one: what follows it is looked for.
        is_whole = place + size == end or block.startswith(PAGE, local + size)
        place += size if is_whole else HEAD_BYTES
    return list(zip(starts, [*starts[1:], end], strict=False))
