"""Sound in several chunks of WAV or W64, chunks before it without padding, and what their format's
description says besides what libsndfile takes from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .chunks import Chunk, FileBytes, Layout, chunks_from, start_behind
from .file_view import Span

_LONGEST_FORMAT = 64  # bytes of the description of a format
_SOUND = (b"data", b"SSND")
_EXTENSIBLE, _EXTENSIBLE_BYTES = b"\xfe\xff", 40
# Bits of the channel mask, in FFmpeg's names.
_MASK = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR",
         "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR")  # fmt: skip


class WavFormat(NamedTuple):
    """FFmpeg's names of the channels, and how many bits of an integer are used; empty and 0 if unknown."""

    names: tuple[str, ...] = ()
    bits: int = 0


def wav_format(file: FileBytes, chunk: Chunk) -> WavFormat:
    body = file.bytes_at(chunk.body, min(chunk.size, _EXTENSIBLE_BYTES))
    if len(body) < _EXTENSIBLE_BYTES or not body.startswith(_EXTENSIBLE):
        return WavFormat(bits=int.from_bytes(body[14:16], "little"))
    mask = int.from_bytes(body[20:24], "little")
    names = tuple(name for bit, name in enumerate(_MASK) if mask >> bit & 1)
    return WavFormat(names, int.from_bytes(body[18:20], "little"))


def further_sound(
    file: FileBytes, layout: Layout, sound: Chunk, format_chunk: Chunk | None
) -> tuple[tuple[Span, ...], int | None]:
    """What stands between the chunks of a sound in several, and where the last ends; None where it is in one.

    Some recorders begin another chunk after a pause, or end with an empty one: libsndfile reads the last.
    What stands behind the description of another format is not heard.
    """
    if format_chunk is None:
        return (), None
    description = _description(file, format_chunk)
    block = max(1, int.from_bytes(description[12:14], layout.order))
    left_out: list[Span] = []
    end, is_alone = sound.body + sound.size // block * block, True
    for chunk in chunks_from(file, layout, start_behind(file, layout, sound)):
        if chunk.kind == b"fmt " and _description(file, chunk) != description:
            is_alone = False
            break
        if chunk.kind == b"data":
            left_out.append((end, chunk.body))
            end = chunk.body + min(chunk.size, file.size - chunk.body) // block * block
    return tuple(left_out), None if is_alone and not left_out else end


def size_without(left_out: tuple[Span, ...], sound: Chunk, end: int) -> int:
    """The bytes of a sound up to an offset, without what is left out."""
    return end - sound.body - sum(behind - first for first, behind in left_out)


def unpadded_chunks(file: FileBytes, layout: Layout) -> Iterator[Chunk]:
    """Chunks before the sound whose size is odd, and behind which the next one follows at once."""
    for chunk, following in pairwise(chunks_from(file, layout)):
        if chunk.kind in _SOUND:
            return
        if chunk.size % 2 and following.at == chunk.end:
            yield chunk


def _description(file: FileBytes, chunk: Chunk) -> bytes:
    return file.bytes_at(chunk.body, min(chunk.size, _LONGEST_FORMAT))
