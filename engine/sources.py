"""What a user names on the command line, as a list of files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    ".mp3 .m4a .m4b .mp4 .m4v .mov .3gp .aac .flac .ogg .oga .opus .wav .wave .aif .aiff .aifc .wma .asf "
    ".wmv .mkv .mka .webm .caf .w64 .rf64 .au".split()
)
"""Suffixes, lower case, of the audio and video files that a folder's search takes."""


@dataclass(frozen=True)
class Inputs:
    """Paths in the order they will be labelled, and how many files of folders were left out."""

    paths: tuple[str, ...]
    skipped: int


def inputs_from_paths(paths: Iterable[str | Path]) -> Inputs:
    """Files as they are named (they need not exist), folders as the audio below them, sorted.

    A link to a folder is followed once: a loop of links ends.
    """
    found: list[str] = []
    skipped = 0
    for path in paths:
        if not os.path.isdir(path):
            found.append(os.fspath(path))
            continue
        seen: set[tuple[int, int]] = set()
        for folder, folders, files in os.walk(path, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.sort()
            for name in sorted(files):
                if os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                    found.append(os.path.join(folder, name))
                else:
                    skipped += 1
    return Inputs(tuple(found), skipped)
