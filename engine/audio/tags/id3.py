"""Tags around the frames of an MP3, and inside of other formats: ID3v2, ID3v1, APEv2."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from ..containers.part import Part
from ..formats import id3v2_length, syncsafe
from .values import LONGEST, MOST_VALUES, Tags, add, text_from_bytes, text_from_utf16

_FRAMES = {b"TPE1": "artist", b"TIT2": "title", b"TALB": "album",
           b"TP1": "artist", b"TT2": "title", b"TAL": "album",
           b"TDRC": "date", b"TYER": "date", b"TRCK": "track", b"TCON": "genre",
           b"TYE": "date", b"TRK": "track", b"TCO": "genre"}  # fmt: skip
_APE_KEYS = {b"artist": "artist", b"title": "title", b"album": "album",
             b"year": "date", b"track": "track", b"genre": "genre", b"comment": "comment"}  # fmt: skip
_FRAME_NAME = re.compile(rb"[A-Z][A-Z0-9]{2}[A-Z0-9 \0]?")  # a blank where a name of ID3v2.2 was kept
_HEAD = 10
_V1 = 128
_V1_PLACES = {"title": (3, 33), "artist": (33, 63), "album": (63, 93), "date": (93, 97), "comment": (97, 127)}
_V1_GENRES = 192
_APE_FOOT = 32
_MOST_ITEMS = 1_000


def read_id3v2(part: Part, tags: Tags) -> None:
    """Adds the tags of the ID3v2 tag with which a part begins."""
    length = id3v2_length(part.read)
    if not length:
        return
    version, flags = part.read(3, 1)[0], part.read(5, 1)[0]
    body = part.part(_HEAD, length - _HEAD)
    unsynchronised = bool(flags & 0x80)
    if unsynchronised and version < 4:  # over the frames' heads too: positions are those after it
        whole = part.with_bytes(_synchronised(body.read(0, body.length)))
        # Some programs count the added zeros in the sizes of frames.
        counts_zeros = not _is_walked(whole, version, flags) and _is_walked(body, version, flags)
        body, unsynchronised = (body, True) if counts_zeros else (whole, False)
    for head, place, size in _frames(body, version, flags):
        if name := _FRAMES.get(head[: 3 if version == 2 else 4].rstrip(b" \0")):
            data = body.read(place, min(size, LONGEST))
            add(tags, name, *_texts(_frame_content(data, head, version, unsynchronised)))


def _frames(body: Part, version: int, flags: int) -> Iterator[tuple[bytes, int, int]]:
    """Each frame's head, and the place and the size of its content, up to what is no frame."""
    place, head_bytes = 0, 6 if version == 2 else _HEAD
    if flags & 0x40 and version == 3:
        place = 4 + struct.unpack(">I", body.read(0, 4))[0]
    elif flags & 0x40 and version == 4:
        place = syncsafe(body.read(0, 4))
    while len(head := body.read(place, head_bytes)) == head_bytes:
        size = _frame_size(body, place, version)
        behind = place + head_bytes + size
        # A broken name costs its frame, where its size leads to another.
        if not _FRAME_NAME.match(head) and not _FRAME_NAME.fullmatch(body.read(behind, 4)):
            break
        yield head, place + head_bytes, size
        place = behind


def _is_walked(body: Part, version: int, flags: int) -> bool:
    """Whether the sizes of frames lead to what fills the tag up, or to its end."""
    *_, (_, place, size) = [(b"", 0, 0), *_frames(body, version, flags)]
    return _ends_well(body, place + size)


def id3v1_of(part: Part) -> bytes:
    """The ID3v1 tag with which a part ends, or nothing. The last bytes of an APEv2 tag can look like one."""
    begin = part.length - _V1
    is_one = part.read(begin, 3) == b"TAG" and part.read(begin - 3, 8) != b"APETAGEX"
    return part.read(begin, _V1) if is_one else b""


def read_id3v1(part: Part, tags: Tags) -> None:
    """Adds the tags of the ID3v1 tag with which a part ends."""
    data = id3v1_of(part)
    if not data:
        return
    for name, (start, end) in _V1_PLACES.items():
        add(tags, name, text_from_bytes(data[start:end].split(b"\0")[0].rstrip()))
    track, genre = data[126], data[127]
    if not data[125] and track:
        add(tags, "track", str(track))
    if genre < _V1_GENRES:
        add(tags, "genre", str(genre))


