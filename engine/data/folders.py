"""Folders and audio files of a data set; what is not read is noted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from ..audio.formats import AUDIO_SUFFIXES
from ..audio.litter import is_left_out
from ..errors import MerError
from ..text.escape import text_from_path
from .notes import Notes

_DEEPEST = 8  # folders, each alone in the one before: links may lead round in circles


def folders_in(folder: Path, root: Path, notes: Notes, table: str) -> list[Path]:
    """The folders in a folder, in order; notes its files, but for the one called ``table``.

    Raises:
        MerError: it cannot be read.
    """
    base, folders, files = next(os.walk(folder, onerror=_refuse), ("", [], []))
    for path in _taken(base, (name for name in files if name != table), root, notes):
        if _is_audio(path):
            notes.add("not read, audio that lies in no label's folder", name_below(path, root))
        else:
            _note_no_audio(path, root, notes)
    return [path for path in _taken(base, folders, root, notes) if not _leads_up(path, root, notes)]


def audio_below(folder: Path, root: Path, notes: Notes) -> list[Path]:
    """The audio files below a folder, sorted; links to folders are followed, each real folder is read once.

    Raises:
        MerError: a folder cannot be read.
    """
    audio: list[Path] = []
    searched: set[str] = set()
    for base, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(base)
        if real in searched:
            notes.add("not read again, a link to a folder that is read", name_below(Path(base), root))
            folders.clear()
            continue
        searched.add(real)
        folders[:] = [
            path.name for path in _taken(base, folders, root, notes) if not _leads_up(path, root, notes)
        ]
        for path in _taken(base, files, root, notes):
            if _is_audio(path):
                audio.append(path)
            else:
                _note_no_audio(path, root, notes)
    return sorted(audio)


def folder_within(folder: Path) -> Path | None:
    """The first folder below, each alone in the one before, that holds several; None where there is none."""
    for depth in range(_DEEPEST):
        inside = folders_in(folder, folder, Notes(), "")
        if len(inside) != 1:
            return folder if depth and inside else None
        (folder,) = inside
    return None


def name_below(path: Path, root: Path) -> str:
    """The path below the data folder; outside it the file's name alone, to keep a user's folders private."""
    below = os.path.relpath(path, root)
    return text_from_path(path.name if below.split(os.sep)[0] == os.pardir else Path(below).as_posix())


def _taken(base: str, names: Iterable[str], root: Path, notes: Notes) -> Iterator[Path]:
    for name in sorted(names):
        path = Path(base, name)
        if is_left_out(name, hidden=False):
            notes.add("not read, hidden or a system's own", name_below(path, root))
        else:
            yield path


def _leads_up(folder: Path, root: Path, notes: Notes) -> bool:
    """Whether a link leads to the data folder or to one above it: all labels would be read as one."""
    up = folder.is_symlink() and Path(os.path.realpath(root)).is_relative_to(os.path.realpath(folder))
    if up:
        notes.add("not followed, a link to the folder of all labels", name_below(folder, root))
    return up


def _note_no_audio(path: Path, root: Path, notes: Notes) -> None:
    dangling = path.is_symlink() and not os.path.exists(path)
    what = "a link that leads nowhere" if dangling else "no audio by its suffix"
    notes.add(f"not read, {what}", name_below(path, root))


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES


def _refuse(error: OSError) -> NoReturn:
    raise MerError(f"the folder {error.filename} cannot be read: {error.strerror}") from None
