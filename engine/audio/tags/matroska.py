"""Tags of Matroska and WebM: the song's, apart from those of the album, a track or a chapter (RFC 9559).

FFmpeg names them TRACK/TITLE and ALBUM/TITLE where their level has a name, and where it has only a number the
last one of the file stands for all; of several artists it keeps the last.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import takewhile

from ..containers.matroska import SEGMENT, TRACK, TRACKS, elements, number_at
from ..containers.part import Part, within
from ..decoder import TAGS
from .values import LONGEST, Tags, add, text_from_bytes

_SEEK, _SEEK_ID, _SEEK_POSITION = (b"\x11M\x9bt", b"M\xbb"), b"S\xab", b"S\xac"
_TITLE_OF_FILE = b"\x15I\xa9f", b"{\xa9"  # Info, Title
_TRACK_UID, _TRACK_NAME = b"s\xc5", b"Sn"
_CLUSTER = b"\x1fC\xb6u"
_TAGS, _TAG, _TARGETS, _SIMPLE = b"\x12T\xc3g", b"ss", b"c\xc0", b"g\xc8"
_LEVEL, _LEVEL_NAME = b"h\xca", b"c\xca"
_NAME, _TEXT = b"E\xa3", b"D\x87"
_OF_TRACK, _OF_OTHERS = b"c\xc5", (b"c\xc4", b"c\xc9", b"c\xc6")  # chapters, editions, attachments
_SONG, _WHOLE = 30, 50
_LEVELS = {"TRACK": _SONG, "SONG": _SONG, "ALBUM": _WHOLE, "CONCERT": _WHOLE, "MOVIE": _WHOLE}


def read_matroska(part: Part, tags: Tags) -> None:
    """Adds the tags of a Matroska or WebM file. Nothing behind its sound is read but what its index names."""
    segment = next(within(part, elements, SEGMENT), part.part(0, 0))
    # Sound has no tags in it, and a film has thousands of clusters.
    heads = list(takewhile(lambda pair: pair[0] != _CLUSTER, elements(segment)))
    found = [content for kind, content in heads if kind == _TAGS] or _behind_sound(segment, heads)
    song, plain, whole = Tags(), Tags(), Tags()
    of_tracks: defaultdict[int, Tags] = defaultdict(Tags)
    is_album = False
    for tag in (tag for content in found for kind, tag in elements(content) if kind == _TAG):
        if any(number_at(tag, _TARGETS, uid) for uid in _OF_OTHERS):
            continue
        level = number_at(tag, _TARGETS, _LEVEL)
        name = _text(tag, _TARGETS, _LEVEL_NAME).upper()
        level = level or _LEVELS.get(name, 0)
        values = _values(tag)
        if level in (_SONG, _WHOLE):
            _fill(song if level == _SONG else whole, values)
            is_album |= name == "ALBUM"
        elif not (level or name):
            track = number_at(tag, _TARGETS, _OF_TRACK)
            _fill(of_tracks[track] if track else plain, values)
    for content in (content for kind, content in heads if kind == _TITLE_OF_FILE[0]):
        add(plain, "title", _text(content, _TITLE_OF_FILE[1]))
    _fill(song, plain)
    if not song.keys() & {"artist", "album"}:
        _fill(song, _of_a_track(heads, of_tracks))
    title = whole.pop("title", [])
    _fill(song, whole)
    if title:
        song.setdefault("album" if is_album or "title" in song else "title", title)
    _fill(tags, song)


def _behind_sound(segment: Part, heads: list[tuple[bytes, Part]]) -> list[Part]:
    """The tags that the index at the file's beginning names."""
    seeks = [seek for kind, head in heads if kind == _SEEK[0] for seek in within(head, elements, _SEEK[1])]
    named = [seek for seek in seeks if number_at(seek, _SEEK_ID) == int.from_bytes(_TAGS, "big")]
    places = [segment.part(number_at(seek, _SEEK_POSITION)) for seek in named[:1]]
    firsts = [next(elements(place), (b"", place)) for place in places]
    return [content for kind, content in firsts if kind == _TAGS]


def _of_a_track(heads: list[tuple[bytes, Part]], of_tracks: dict[int, Tags]) -> Tags:
    """The tags of the first track that has those of a song: "Stereo 2.0" and "Deutsch" alone are none."""
    for kind, content in heads:
        for track in within(content, elements, TRACK) if kind == TRACKS else ():
            values = of_tracks.get(number_at(track, _TRACK_UID), {})
            if values.keys() & {"artist", "album"}:
                named = Tags(values)
                if "title" not in named:  # FFmpeg puts the title of a song there
                    add(named, "title", _text(track, _TRACK_NAME))
                return named
    return {}


def _values(tag: Part) -> Tags:
    values: Tags = {}
    for simple in within(tag, elements, _SIMPLE):
        if (name := _text(simple, _NAME).lower()) in TAGS:
            add(values, name, _text(simple, _TEXT))
    return values


def _fill(tags: Tags, others: Tags) -> None:
    for name, texts in others.items():
        tags.setdefault(name, texts)


def _text(part: Part, *path: bytes) -> str:
    found = next(within(part, elements, *path), None)
    return text_from_bytes(found.read(0, LONGEST)).strip("\0") if found else ""
