"""How much memory a model file takes once it is parsed, counted in its bytes before any parser sees them.

An empty message takes two bytes in a file and some 300 in memory: 10 MB of them are 3 GB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .errors import ArtifactError

_PARTS = 200_000  # fields of all messages: 60 MB at most; MobileNetV3 has 8,000
_PACKED_BYTES = 64  # of numbers in one field, which count as a part: a byte there becomes eight in memory

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def check_parts(content: bytes) -> None:
    """Refuses what is no protobuf message of ONNX, or one of more parts than any network has.

    Raises:
        ArtifactError: with the reason.
    """
    import onnx

    parts = 0
    waiting: list[tuple[int, int, Any]] = [(0, len(content), onnx.ModelProto.DESCRIPTOR)]
    try:
        while waiting:
            place, end, kind = waiting.pop()
            fields = _fields(kind)
            while place < end:
                tag, place = _varint(content, place)
                wire = tag & 7
                parts += 1
                if wire == _BYTES:
                    size, place = _varint(content, place)
                    inner, packed = fields.get(tag >> 3, (None, False))
                    if inner is not None:
                        waiting.append((place, place + size, inner))
                    elif packed:
                        parts += size // _PACKED_BYTES
                    place += size
                elif wire == _VARINT:
                    _, place = _varint(content, place)
                elif wire in (_FIXED32, _FIXED64):
                    place += 4 if wire == _FIXED32 else 8
                else:
                    raise IndexError
                if parts > _PARTS:
                    raise ArtifactError(f"it has more than {_PARTS:,} parts, which no network has")
            if place != end:
                raise IndexError
    except IndexError:
        raise ArtifactError("it is not an ONNX file") from None


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place after it."""
    number = content[place]
    place += 1
    if number < 0x80:
        return number, place
    number &= 0x7F
    for shift in range(7, 70, 7):
        byte = content[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise IndexError


@lru_cache(maxsize=64)
def _fields(kind: Any) -> dict[int, tuple[Any, bool]]:
    """Of a message's fields by number: the message in it, and whether it holds numbers."""
    numbers = (kind.fields[0].CPPTYPE_STRING,) if kind.fields else ()
    return {field.number: (field.message_type, field.cpp_type not in numbers) for field in kind.fields}
