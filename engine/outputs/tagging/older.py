"""What a new tag takes over from an older one in its file: players show the newest, whatever is in it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from ...audio.containers.part import part_of_file
from ...audio.decoder import TAGS
from ...audio.ffmpeg.container import open_container
from ...audio.tags.id3 import id3v1_of
from ...audio.tags.written import tags_from_file
from .others import is_name_ours, syncsafe_bytes

_NAMES = (*TAGS, "date", "track", "genre", "comment")
_FRAMES = {"title": "TIT2", "artist": "TPE1", "album": "TALB",
           "date": "TDRC", "track": "TRCK", "genre": "TCON", "comment": "COMM"}  # fmt: skip
_COMMENTS = {"track": "TRACKNUMBER", "disc": "DISCNUMBER", "album_artist": "ALBUMARTIST"}
_IS_KEY = re.compile(r"(?!id3v2_priv\.)[ -<>-}]+")  # the first is no text
_MOODS = ("tmoo", "wm/mood")  # as FFmpeg names them, beside those of others.py
_V1_BYTES = 128
_SECONDS = 60.0  # for each call of FFmpeg


def older_frames(path: str | Path, others: list[bytes], version: int) -> list[bytes]:
    """The frames to add to ID3v2 that has the frames ``others``; none where it names the song itself."""
    names = {frame[:4].decode("latin-1") for frame in others}
    if any(_FRAMES[name] in names for name in TAGS):
        return []
    found = tags_from_file(path, _NAMES)
    if "TYER" in names:
        found.pop("date", None)
    return [
        _frame(_FRAMES[name], _genre(text) if name == "genre" else text, version)
        for name, text in found.items()
        if _FRAMES[name] not in names
    ]


def older_comments(path: str | Path, others: list[bytes]) -> list[bytes]:
    """As ``older_frames``, for the comments of FLAC; where it has none, also what FFmpeg shows of ID3v2."""
    names = {comment.partition(b"=")[0].decode("ascii", "replace").upper() for comment in others}
    if any(name.upper() in names for name in TAGS):
        return []
    found = tags_from_file(path, _NAMES)
    if not names:
        shown = {name.lower(): text for name, text in shown_texts(path).items()}
        found |= {name: text for name, text in shown.items() if name not in TAGS and _IS_KEY.fullmatch(name)}
    keys = {_COMMENTS.get(name, name.upper()): text for name, text in found.items() if not _is_mood(name)}
    return [
        f"{key}={_genre(text) if key == 'GENRE' else text}".encode(errors="ignore")
        for key, text in keys.items()
        if key not in names
    ]


def shown_texts(path: str | Path) -> dict[str, str]:
    """A file's tags as FFmpeg shows them; none where it takes the end of an APEv2 tag for ID3v1.

    Raises:
        AudioError: FFmpeg cannot open the file.
    """
    with open(path, "rb") as file:
        whole = part_of_file(file.fileno())
        if whole.read(whole.length - _V1_BYTES, 3) == b"TAG" and not id3v1_of(whole):
            return {}
    with open_container(path, _SECONDS) as container:
        return dict(container.metadata)


def hidden_names(before: dict[str, str], after: dict[str, str], is_exact: bool = False) -> Iterator[str]:
    """The tags besides moods that are not there any more, under no name and with no such text.

    Args:
        is_exact: so are those that have another text.
    """
    names = {name.lower() for name in after}
    for name, text in before.items():
        is_gone = name.lower() not in names and text not in after.values()
        if not _is_mood(name) and (is_gone or (is_exact and after.get(name, text) != text)):
            yield name


def _is_mood(name: str) -> bool:
    return is_name_ours(name) or name.lower() in _MOODS


def _genre(text: str) -> str:
    """A genre's name, of which ID3 keeps the number."""
    from mutagen.id3 import TCON

    return "; ".join(TCON(encoding=3, text=[text]).genres) or text


def _frame(name: str, text: str, version: int) -> bytes:
    if version == 3 and name == "TDRC":
        name, text = "TYER", text[:4]
    about = b"eng" if name == "COMM" else b""  # a language, and an empty description
    if version == 3:
        mark = b"\xff\xfe"
        content = b"\1" + about + (about and mark + b"\0\0") + mark + text.encode("utf-16-le")
        return name.encode() + struct.pack(">IH", len(content), 0) + content
    content = b"\3" + about + (about and b"\0") + text.encode()
    return name.encode() + syncsafe_bytes(len(content)) + bytes(2) + content
