"""What stands in a file's tags beside moods and shares, as its bytes: none of it may change.

Mutagen reads what tags mean and writes that anew: dates that it cannot read, and all but the last of two
frames with one name, would be gone. So it parses nothing here.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ...audio.formats import is_mp4, syncsafe
from ...errors import MerError
from .mp4_items import items_of_mp4

MOOD, SHARE = "MOOD", "MER_"

_HEAD, _HEAD_2_2 = 10, 6  # bytes before a frame's content; also those before the frames
_NAME, _NAME_2_2 = re.compile(rb"[A-Z][A-Z0-9]{2}[A-Z0-9 \0]"), re.compile(rb"[A-Z][A-Z0-9]{2}")
_UNSYNCHRONISED, _HAS_LENGTH = 0x02, 0x01  # flags of a frame of ID3v2.4
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_CHANGED_IN_2_3 = ("LNK", "CRM")  # the content too, or there is no such frame any more
_PICTURES = {b"JPG": b"image/jpeg", b"-->": b"-->"}
FLAC_PADDING, FLAC_COMMENTS = 1, 4
_SAVE_ANEW = "save it as ID3v2.3 or 2.4 with a tag editor first"
_OGG_COMMENTS = (b"\3vorbis", b"OpusTags", b"\x81theora")


def is_name_ours(name: str) -> bool:
    """Whether a tag of this name, in any case, holds a mood or a share."""
    return name.upper() == MOOD or name.upper().startswith(SHARE)


def other_entries(path: str | Path) -> list[list[bytes]]:
    """The ID3v2 frames, Vorbis comments or items of MP4 of a file that are none of ours, of each tag.

    They are in order, items by their names first. The first of comments is the name of what wrote them. Of an
    Ogg file each stream has its own. Empty in other formats, and before a file's first tag.

    Raises:
        MerError: they cannot be read, or not be kept (as in ``other_frames``).
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        start = _tag_end(file) if file.read(3) == b"ID3" else 0
        file.seek(start)
        kind, box = file.read(4), file.read(4)
        file.seek(start + len(kind))
        try:
            blocks = _ogg(file, start) if kind == b"OggS" else None
            if kind == b"fLaC":
                blocks = (block for code, block in _flac(file) if code == FLAC_COMMENTS)
            if blocks is not None:
                return [list(_comments(block)) for block in blocks]
        except struct.error:
            raise MerError("its comments are damaged") from None
    if is_mp4(kind + box) and (items := other_items(path)) is not None:
        return [items]
    frames = other_frames(path)
    return [] if frames is None else [frames]


def other_blocks(path: str | Path) -> list[tuple[int, bytes]]:
    """The blocks of a FLAC file's metadata, by their kinds, that are neither comments nor filling, in order.

    Pictures, an index, a cue sheet and the like; none in other formats.
    """
    with open(path, "rb") as file:
        file.seek(_tag_end(file) if file.read(3) == b"ID3" else 0)
        if file.read(4) != b"fLaC":
            return []
        return [each for each in _flac(file) if each[0] not in (FLAC_COMMENTS, FLAC_PADDING)]


def comments_as_bytes(others: list[bytes], ours: Mapping[str, str]) -> bytes:
    """A block of Vorbis comments: others as ``other_entries`` has them, then ours."""
    vendor, *comments = others
    comments += [f"{name}={text}".encode() for name, text in ours.items()]
    head, *rest = (struct.pack("<I", len(text)) + text for text in (vendor, *comments))
    return head + struct.pack("<I", len(comments)) + b"".join(rest)


