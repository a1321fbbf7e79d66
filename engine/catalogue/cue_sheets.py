"""Cue sheets (.cue) beside albums in one file: what divides such a file into songs."""

from __future__ import annotations

import os
import re
from collections import Counter

from ..audio.formats import is_audio_name, open_regular_file
from ..errors import AudioError

_MOST_BYTES = 1 << 16  # 99 tracks, the most of a CD, take half of it
# A track begins at INDEX 01: where each has a file, the pause before it (INDEX 00) may stand in another one.
_LINE = re.compile(r'\s*(?:FILE\s+(?:"([^"]+)"|(\S+))|INDEX\s+0?1\s)', re.IGNORECASE)
# Of albums in one file; sheets often name the WAV that was encoded and deleted.
_SUFFIXES = (
    "", ".flac", ".wav", ".ape", ".wv", ".m4a", ".mp3", ".tak", ".tta", ".aiff", ".ogg", ".opus", ".wma",
)  # fmt: skip


def album_of_cue(cue: str) -> str | None:
    """The audio file beside a cue sheet that is divided into several tracks by it, if there is one."""
    try:
        with os.fdopen(open_regular_file(cue), "rb") as file:
            head = file.read(_MOST_BYTES)
    except (OSError, AudioError):
        return None
    is_wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16", "replace") if is_wide else head.decode("utf-8-sig", "surrogateescape")
    name, tracks = "", Counter[str]()
    for line in filter(None, map(_LINE.match, text.splitlines())):
        if found := line[1] or line[2]:
            name = os.path.basename(found.replace("\\", "/"))
        else:
            tracks[name] += 1
    albums = [name for name, count in tracks.items() if count > 1]
    bases = [*albums, os.path.splitext(os.path.basename(cue))[0]] if albums else []
    stems = dict.fromkeys(stem for base in bases for stem in (base, os.path.splitext(base)[0]))
    paths = (os.path.join(os.path.dirname(cue), stem + suffix) for stem in stems for suffix in _SUFFIXES)
    return next((path for path in paths if is_audio_name(path) and os.path.isfile(path)), None)


def line_about_albums(count: int) -> str:
    """What the summary says of albums in one file."""
    files = "1 file is an album" if count == 1 else f"{count} files are albums"
    row = "it has" if count == 1 else "each has"
    return f"{files} that a .cue divides into tracks: {row} one row, as one song (docs/INPUTS.md)"
