"""Tags as bytes, made by hand after the formats' descriptions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from uuid import UUID

from merkit.engine.audio.containers.part import Effort, Part
from merkit.engine.audio.tags.values import Tags

ARTISTS = ["First", "गीत 💔", "Beyoncé"]
TITLE = "Déjà Vu / AC/DC"
ALBUM = "अल्बम"
EXPECTED = {"artist": "First; गीत 💔; Beyoncé", "title": TITLE, "album": ALBUM}
PICTURE = bytes(range(256)) * 800
"""200 kB, more than any text that is read."""


def part_of(data: bytes) -> Part:
    return Part(data, 0, len(data), Effort())


def tags_read(reader: Callable[[Part, Tags], None], data: bytes) -> Tags:
    tags: Tags = {}
    reader(part_of(data), tags)
    return tags


def syncsafe(number: int) -> bytes:
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def id3_frame(name: str, content: bytes, version: int = 4, flags: int = 0) -> bytes:
    if version == 2:
        return name.encode() + len(content).to_bytes(3, "big") + content
    size = syncsafe(len(content)) if version == 4 else struct.pack(">I", len(content))
    return name.encode() + size + bytes([0, flags]) + content


def id3v2(frames: bytes, version: int = 4, flags: int = 0, padding: int = 20) -> bytes:
    body = frames + bytes(padding)
    if flags & 0x80 and version < 4:
        body = unsynchronised(body)
    return b"ID3" + bytes([version, 0, flags]) + syncsafe(len(body)) + body


def unsynchronised(data: bytes) -> bytes:
    """A zero after each 0xFF that would look like a frame of MP3, or that is followed by a zero."""
    parts = []
    for byte, following in zip(data, [*data[1:], 0xFF], strict=True):
        parts.append(bytes([byte]))
        if byte == 0xFF and (following >= 0xE0 or following == 0):
            parts.append(b"\0")
    return b"".join(parts)


def id3_text(texts: Sequence[str], encoding: int = 3) -> bytes:
    """The content of a text frame."""
    if encoding == 1:  # a byte order mark before every text
        return b"\1" + b"\0\0".join(b"\xff\xfe" + text.encode("utf-16-le") for text in texts)
    if encoding == 2:
        return b"\2" + b"\0\0".join(text.encode("utf-16-be") for text in texts)
    return bytes([encoding]) + b"\0".join(text.encode() for text in texts)


def whole_id3(version: int = 4, encoding: int = 3, flags: int = 0) -> bytes:
    """A tag whose picture stands between its texts."""
    names = ("TT2", "PIC", "TP1", "TAL") if version == 2 else ("TIT2", "APIC", "TPE1", "TALB")
    contents = (
        id3_text([TITLE], encoding),
        PICTURE,
        id3_text(ARTISTS, encoding),
        id3_text([ALBUM], encoding),
    )
    frames = [id3_frame(name, content, version) for name, content in zip(names, contents, strict=True)]
    return id3v2(b"".join(frames), version, flags)


def id3v1(title: bytes, artist: bytes, album: bytes = b"") -> bytes:
    return b"TAG" + title.ljust(30, b"\0") + artist.ljust(30, b"\0") + album.ljust(30, b"\0") + bytes(35)


def apev2(items: Sequence[tuple[str, bytes, int]]) -> bytes:
    """A tag of (key, value, flags)."""
    body = b"".join(
        struct.pack("<II", len(value), flags) + key.encode() + b"\0" + value for key, value, flags in items
    )
    foot = b"APETAGEX" + struct.pack("<IIII", 2000, len(body) + 32, len(items), 0) + bytes(8)
    return body + foot


def apev2_in_front(items: Sequence[tuple[str, bytes, int]]) -> bytes:
    """As ``apev2``, with a header and no footer: its size counts neither."""
    tag = apev2(items)
    return tag[-32:] + tag[:-32]


def chunk(name: bytes, content: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(content)) + content + bytes(len(content) % 2)


def riff(chunks: bytes, name: bytes = b"RIFF", kind: bytes = b"WAVE", order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", 4 + len(chunks)) + kind + chunks


def wav(fmt: bytes, content: bytes) -> bytes:
    return riff(chunk(b"fmt ", fmt) + b"data" + struct.pack("<I", len(content)) + content)


def comments(pairs: Sequence[tuple[str, str]]) -> bytes:
    """Vorbis comments."""
    texts = [f"{key}={value}".encode() for key, value in pairs]
    body = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack("<I", 3) + b"lib" + struct.pack("<I", len(texts)) + body


def whole_comments() -> bytes:
    """With a picture before the texts, and names that are not ours."""
    pairs = [("METADATA_BLOCK_PICTURE", "A" * 300_000), ("ARTISTS", "Other"), ("Title", TITLE)]
    return comments([*pairs, *(("ARTIST", name) for name in ARTISTS), ("album", ALBUM), ("ALBUMARTIST", "x")])


def flac(blocks: Sequence[tuple[int, bytes]]) -> bytes:
    """A FLAC file's head: (type, content) of each block."""
    heads = [number | (0x80 if i == len(blocks) - 1 else 0) for i, (number, _) in enumerate(blocks)]
    return b"fLaC" + b"".join(
        bytes([head]) + len(content).to_bytes(3, "big") + content
        for head, (_, content) in zip(heads, blocks, strict=True)
    )


def ogg(packets: Sequence[bytes], stream: int = 7) -> bytes:
    """Each packet begins a page, and goes on over as many as it needs."""
    pages = []
    for packet in packets:
        sizes = [255] * (len(packet) // 255) + [len(packet) % 255]
        for first in range(0, len(sizes), 255):
            part = sizes[first : first + 255]
            head = b"OggS" + bytes(10) + struct.pack("<I", stream) + bytes(8) + bytes([len(part)])
            pages.append(head + bytes(part) + packet[255 * first : 255 * first + sum(part)])
    return b"".join(pages)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def long_box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 1) + name + struct.pack(">Q", 16 + len(content)) + content


def data_box(text: bytes, kind: int = 1) -> bytes:
    return box(b"data", struct.pack(">II", kind, 0) + text)


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"


def asf_object(guid: str, content: bytes) -> bytes:
    return UUID(guid).bytes_le + struct.pack("<Q", 24 + len(content)) + content


def asf(objects: bytes) -> bytes:
    return asf_object("75b22630-668e-11cf-a6d9-00aa0062ce6c", struct.pack("<IH", 3, 0x201) + objects)


def element(identifier: str, content: bytes) -> bytes:
    """An element of Matroska; its identifier is hexadecimal."""
    return bytes.fromhex(identifier) + struct.pack(">Q", 1 << 56 | len(content)) + content


def simple_tag(name: str, text: str) -> bytes:
    return element("67C8", element("45A3", name.encode()) + element("4487", text.encode()))


def matroska(content: bytes) -> bytes:
    """A file with one segment."""
    return element("1A45DFA3", element("4282", b"matroska")) + element("18538067", content)
