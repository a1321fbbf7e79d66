"""The mood of a song in its file's tags, by mutagen, which the extra ``tags`` brings."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...audio.containers.part import part_of_file
from ...audio.tags.id3 import id3v1_of
from ...errors import MerError
from .kinds import opened
from .older import older_comments, older_frames
from .others import (
    FLAC_COMMENTS,
    FLAC_PADDING,
    MOOD,
    comments_as_bytes,
    is_name_ours,
    other_blocks,
    other_entries,
    other_frames,
    other_items,
)
from .others import SHARE as _SHARE
from .rest import check_rest, moods_in_rest

_ITUNES = "----:com.apple.iTunes:"
_ASF_MOOD = "WM/Mood"
_NOT_IN_KEYS = re.compile("[^ -<>-}]")  # what a Vorbis comment's name cannot hold
_SHORT = 10  # bytes of a frame that holds nothing


def share_name(label: str) -> str:
    """The name of a label's probability in tags: "MER_HAPPY". What is not ASCII stands there as escapes.

    All of it is in capitals: some formats keep the case of names, others do not.
    """
    name = label.upper().encode("ascii", "backslashreplace").decode()
    return _SHARE + _NOT_IN_KEYS.sub(lambda character: f"\\x{ord(character[0]):02x}", name).upper()


def values_of(emotion: str, labels: tuple[str, ...], shares: tuple[float, ...]) -> dict[str, str]:
    """What stands in a file's tags for a label: name to text."""
    named = {share_name(label): f"{share:.3f}" for label, share in zip(labels, shares, strict=True)}
    return {MOOD: emotion, **named}


def is_ours(values: Mapping[str, str]) -> bool:
    """Whether a file's tags were written here: the shares stand there, whatever its mood is now."""
    return any(name.startswith(_SHARE) for name in values)


def is_mood_ours(values: Mapping[str, str]) -> bool:
    """Whether the mood was written here too: its share is the largest, or one of those.

    Of one that was set by hand since the share is missing or smaller, another label's too. Shares without a
    mood are ours.
    """
    if MOOD not in values:
        return is_ours(values)
    shares = {name: _number(text) for name, text in values.items() if name.startswith(_SHARE)}
    own = shares.get(share_name(values[MOOD]), math.nan)
    return own == max([*shares.values(), own])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def require_mutagen() -> None:
    """Raises MerError if mutagen is not installed, with what installs it."""
    try:
        import mutagen  # noqa: F401
    except ImportError:
        raise MerError("tags are read and written by mutagen: pip install 'merkit[tags]'") from None


def read_moods(path: str | Path) -> dict[str, str]:
    """The mood of a file and the shares that were written here; empty if it has none.

    Several moods that are not the same are one text, with "; " between them: also those in tags
    that are not written (``check_rest``).

    Raises:
        NoPlaceError: its format has no place for them.
        MerError: mutagen cannot read it.
    """
    return _moods(_opened(path), path)


def write_moods(path: str | Path, values: Mapping[str, str]) -> list[bytes]:
    """Writes ``values_of`` in the place of earlier ones, and nothing else. The file is changed in place.

    ID3 stays in its version: TMOO in 2.4 and TXXX:MOOD in 2.3, as UTF-16 where that is needed. Its other
    frames keep their bytes, as Vorbis comments and items of MP4 do. A tag of MP3, WAV, AIFF or FLAC without a
    title, artist and album, new or not, gets those of the file's older tags (ID3v1, APEv2, INFO), which it
    would hide.

    Returns:
        The frames or comments that it got so, as ``other_entries`` has them.

    Raises:
        NoPlaceError, MerError: as ``read_moods`` and ``check_rest``; or it cannot be written, and may be
            damaged.
    """
    check_rest(path, values)
    file = _opened(path)
    for key in [key for key, _ in _entries(file)]:
        del file.tags[key]
    old_v1 = _id3v1(path)
    try:
        if file.tags is None:
            file.add_tags()
        options, added = (_write_id3 if _is_id3(file) else _write_other)(file, values, path)
        file.save(str(path), **options)
    except MerError:
        raise
    except Exception as error:  # as in _opened
        raise MerError(f"mutagen cannot write its tags: {_reason(error)}") from None
    if old_v1 and _id3v1(path):
        with open(path, "rb+") as raw:  # mutagen writes its texts anew, those in Hindi as question marks
            raw.seek(-len(old_v1), os.SEEK_END)
            raw.write(old_v1)
    return added