def other_frames(path: str | Path) -> list[bytes] | None:
    """The frames, with their heads, of the ID3v2 tag of an MP3, WAV or AIFF file that are none of ours.

    As they are to be written behind a head without flags, in the tag's own version; those of 2.2 as 2.3.
    Whatever else stands behind them is the last one. None where there is no tag.

    Raises:
        MerError: something in it has no place in a new tag.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(_tag_start(file))
        head = file.read(_HEAD)
        if len(head) < _HEAD or head[:3] != b"ID3":
            return None
        version, flags = head[3], head[5]
        if version == 4 and flags & 0x10:
            raise MerError(f"its ID3v2.4 tag has a footer, which would be left behind: {_SAVE_ANEW}")
        if version == 2 and flags & 0x40:
            raise MerError(f"its ID3v2.2 tag is compressed: {_SAVE_ANEW}")
        data = file.read(syncsafe(head[6:]))
    is_unsynchronised = bool(flags & 0x80)
    if is_unsynchronised and version < 4:
        data = _synchronised(data)
    if flags & 0x40 and not _NAME.match(data):  # some set the flag and write no extended head
        data = data[4 + int.from_bytes(data[:4], "big") if version == 3 else syncsafe(data[:4]) :]
    frames, rest = _frames(data, version)
    if version == 2:
        frames = [_upgraded(frame) for frame in frames]
        if rest:
            raise MerError(f"its ID3v2.2 tag holds something that is no frame: {_SAVE_ANEW}")
    if is_unsynchronised and version == 4:
        frames = [_with_flag(frame) for frame in frames]
    return [*(frame for frame in frames if not _is_frame_ours(frame, version)), *([rest] if rest else [])]


def other_items(path: str | Path) -> list[bytes] | None:
    """As ``items_of_mp4``, those that are none of ours."""
    items = items_of_mp4(path)
    return None if items is None else [item for name, item in items if not is_name_ours(name)]


def _tag_start(file: IO[bytes]) -> int:
    """Where an ID3v2 tag begins, if there is one: in WAV and AIFF in a chunk."""
    file.seek(0)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"FORM"):
        return 0
    order = "<" if head[:4] == b"RIFF" else ">"
    place = 12
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        if name.upper() == b"ID3 ":
            return place + 8
        place += 8 + size + size % 2
        file.seek(place)
    return place


def _tag_end(file: IO[bytes]) -> int:
    """Where the tag with which a file begins ends."""
    file.seek(0)
    head = file.read(_HEAD)
    return len(head) + syncsafe(head[6:])


def _frames(data: bytes, version: int) -> tuple[list[bytes], bytes]:
    """The frames, and what is neither a frame nor filling."""
    if version == 2:
        return _split(data, _NAME_2_2, _HEAD_2_2, lambda head: int.from_bytes(head[3:6], "big"))

    def plain(head: bytes) -> int:
        return int.from_bytes(head[4:8], "big")

    found = _split(data, _NAME, _HEAD, plain if version == 3 else lambda head: syncsafe(head[4:8]))
    if version == 4 and found[1]:  # old iTunes wrote plain numbers
        other = _split(data, _NAME, _HEAD, plain)
        return found if other[1] or len(other[0]) < len(found[0]) else other
    return found


def _split(data: bytes, name: re.Pattern[bytes], head_bytes: int, size_of: Any) -> tuple[list[bytes], bytes]:
    frames, place = [], 0
    while name.match(data, place) and place + head_bytes <= len(data):
        end = place + head_bytes + size_of(data[place : place + head_bytes])
        if end > len(data):
            break
        frames.append(data[place:end])
        place = end
    return frames, data[place:].rstrip(b"\0")


def _upgraded(frame: bytes) -> bytes:
    """A frame of ID3v2.2 as one of 2.3: the content is the same but for pictures."""
    from mutagen.id3 import Frames, Frames_2_2

    name, content = frame[:3].decode(), frame[_HEAD_2_2:]
    known = Frames_2_2.get(name)
    new_name = known.__base__.__name__ if known and name not in _CHANGED_IN_2_3 else ""
    if new_name not in Frames:
        raise MerError(f"its frame {name} of ID3v2.2 would be lost: {_SAVE_ANEW}")
    if name == "PIC":
        kind = content[1:4]
        mime = _PICTURES.get(kind.upper(), b"image/" + kind.strip(b" \0").lower())
        content = content[:1] + mime + b"\0" + content[4:]
    return new_name.encode() + struct.pack(">IH", len(content), 0) + content


def _with_flag(frame: bytes) -> bytes:
    """A frame that says itself that it is unsynchronised: the new tag's head does not say it of all."""
    content = frame[_HEAD:]
    if _synchronised(content) == content:
        return frame
    return frame[:9] + bytes([frame[9] | _UNSYNCHRONISED]) + content


