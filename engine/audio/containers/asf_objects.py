"""Objects of ASF (WMA, WMV), and whether the sound in them is encrypted."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .part import Part

ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
"""The first bytes of a file."""

_STREAM = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365")
_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
_ENCRYPTIONS = {  # Content Encryption, and its extended form
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),
    bytes.fromhex("14e68a292226174cb935dae07ee9289c"),
}
_HEAD = 24
_FLAGS_AT = 48  # in a stream's description
_ENCRYPTED = 0x8000


def header_of_asf(part: Part) -> Part:
    """The objects in the header of a file."""
    (size,) = struct.unpack("<Q", part.read(16, 8))
    return part.part(30, size - 30)


def objects(part: Part) -> Iterator[tuple[bytes, Part]]:
    """Each object in ``part``, one after the other: its GUID as it is written, and what it holds.

    Raises:
        Exhausted: too much was read.
    """
    place = 0
    while len(head := part.read(place, _HEAD)) == _HEAD:
        (size,) = struct.unpack_from("<Q", head, 16)
        if size < _HEAD:
            return
        yield head[:16], part.part(place + _HEAD, size - _HEAD)
        place += size


def is_encrypted(file: Part) -> bool:
    """Whether all sound of an ASF file is encrypted. FFmpeg decodes it all the same, to noise.

    Raises:
        Exhausted: too much was read.
    """
    if len(head := file.read(0, 30)) < 30 or not head.startswith(ASF):
        return False
    names: set[bytes] = set()
    streams: list[tuple[bool, bool]] = []  # of each stream: whether it is sound, whether it is encrypted
    for name, content in objects(header_of_asf(file)):
        names.add(name)
        if name == _STREAM:
            flags = int.from_bytes(content.read(_FLAGS_AT, 2), "little")
            streams.append((content.read(0, 16) == _AUDIO, bool(flags & _ENCRYPTED)))
    if any(encrypted for _, encrypted in streams):
        return all(encrypted for is_sound, encrypted in streams if is_sound)
    return not _ENCRYPTIONS.isdisjoint(names)
