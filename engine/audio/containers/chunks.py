"""Chunks of WAV, RF64, AIFF, CAF and W64: where they stand, and what they state as their sizes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Order = Literal["little", "big"]

_HEAD_BYTES = 4_096
_MAX_CHUNKS = 1_000

BEHIND_SOUND = (b"LIST", b"id3 ", b"ID3 ", b"cue ", b"bext", b"JUNK", b"junk", b"PAD ", b"smpl", b"iXML",
                b"axml", b"_PMX", b"afsp", b"inst", b"acid", b"DISP", b"PEAK", b"MARK", b"INST", b"ANNO",
                b"NAME", b"AUTH", b"info", b"uuid", b"strg", b"free", b"umid", b"cart", b"levl", b"FLLR",
                b"fact", b"COMT", b"APPL", b"(c) ")  # fmt: skip
"""Identifiers of chunks that may stand behind the sound."""

KNOWN = frozenset((*BEHIND_SOUND, b"fmt ", b"data", b"COMM", b"SSND", b"FVER"))
"""Identifiers that are known where no padding stands before them: some programs leave out the byte that makes
a size even.
"""


@dataclass(frozen=True)
class Layout:
    """How chunks are written: their identifiers' and sizes' bytes, and what a size counts."""

    first: int  # the offset of the first chunk
    id_bytes: int = 4
    size_bytes: int = 4
    order: Order = "little"
    counts_head: bool = False
    align: int = 2

    @property
    def head(self) -> int:
        return self.id_bytes + self.size_bytes


RIFF = Layout(12)
RIFX = AIFF = Layout(12, order="big")
CAF = Layout(8, size_bytes=8, order="big", align=1)
W64 = Layout(40, id_bytes=16, size_bytes=8, counts_head=True, align=8)


@dataclass(frozen=True)
class Chunk:
    kind: bytes
    at: int  # the offset of its identifier
    body: int
    size: int  # of its body, as stated

    @property
    def end(self) -> int:
        return self.body + self.size


class FileBytes:
    """The bytes of a file from an offset on: the first ones are read once."""

    def __init__(self, descriptor: int, start: int = 0) -> None:
        self._descriptor, self.start = descriptor, start
        self.size = max(0, os.fstat(descriptor).st_size - start)
        self._head = os.pread(descriptor, _HEAD_BYTES, start)

    def bytes_at(self, offset: int, count: int) -> bytes:
        if offset + count <= len(self._head):
            return self._head[offset : offset + count]
        return os.pread(self._descriptor, count, self.start + offset) if 0 <= offset < self.size else b""


def chunks_from(
    file: FileBytes, layout: Layout, start: int | None = None, is_ascii: bool = True
) -> Iterator[Chunk]:
    """Chunks from an offset on, up to the end of the file or what is no chunk.

    ``is_ascii``: an identifier of other letters is no chunk's; by itself it would let much sound pass.
    """
    at = layout.first if start is None else start
    for _ in range(_MAX_CHUNKS):
        head = file.bytes_at(at, layout.head)
        highest = 126 if is_ascii else 255
        if len(head) < layout.head or not all(32 <= byte <= highest for byte in head[:4]):
            return
        size = int.from_bytes(head[layout.id_bytes :], layout.order)
        if layout.counts_head:
            size = max(0, size - layout.head)
        chunk = Chunk(head[:4], at, at + layout.head, size)
        yield chunk
        at = start_behind(file, layout, chunk)


def start_behind(file: FileBytes, layout: Layout, chunk: Chunk) -> int:
    """Where the chunk behind another one begins."""
    padded = chunk.body + -(-chunk.size // layout.align) * layout.align
    return chunk.end if padded > chunk.end and file.bytes_at(chunk.end, 4) in KNOWN else padded


def caf_breaks_off(descriptor: int) -> bool:
    """Whether a file is CAF and ends before its index, where the sizes of its sound's packets stood."""
    file = FileBytes(descriptor)
    if file.bytes_at(0, 4) != b"caff":
        return False
    chunks = {chunk.kind: chunk.body for chunk in chunks_from(file, CAF)}
    packet_bytes = file.bytes_at(chunks.get(b"desc", file.size) + 16, 4)
    return packet_bytes == bytes(4) and b"data" in chunks and b"pakt" not in chunks


def is_old_wavpack(descriptor: int) -> bool:
    """Whether a file was written by WavPack 3 or older: behind the WAV's own header stand its blocks."""
    file = FileBytes(descriptor)
    if file.bytes_at(0, 4) != b"RIFF":
        return False
    chunks = chunks_from(file, RIFF)
    return any(chunk.kind == b"data" and file.bytes_at(chunk.body, 4) == b"wvpk" for chunk in chunks)
