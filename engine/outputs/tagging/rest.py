"""What is not written in a file that gets a mood, and would not fit it: moods in other tags, an index."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...audio.containers.mp4_boxes import has_fragment_index
from ...audio.containers.part import Exhausted, Part, part_of_file
from ...audio.formats import id3v2_length
from ...errors import MerError
from .others import MOOD

_MOST_TAGS = 10
_WITH_COMMENTS = (b"fLaC", b"OggS")


def check_rest(path: str | Path, values: Mapping[str, str]) -> None:
    """Refuses a file of which something that is not written would not fit ``values`` any more.

    Raises:
        MerError: another mood is in an APEv2 or ID3v2 tag beside the one that is written; it is an
            MP4 with an index of its fragments, which move.
    """
    with open(path, "rb") as file:
        if has_fragment_index(file.fileno()):
            raise MerError(
                "the index of its fragments would not fit: save it anew (ffmpeg -i FILE -c copy OUT.m4a)"
            )
    found = {"its APEv2 tag": _apev2_moods(path), "an ID3v2 tag beside its own": _further_moods(path)}
    for tag, moods in found.items():
        if any(mood != values.get(MOOD) for mood in moods):
            raise MerError(f"a mood in {tag} would stay: take that tag away with a tag editor first")


def moods_in_rest(path: str | Path) -> list[str]:
    """The moods in tags that are not written: some players show them first."""
    return [*_apev2_moods(path), *_further_moods(path)]


def _apev2_moods(path: str | Path) -> list[str]:
    """The moods of the APEv2 tag that an MP3 can have beside ID3."""
    from mutagen.apev2 import APETextValue, APEv2

    try:
        value = APEv2(str(path)).get(MOOD)
    except Exception:  # there is no such tag, or it is damaged: then no player shows it
        return []
    return [text for text in value if text] if isinstance(value, APETextValue) else []


def _further_moods(path: str | Path) -> list[str]:
    """The moods of the ID3v2 tags behind the first, and of those in front of FLAC and Ogg."""
    from mutagen.id3 import ID3

    moods: list[str] = []
    with open(path, "rb") as file, suppress(Exhausted):
        for tag in _further_tags(part_of_file(file.fileno())):
            with suppress(Exception):  # it is damaged, as above
                tags: Any = ID3(io.BytesIO(tag))
                for key, frame in tags.items():
                    if key.upper() in ("TMOO", f"TXXX:{MOOD}"):
                        moods += filter(None, map(str, frame.text))
    return moods


def behind_tags(part: Part) -> Part:
    """A file without the ID3v2 tags with which it begins."""
    return _split(part)[1]


def _further_tags(part: Part) -> Iterator[bytes]:
    tags, rest = _split(part)
    for tag in tags if rest.read(0, 4) in _WITH_COMMENTS else tags[1:]:
        yield tag.read(0, tag.length)


def _split(part: Part) -> tuple[list[Part], Part]:
    tags: list[Part] = []
    while len(tags) < _MOST_TAGS and (length := id3v2_length(part.read)):
        tags.append(part.part(0, length))
        part = part.part(length)
    return tags, part
