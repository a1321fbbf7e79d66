"""A TensorFlow checkpoint's tensors, without TensorFlow. Its index is a LevelDB table of protocol buffers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np

from ...engine.arrays import Float32
from ...engine.errors import MerError

_FOOTER = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
_FLOAT = 1  # DT_FLOAT

_Fields = Mapping[int, "int | bytes"]
_Value = TypeVar("_Value", int, bytes)


class _DamagedError(Exception):
    """The bytes are no index; the message says where."""


def tensors_from_checkpoint(index: bytes, values: bytes) -> dict[str, Float32]:
    """The float32 tensors by name.

    Args:
        index: the content of the checkpoint's ``.index``.
        values: the content of its only ``.data`` file.

    Raises:
        MerError: damaged, compressed, in several files, or a tensor lies outside ``values``.
    """
    try:
        tensors: dict[str, Float32] = {}
        for _, handle in _block(index, *_index_block(index)):
            offset, position = _varint(handle, 0)
            size, _ = _varint(handle, position)
            for name, entry in _block(index, offset, size):
                fields = _fields(entry)
                if name and fields.get(1) == _FLOAT:
                    tensors[name.decode()] = _tensor(fields, values)
        return tensors
    except (_DamagedError, UnicodeDecodeError) as error:
        raise MerError(f"no readable TensorFlow checkpoint: {error}") from None


def _index_block(index: bytes) -> tuple[int, int]:
    """Offset and size of the block that lists the others, from the footer."""
    footer = index[-_FOOTER:]
    if len(footer) < _FOOTER or not footer.endswith(_MAGIC):
        raise _DamagedError("the index has no footer")
    position = 0
    for _ in range(2):  # of another block, which is empty
        _, position = _varint(footer, position)
    offset, position = _varint(footer, position)
    return offset, _varint(footer, position)[0]


def _block(index: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block. A key begins with as many bytes of the key before as it says."""
    content = _slice(index, offset, size)
    if _slice(index, offset + size, 1) != b"\0":
        raise _DamagedError("a block of the index is compressed")
    restarts = int.from_bytes(_slice(content, size - 4, 4), "little")
    end = size - 4 - 4 * restarts
    if end < 0:
        raise _DamagedError("a block of the index is too short")
    position, key = 0, b""
    while position < end:
        shared, position = _varint(content, position)
        own, position = _varint(content, position)
        length, position = _varint(content, position)
        if shared > len(key) or position + own + length > end:
            raise _DamagedError("an entry of the index leaves its block")
        key = key[:shared] + content[position : position + own]
        position += own
        yield key, content[position : position + length]
        position += length


def _tensor(fields: _Fields, values: bytes) -> Float32:
    """One tensor, from a BundleEntryProto: 2 is its shape, 3 its file, 4 its offset there, 5 its size."""
    offset, size = _of_kind(int, fields, 4), _of_kind(int, fields, 5)
    if _of_kind(int, fields, 3) or 7 in fields:
        raise _DamagedError("a tensor lies in several parts")
    dimensions = [value for field, value in _pairs(_of_kind(bytes, fields, 2)) if field == 2]
    shape = [_of_kind(int, _fields(value), 1) for value in dimensions if isinstance(value, bytes)]
    if len(shape) > 8 or 4 * math.prod(shape) != size:
        raise _DamagedError("a tensor's size is not its shape's")
    return np.frombuffer(_slice(values, offset, size), "<f4").astype(np.float32).reshape(shape)


def _fields(message: bytes) -> _Fields:
    """The last value of every field of a protocol buffer."""
    return dict(_pairs(message))


def _pairs(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(message, position)
        elif kind in (1, 2, 5):
            size, position = _varint(message, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
            value, position = _slice(message, position, size), position + size
        else:
            raise _DamagedError("an entry of the index is no protocol buffer")
        yield tag >> 3, value


def _of_kind(kind: type[_Value], fields: _Fields, field: int) -> _Value:
    value = fields.get(field, kind())
    if not isinstance(value, kind):
        raise _DamagedError("an entry of the index is no protocol buffer")
    return value


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A number of up to 64 bits, and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        byte = _slice(content, position, 1)[0]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise _DamagedError("a number of the index has no end")


def _slice(content: bytes, offset: int, size: int) -> bytes:
    if offset < 0 or size < 0 or offset + size > len(content):
        raise _DamagedError("it ends too early")
    return content[offset : offset + size]
