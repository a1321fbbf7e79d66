"""What the description of a WAV's or W64's format says besides what libsndfile takes from it."""

from __future__ import annotations

from typing import NamedTuple

from .chunks import Chunk, FileBytes

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