def _opened(path: str | Path) -> Any:
    try:
        return opened(path)
    except MerError:
        raise
    # Its readers meet whatever bytes there are, and not all of their errors are its own kind.
    except Exception as error:
        raise MerError(f"mutagen cannot read it: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _is_id3(file: Any) -> bool:
    from mutagen.id3 import ID3

    return isinstance(file.tags, ID3)


def _moods(file: Any, path: str | Path) -> dict[str, str]:
    moods: dict[str, list[str]] = {}
    for key, name in _entries(file):
        value = file.tags[key]
        if _is_id3(file):
            value = value.text
        for each in value if isinstance(value, list) else [value]:
            text = each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each)
            texts = moods.setdefault(name, [])
            if text not in texts:
                texts.append(text)
    for text in moods_in_rest(path):
        texts = moods.setdefault(MOOD, [])
        if text not in texts:
            texts.append(text)
    return {name: "; ".join(filter(None, texts)) for name, texts in moods.items()}


def _entries(file: Any) -> list[tuple[str, str]]:
    """The keys in a file's tags that are ours or a mood, each with its name."""
    if file.tags is None:
        return []
    found = []
    for key in file.tags.keys():  # noqa: SIM118 - of a Vorbis comment iteration gives pairs
        name = key.upper()
        if _is_id3(file):
            name = MOOD if name == "TMOO" else name.removeprefix("TXXX:") if name.startswith("TXXX:") else ""
        elif name.startswith(_ITUNES.upper()):
            name = name[len(_ITUNES) :]
        elif name == _ASF_MOOD.upper():
            name = MOOD
        if is_name_ours(name):
            found.append((key, name))
    return found


def _write_id3(file: Any, values: Mapping[str, str], path: str | Path) -> tuple[dict[str, Any], list[bytes]]:
    """What mutagen needs to save the tags, and what they got of older ones."""
    from mutagen.id3 import TMOO, TXXX, Encoding

    tags: Any = file.tags
    version = 3 if tags.version[:2] in ((2, 2), (2, 3)) else 4
    others = other_frames(path) or []
    added = older_frames(path, others, version) if values else []
    tags.clear()
    # Mutagen leaves out what is short, and what it takes for that of a tag of another version.
    tags.unknown_frames = [b"".join(others + added).ljust(_SHORT + 1, b"\0")]
    tags._unknown_v2_version = version
    for name, text in values.items():
        frame = (
            TMOO(encoding=Encoding.UTF8, text=[text])
            if name == MOOD and version == 4
            else TXXX(encoding=Encoding.UTF8, desc=name, text=[text])
        )
        tags.add(frame)
    return {"v2_version": version, "v23_sep": None}, added


def _write_other(
    file: Any, values: Mapping[str, str], path: str | Path
) -> tuple[dict[str, Any], list[bytes]]:
    """As ``_write_id3``."""
    from mutagen.asf import ASF
    from mutagen.flac import FLAC
    from mutagen.mp4 import MP4, AtomDataType, MP4FreeForm

    tags: Any = file.tags
    if isinstance(file, MP4):
        tags.clear()
        tags._failed_atoms = {}  # of those that it could not read mutagen writes back the bytes
        for item in other_items(path) or []:
            tags._failed_atoms.setdefault(item[:4].decode("latin-1"), []).append(item[4:])
        for name, text in values.items():
            tags[_ITUNES + name] = [MP4FreeForm(text.encode(), AtomDataType.UTF8)]
        return {}, []
    others = other_entries(path)
    if isinstance(file, FLAC):
        kept = [block for block in file.metadata_blocks if block.code not in (FLAC_PADDING, FLAC_COMMENTS)]
        for block, (_, content) in zip(kept, other_blocks(path), strict=True):
            block.write = lambda content=content: content
    takes_over = values and isinstance(file, FLAC) and len(others) < 2
    added = older_comments(path, others[0][1:] if others else []) if takes_over else []
    if len(others) == 1:  # mutagen puts the bytes into their place, and is not to make them
        block, is_framed = comments_as_bytes(others[0] + added, values), not isinstance(file, FLAC)
        tags.write = lambda framing=is_framed: block + (b"\1" if framing else b"")
        return {}, added
    for comment in added:
        key, _, text = comment.decode().partition("=")
        tags[key] = [text]
    for name, text in values.items():
        tags[_ASF_MOOD if isinstance(file, ASF) and name == MOOD else name] = [text]
    return {}, added


def _id3v1(path: str | Path) -> bytes:
    """A file's ID3v1, or nothing."""
    with open(path, "rb") as file:
        return id3v1_of(part_of_file(file.fileno()))