def _is_frame_ours(frame: bytes, version: int) -> bool:
    name, flags, content = frame[:4], frame[9], frame[_HEAD:]
    if name != b"TXXX" or (flags and version != 4) or flags & ~(_UNSYNCHRONISED | _HAS_LENGTH):
        return name == b"TMOO"
    content = content[4:] if flags & _HAS_LENGTH else content
    content = _synchronised(content) if flags & _UNSYNCHRONISED else content
    if not content or content[0] >= len(_ENCODINGS):
        return False
    encoding, texts = _ENCODINGS[content[0]], content[1:]
    if content[0] in (1, 2):
        ends = (at for at in range(0, len(texts) - 1, 2) if texts[at : at + 2] == b"\0\0")
        description = texts[: next(ends, len(texts))]
    else:
        description = texts.split(b"\0")[0]
    return is_name_ours(description.decode(encoding, "replace"))


def _synchronised(data: bytes) -> bytes:
    """Without the zeros that keep content from looking like sound; as it is where that was not done."""
    if re.search(rb"\xff(?:[\xe0-\xff]|\Z)", data):
        return data
    return data.replace(b"\xff\0", b"\xff")


def syncsafe_bytes(number: int) -> bytes:
    """Four bytes of 7 bits each."""
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def _flac(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The blocks with their kinds; the file stands behind its first four bytes."""
    last = False
    while not last and len(head := file.read(4)) == 4:
        last, size = bool(head[0] & 0x80), int.from_bytes(head[1:], "big")
        block = file.read(size)
        yield head[0] & 0x7F, block


def _ogg(file: IO[bytes], start: int) -> Iterator[bytes]:
    """The comments of each stream of an Ogg file: its second packet, behind what says that it is that."""
    from mutagen.ogg import OggPage
    from mutagen.ogg import error as OggError

    file.seek(start)
    pages: defaultdict[int, list[Any]] = defaultdict(list)
    ended: dict[int, int] = {}  # packets of each stream
    try:
        while not ended or min(ended.values()) < 2:
            page: Any = OggPage(file)
            if page.first or ended.get(page.serial, 2) < 2:
                pages[page.serial].append(page)
                done = len(page.packets) - (not page.complete)
                ended[page.serial] = ended.get(page.serial, 0) + done
    except (EOFError, OggError):  # a stream without sound has one packet
        pass
    for serial in (each for each, count in ended.items() if count >= 2):
        first, second = OggPage.to_packets(pages[serial])[:2]
        for head in _OGG_COMMENTS:
            if second.startswith(head):
                yield second[len(head) :]
        if first.startswith(b"\x7fFLAC"):
            yield second[4:]
        elif first.startswith(b"Speex   "):
            yield second


def _comments(block: bytes) -> Iterator[bytes]:
    """The vendor's name and the comments, without ours."""
    (size,) = struct.unpack_from("<I", block)
    yield block[4 : 4 + size]
    place = 4 + size
    (count,) = struct.unpack_from("<I", block, place)
    place += 4
    for _ in range(count):
        (size,) = struct.unpack_from("<I", block, place)
        comment = block[place + 4 : place + 4 + size]
        key, equals, _text = comment.partition(b"=")
        if not (equals and is_name_ours(key.decode("ascii", "replace"))):
            yield comment
        place += 4 + size