def read_apev2(part: Part, tags: Tags) -> None:
    """Adds the tags of the APEv2 tag with which a part begins or, but for Lyrics3 and ID3v1, ends."""
    end = _before_lyrics3(part, _before_id3v1(part))
    foot = part.read(end - _APE_FOOT, _APE_FOOT)
    at_end = foot[:8] == b"APETAGEX"
    if not at_end:
        foot = part.read(0, _APE_FOOT)
    if foot[:8] != b"APETAGEX":
        return
    size, count = struct.unpack_from("<II", foot, 12)
    items, place = part.part(end - size if at_end else _APE_FOOT, size - _APE_FOOT), 0
    for _ in range(min(count, _MOST_ITEMS)):
        head = items.read(place, 8 + 256)
        size, flags = struct.unpack_from("<II", head)
        key = head[8:].split(b"\0")[0]
        value = place + 8 + len(key) + 1
        if (name := _APE_KEYS.get(key.lower())) and not flags & 6:  # text
            texts = items.read(value, min(size, LONGEST)).split(b"\0", MOST_VALUES)
            add(tags, name, *map(text_from_bytes, texts))
        place = value + size


def read_id3v2_at_end(part: Part, tags: Tags) -> None:
    """Adds the tags of the ID3v2 tag with which a part ends, by its footer, but for an ID3v1 tag."""
    end = _before_id3v1(part)
    foot = part.read(end - _HEAD, _HEAD)
    if foot[:3] == b"3DI":
        read_id3v2(part.part(end - 2 * _HEAD - syncsafe(foot[6:])), tags)


def _before_id3v1(part: Part) -> int:
    """Where what may stand before an ID3v1 tag ends."""
    return part.length - len(id3v1_of(part))


def _before_lyrics3(part: Part, end: int) -> int:
    foot = part.read(end - 15, 15)  # how many bytes stand before it, and a mark
    if foot[6:] != b"LYRICS200" or not foot[:6].isdigit():
        return end
    begin = end - 15 - int(foot[:6])
    return begin if part.read(begin, 11) == b"LYRICSBEGIN" else end


def _frame_size(body: Part, place: int, version: int) -> int:
    """The size of a frame's content. Old iTunes wrote plain numbers where ID3v2.4 has 7 bits a byte."""
    if version == 2:
        return int.from_bytes(body.read(place + 3, 3), "big")
    data = body.read(place + 4, 4)
    plain = int.from_bytes(data, "big")
    if version == 3 or plain < 128:
        return plain
    size = syncsafe(data)
    if max(data) > 127 or (
        not _ends_well(body, place + _HEAD + size) and _ends_well(body, place + _HEAD + plain)
    ):
        return plain
    return size


def _ends_well(body: Part, place: int) -> bool:
    """Whether a frame, or what fills the tag up, begins there, or the tag ends."""
    head = body.read(place, 4)
    return place == body.length or (len(head) == 4 and (not any(head) or _FRAME_NAME.match(head) is not None))


def _frame_content(data: bytes, head: bytes, version: int, unsynchronised: bool) -> bytes:
    """Without what a frame's flags put before or over its content; empty where it is encrypted or damaged."""
    flags = 0 if version == 2 else head[9]
    if version < 4:
        data = _synchronised(data) if unsynchronised else data
        packed, encrypted = flags & 0x80, flags & 0x40
        data = data[(4 if packed else 0) + (1 if flags & 0x20 else 0) :]
    else:
        packed, encrypted = flags & 0x08, flags & 0x04
        data = data[(1 if flags & 0x40 else 0) + (4 if flags & 0x01 else 0) :]
        data = _synchronised(data) if unsynchronised or flags & 0x02 else data
    if encrypted:
        return b""
    try:
        return zlib.decompressobj().decompress(data, LONGEST) if packed else data
    except zlib.error:
        return b""


def _texts(content: bytes) -> list[str]:
    """The texts of a frame: an encoding, then one or more texts with NUL between them."""
    encoding, data = content[:1], content[1:]
    if encoding in (b"\1", b"\2"):
        # Without a byte order mark most letters of Latin text begin with a zero; of others, few do.
        text = data.rstrip(b"\0")
        zeros = text[::2].count(0)
        is_big = encoding == b"\2" or (zeros > 1 and 4 * zeros > len(text))
        return text_from_utf16(data, "utf-16-be" if is_big else "utf-16-le").split("\0", MOST_VALUES)
    return [text_from_bytes(text) for text in data.split(b"\0", MOST_VALUES)]


def _synchronised(data: bytes) -> bytes:
    return data.replace(b"\xff\0", b"\xff")
