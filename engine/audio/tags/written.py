"""A local file's tags, read in one way from every format that music is kept in.

Libraries lose some: of several artists libsndfile keeps one and FFmpeg another; both lose ID3v1 and LIST INFO
that are not UTF-8, and libsndfile the ID3 of WAV and AIFF; tinytag 2.3 takes ARTISTS for further artists and
misreads unsynchronised ID3. Mutagen reads all of it, and is under the GPL.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ...signals import pass_on_from_handler
from ..containers.asf_objects import ASF
from ..containers.matroska import EBML
from ..containers.part import Exhausted, Part, part_of_file
from ..decoder import TAGS
from ..formats import id3v2_length, is_mp4, open_regular_file
from .asf import read_asf
from .chunks import read_id3_chunks, read_text_chunks
from .id3 import read_apev2, read_id3v1, read_id3v2, read_id3v2_at_end
from .matroska import read_matroska
from .mp4 import read_mp4
from .values import Tags
from .vorbis import read_flac, read_ogg

_BETWEEN = "; "  # values of one tag, such as several artists
_MOST_ID3V2 = 10  # one behind the other
_DAMAGE = (struct.error, IndexError, ValueError, OverflowError, OSError, Exhausted)

_Reader = Callable[[Part, Tags], None]


def tags_from_file(path: str | Path, names: Iterable[str] = TAGS) -> dict[str, str]:
    """Those of ``names`` that stand in a local file; several values of one have ``; `` between them.

    Empty for formats that are not known here, such as CAF. Of ID3, APEv2 and INFO also date, track, genre and
    comment are known, a genre as it stands there. Damage never raises: what stands before it is kept. Reads
    some megabytes at most.

    Raises:
        AudioError: the file cannot be opened.
    """
    descriptor = open_regular_file(path)
    tags: Tags = {}
    try:
        for read, part in _sources(part_of_file(descriptor)):
            values: Tags = {}
            try:
                read(part, values)
            except _DAMAGE as error:
                pass_on_from_handler(error)
            tags = {**values, **tags}
    except _DAMAGE as error:  # before the first source
        pass_on_from_handler(error)
    finally:
        os.close(descriptor)
    return {name: _BETWEEN.join(tags[name]) for name in names if tags.get(name)}


def _sources(whole: Part) -> Iterator[tuple[_Reader, Part]]:
    """Where a file may have tags, and their readers: first those that are seldom cut short or out of date."""
    behind, id3v2 = whole, []
    while len(id3v2) < _MOST_ID3V2 and (length := id3v2_length(behind.read)):
        id3v2.append(behind)
        behind = behind.part(length)
    for read in _readers(behind.read(0, 16)):
        yield read, behind
    for part in id3v2:
        yield read_id3v2, part
    yield read_id3v2_at_end, whole
    yield read_apev2, whole
    yield read_id3v1, whole


def _readers(head: bytes) -> tuple[_Reader, ...]:
    """The readers of the format that a file with these first bytes has."""
    is_wav = head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE"
    if is_wav or (head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")):
        return read_id3_chunks, read_text_chunks
    if head[:4] == b"fLaC":
        return (read_flac,)
    if head[:4] == b"OggS":
        return (read_ogg,)
    if head[:4] == EBML:
        return (read_matroska,)
    if is_mp4(head):
        return (read_mp4,)
    return (read_asf,) if head == ASF else ()
