"""The bytes of a model file: what they cost once they are parsed, and the metadata among them.

An empty message takes two bytes in a file and some 300 in memory: 10 MB of them are 3 GB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .errors import ArtifactError

_PARTS = 200_000  # fields of all messages: 60 MB at most; MobileNetV3 has 8,000
_PACKED_BYTES = 512  # of whole numbers, which count as a part: a byte there becomes four or eight in memory

_METADATA_PROPS = 14  # of ModelProto

# Wire types; the others are of groups, which ONNX has none of.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PACKED = (_VARINT, _BYTES)  # repeated whole numbers
_UNKNOWN = (None, (_VARINT, _FIXED64, _BYTES, _FIXED32))


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
                inner, wires = fields.get(tag >> 3, _UNKNOWN)
                wire = tag & 7
                parts += 1
                if wire not in wires:
                    raise IndexError
                if wire == _BYTES:
                    size, place = _varint(content, place)
                    if inner is not None:
                        waiting.append((place, place + size, inner))
                    elif wires == _PACKED:
                        parts += size // _PACKED_BYTES
                    place += size
                elif wire == _VARINT:
                    _, place = _varint(content, place)
                else:
                    place += 4 if wire == _FIXED32 else 8
                if parts > _PARTS:
                    raise ArtifactError(f"it has more than {_PARTS:,} parts, which no network has")
            if place != end:
                raise IndexError
    except IndexError:
        raise ArtifactError("it is not an ONNX file") from None


def metadata_from_model(content: bytes) -> list[tuple[str, str]]:
    """The ``metadata_props`` of a model that is trusted, in their order, without the parser.

    To import that takes longer than labelling a song.

    Raises:
        ArtifactError: it is no protobuf message.
    """
    try:
        entries = [_bytes_of(entry) for number, entry in _bytes_of(content) if number == _METADATA_PROPS]
    except IndexError:
        raise ArtifactError("it is not an ONNX file") from None
    return [(fields.get(1, b"").decode(), fields.get(2, b"").decode()) for fields in map(dict, entries)]


def _bytes_of(content: bytes) -> list[tuple[int, bytes]]:
    """The fields of a message that are bytes, texts or messages, each with its number."""
    found, place = [], 0
    while place < len(content):
        tag, place = _varint(content, place)
        wire = tag & 7
        if wire == _BYTES:
            size, place = _varint(content, place)
            found.append((tag >> 3, content[place : place + size]))
            place += size
        elif wire == _VARINT:
            _, place = _varint(content, place)
        else:
            place += 4 if wire == _FIXED32 else 8
    if place != len(content):
        raise IndexError
    return found


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
def _fields(kind: Any) -> dict[int, tuple[Any, tuple[int, ...]]]:
    """Of a message's fields by number: the message in it, and the wire types that it may have.

    A parser passes over a field of another wire type, and so one file could be two: the model that was
    checked, and one of another format that another library reads.
    """
    return {field.number: (field.message_type, _wires(field)) for field in kind.fields}


def _wires(field: Any) -> tuple[int, ...]:
    if field.message_type is not None or field.cpp_type == field.CPPTYPE_STRING:
        return (_BYTES,)
    wire = {field.CPPTYPE_FLOAT: _FIXED32, field.CPPTYPE_DOUBLE: _FIXED64}.get(field.cpp_type, _VARINT)
    # An old protobuf has no is_repeated, a new one warns about the label.
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    return (wire, _BYTES) if repeated else (wire,)
