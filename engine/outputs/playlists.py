"""Songs in, playlists out: M3U8 for most players, XSPF for VLC, and Navidrome's smart playlists."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..errors import os_errors_say
from ..files import write_whole
from ..text.escape import for_terminal, for_xml, storable
from .marks import has_mark, head_of
from .songs import Song

_MADE = "made by mer-label playlist"  # the comment by which our files are known again

is_playlist = has_mark(_MADE.encode())
"""Whether a file is a playlist that was made here, in any kind."""

NOT_FOR_VLC = re.compile("[#?]|%[0-9A-Fa-f]{2}")
"""What VLC, for which each entry of an M3U8 is a URL, takes for parts of one; other players take names."""

_FOLDERS = 1 << 16
_MOST_BYTES = 100  # of a name: a journey has two, and its file more around them while it is written
_HALF = 0.0005  # of the last digit of a share in tags
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')  # on some system


def entries_from(folder: Path) -> Callable[[str], str | None]:
    """What names a file in a playlist of this folder, by the file's path; None where no line can hold it."""
    way_to = lru_cache(_FOLDERS)(partial(_way, folder))  # a folder is resolved once, and not each song

    def entry(file: str) -> str | None:
        place, own_name = os.path.split(file)
        way = os.path.normpath(os.path.join(way_to(place or "."), own_name))
        if "\n" in way or "\r" in way:
            return None
        if way.startswith(("#", " ", "\t")) or ":" in way.split(os.sep, 1)[0]:  # as in a URL
            return os.path.join(".", way)
        return way

    return entry


def write_m3u8(path: Path, name: str, songs: Iterable[tuple[str, Song]]) -> None:
    """Writes a playlist.

    Args:
        songs: each with its entry, by ``entries_from`` the playlist's folder.

    Raises:
        MerError: it cannot be written.
    """
    lines = [b"#EXTM3U", f"#{_MADE}".encode(), f"#PLAYLIST:{for_terminal(name)}".encode()]
    for entry, song in songs:
        title = song.title or os.path.splitext(os.path.basename(song.path))[0]
        seconds = -1 if song.duration_s is None else round(song.duration_s)
        about = " - ".join(for_terminal(text) for text in (song.artist, title) if text)
        # The name's own bytes: one that is no UTF-8 would not be found otherwise.
        lines += [f"#EXTINF:{seconds},{about}".encode(), os.fsencode(entry)]
    _write(path, b"\n".join(lines) + b"\n")


def write_xspf(path: Path, name: str, songs: Iterable[tuple[str, Song]]) -> None:
    """Writes a playlist in which names are parts of URLs, percent-encoded.

    Args:
        songs: each with its entry, by ``entries_from`` the playlist's folder.

    Raises:
        MerError: it cannot be written.
    """
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<playlist version="1" xmlns="http://xspf.org/ns/0/"><annotation>{_MADE}</annotation>',
        f"<title>{for_xml(name)}</title><trackList>",
    ]
    for entry, song in songs:
        milliseconds = None if song.duration_s is None else str(round(1_000 * song.duration_s))
        about = {
            "location": quote(os.fsencode(entry)),
            "title": song.title,
            "creator": song.artist,
            "album": song.album,
            "duration": milliseconds,
        }
        parts = (f"<{part}>{for_xml(text)}</{part}>" for part, text in about.items() if text)
        lines.append(f"<track>{''.join(parts)}</track>")
    _write(path, "\n".join([*lines, "</trackList></playlist>\n"]).encode())


def write_nsp(path: Path, name: str, emotion: str, min_confidence: float = 0.0, limit: int = 0) -> None:
    """Writes a smart playlist that Navidrome fills itself, by the tags that ``mer-label tag`` writes.

    Args:
        min_confidence: above 0 it needs the tag ``mer_<label>`` in Navidrome's settings (docs/PLAYERS.md).
        limit: songs, or 0 for all.

    Raises:
        MerError: it cannot be written.
    """
    from .tagging.moods import share_name

    share = share_name(emotion).lower()
    rules: list[dict] = [{"is": {"mood": emotion}}]
    if min_confidence:
        # Of tags Navidrome compares with no "at least".
        rules.append({"gt": {share: round(min_confidence - _HALF, 6)}})
    playlist = {"name": storable(name), "comment": _MADE, "all": rules}
    if min_confidence:
        playlist |= {"sort": share, "order": "desc"}
    if limit:
        playlist["limit"] = limit
    _write(path, (json.dumps(playlist, ensure_ascii=False, indent=2) + "\n").encode())


