"""Playlists (.m3u, .m3u8), as any program wrote them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator

from ..audio.formats import is_remote, open_regular_file, path_in_url
from ..errors import AudioError
from .listed_paths import MARKS, encoding_of_list, folders_of_list, source_from_folders
from .source import Source, source_from_path

SUFFIXES = (".m3u", ".m3u8")

_LONGEST = 1 << 16  # characters; no path has as many
_MOST_BYTES = 1 << 30
_OF_SERVICE = re.compile("(?:spotify|tunein|local|tidal|deezer|ytmusic|qobuz):")  # of players that stream


def sources_from_playlist(
    file: str, skip: Callable[[], None], check: Callable[[], None] = lambda: None
) -> Iterator[Source]:
    """The local entries of a playlist; one that cannot be read, or is PLS or XSPF, is an input that fails.

    Lines end in LF, CR or both. Text is UTF-8, UTF-16 or in a code page of some system: ``source_from_list``
    says what a line means.

    Args:
        file: entries are relative to its ``folders_of_list``.
        skip: called for each entry on another machine.
        check: called for each line; what it raises ends the list.
    """
    folders = folders_of_list(file)
    try:
        if os.path.isfile(file) and not os.path.getsize(file):
            return
        with os.fdopen(open_regular_file(file), "rb") as binary:
            if os.fstat(binary.fileno()).st_size > _MOST_BYTES:  # no playlist, whatever its name
                yield source_from_path(file)
                return
            encoding = encoding_of_list(file)
            errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
            lines = io.TextIOWrapper(binary, encoding, errors)
            if _is_other_list(folders, lines.readline(_LONGEST).strip(MARKS + "\n\0").strip()):
                yield source_from_path(file)  # its row says what it is
                return
            lines.seek(0)
            while line := lines.readline(_LONGEST):
                check()
                if len(line) == _LONGEST:
                    yield source_from_path(file)  # no path is so long: it costs a row, and the others stay
                    while len(line) == _LONGEST and not line.endswith("\n"):
                        check()
                        line = lines.readline(_LONGEST)
                    continue
                text = line.strip("\n\0")
                bare = text.strip(MARKS)
                is_comment = not bare.strip() or bare.startswith("#")
                if is_comment and not any(_is_name(folders, each) for each in (text, bare)):
                    continue
                if is_remote(bare.strip()) and path_in_url(bare.strip()) is None:
                    skip()
                    continue
                source = source_from_folders(folders, text)
                if _OF_SERVICE.match(bare.strip()) and not os.path.lexists(source.path):
                    skip()
                else:
                    yield source
    except (OSError, AudioError):
        yield source_from_path(file)


def _is_other_list(folders: tuple[str, ...], first: str) -> bool:
    """Whether a list that begins with this line is PLS or XSPF, whatever its name."""
    begins = first.lower().startswith(("<?xml", "<playlist")) or first.lower() == "[playlist]"
    return begins and not _is_name(folders, first)


def _is_name(folders: tuple[str, ...], comment: str) -> bool:
    """Whether a line that begins like a comment is the name of a file ("#1 Hits.mp3")."""
    if comment.startswith("#EXT"):
        return False
    return any(os.path.isfile(os.path.join(folder, comment)) for folder in folders)