def journey(shares: Sequence[tuple[float, ...]], start: int, end: int, count: int) -> list[int]:
    """The indices of songs that lead from one emotion to another in even steps, each song once.

    Args:
        shares: of each song, ``[songs][labels]``. Songs without any, as an emotion from a table alone has
            none, take no part.
        start, end: the labels' numbers.
        count: songs; there are no more than there are in ``shares``.

    Returns:
        For each step the song whose shares are nearest to it, of those that are left, from both ends inwards:
        the first and the last are the nearest of all. Those between are in the order that leads to the end.
    """
    known = [index for index, each in enumerate(shares) if each]
    left = np.asarray([shares[index] for index in known], np.float64)
    found: list[int] = []
    for step in sorted(np.linspace(0, 1, min(count, len(left))), key=lambda step: min(step, 1 - step)):
        target = np.zeros(left.shape[1])
        target[start] += 1 - step
        target[end] += step
        distance = ((left - target) ** 2).sum(1)
        distance[found] = np.inf
        found.append(int(distance.argmin()))
    # A step for which no song is left near it may have got one of another step's side.
    between = sorted(found[2:], key=lambda index: left[index, end] - left[index, start])
    return [known[index] for index in (*found[:1], *between, *found[1:2])]


def names_of_playlists(labels: Sequence[str]) -> dict[str, str]:
    """The name of each label's playlist, which is that of its file too: "Happy" for "happy".

    They differ also where a disk takes capitals and small letters for the same.
    """
    names: dict[str, str] = {}
    for label in labels:
        text = _NOT_IN_NAMES.sub("_", storable(label)).strip(" .") or "_"
        text = text[0].upper() + text[1:]
        text = text.encode()[:_MOST_BYTES].decode(errors="ignore")
        taken = {name.casefold() for name in names.values()}
        number, name = 1, text
        while name.casefold() in taken:
            number += 1
            name = f"{text} {number}"
        names[label] = name
    return names


def of_other_labels(folder: Path, suffix: str, names: Iterable[str]) -> list[str]:
    """The files of a folder that are playlists of ours and of none of these labels' names, in order.

    A journey between two of the names is of these labels. A playlist that got another name is its owner's.
    """
    names = [*names]
    own = {*names, *(f"{start} to {end}" for start in names for end in names)}
    others = sorted(path for path in folder.glob(f"*{suffix}") if path.stem not in own)
    return [path.name for path in others if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    """Whether a playlist was made here, and under the name that it has."""
    try:
        head = head_of(path)
    except OSError:
        return False
    first = b"\n".join([*head.split(b"\n")[:3], b""])  # which have the name in all kinds, and no song's
    name = path.stem
    names = (f"#PLAYLIST:{for_terminal(name)}\n", f"<title>{for_xml(name)}</title>", _quoted(name))
    return _MADE.encode() in head and any(name.encode() in first for name in names)


def _quoted(name: str) -> str:
    return json.dumps(storable(name), ensure_ascii=False)


def _way(playlist: Path, folder: str) -> str:
    """The way from a playlist's folder to a song's, by the names that were typed where these lead there too.

    Links of a library may lead out of it, and what plays it may see nothing else. Since the playlist's folder
    may be named by a link as well, it is the way that goes up least, as players find it.
    """
    here, real, named = os.path.realpath(playlist), os.path.realpath(folder), os.path.abspath(folder)
    ways = (os.path.relpath(named, start) for start in (os.path.abspath(playlist), here))
    same = [way for way in ways if os.path.realpath(os.path.join(here, way)) == real]
    return min((*same, os.path.relpath(real, here)), key=lambda way: way.split(os.sep).count(os.pardir))


def _write(path: Path, content: bytes) -> None:
    with os_errors_say(f"{path} cannot be written"):
        write_whole(path, content)
