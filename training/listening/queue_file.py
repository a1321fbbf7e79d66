"""The queue: a CSV of the songs to be labelled next, written by ``mer-train queue`` or by hand."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...engine.audio.formats import AUDIO_SUFFIXES, is_container, open_regular_file
from ...engine.audio.tags.written import tags_from_file
from ...engine.catalogue.csv_rows import open_csv
from ...engine.data.labelled_audio import path_from_cell
from ...engine.errors import AudioError, MerError, UsageError, os_errors_say
from ...engine.files import check_can_be_written, is_foreign, write_whole
from ...engine.text.escape import csv_line, storable
from ..options import check_not_read
from .label_file import NOT_UTF8, path_cell

COLUMNS = ("path", "artist", "title")


@dataclass(frozen=True)
class QueuedSong:
    """A local audio file, by its absolute path with links followed, and what its tags say."""

    path: str
    artist: str = ""
    title: str = ""


def read_queue(file: Path) -> tuple[tuple[QueuedSong, ...], tuple[str, ...]]:
    """The songs of a queue, each once and in order, and a line for each row that is left out.

    The CSV needs a column ``path``, relative to the file. Where it has no column ``artist``, that and the
    title come from the files' tags.

    Raises:
        MerError: it cannot be read, has no column ``path``, or names no audio file that is there.
    """
    try:
        columns, rows = open_csv(str(file), "path")
        if "path" not in columns:
            raise MerError(f"{file} has no column 'path': a queue of mer-train queue has one")
        songs: dict[str, QueuedSong] = {}
        left_out = []
        for cells in rows:
            cell = dict(zip(columns, cells, strict=True))
            if not (path := cell["path"]):
                continue
            if reason := _reason_against(path, file):
                left_out.append(f"left out: {path}: {reason}")
                continue
            real = os.path.realpath(path_from_cell(path, file))
            if real not in songs:
                tags = _tags(real) if "artist" not in cell else cell
                artist, title = (storable(tags.get(name, "")) for name in ("artist", "title"))
                songs[real] = QueuedSong(real, artist, title)
    except OSError as error:
        raise MerError(f"{file} cannot be read: {error.strerror or error}") from None
    if not songs:
        first = f"; {left_out[0]}" if left_out else ""
        raise MerError(f"{file} names no audio file that is there{first}")
    return tuple(songs.values()), tuple(left_out)


def check_queue_file(file: Path, inputs: Iterable[Path]) -> None:
    """Refuses, before any work, what cannot be written, and to replace what is read or is no queue.

    Raises:
        UsageError: it cannot be written, is one of the inputs, lies in one, or is there and has other columns
            than a queue.
    """
    check_can_be_written(file)
    check_not_read(file, inputs)
    if is_foreign(file, _is_queue):
        raise UsageError(f"{file} is there, and no queue; name another file")


def write_queue(file: Path, songs: Iterable[QueuedSong]) -> None:
    """Writes a queue whole or not at all; files below the CSV's folder by their path from there.

    Raises:
        MerError: it cannot be written.
    """
    lines: Sequence[str] = [
        csv_line(COLUMNS),
        *(csv_line((path_cell(song.path, file.parent), song.artist, song.title)) for song in songs),
    ]
    with os_errors_say(f"{file} cannot be written"):
        write_whole(file, "".join(lines))


def _is_queue(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", newline="") as text:
        return tuple(next(csv.reader(text), ())) == COLUMNS


def _tags(path: str) -> dict[str, str]:
    """What the file says of itself: a split that keeps artists apart needs them."""
    with suppress(AudioError):
        return tags_from_file(path)
    return {}


def _begins_as_sound(path: Path) -> bool:
    """Whether a file begins as a container does, or with a tag or a frame of MP3 or ADTS."""
    try:
        with os.fdopen(open_regular_file(path), "rb") as file:
            head = file.read(16)
    except (AudioError, OSError):
        return False
    frame = head[:1] == b"\xff" and head[1:2] >= b"\xe0" and head[:2] != b"\xff\xfe"  # which is UTF-16
    return frame or head.startswith(b"ID3") or is_container(head)


def _reason_against(path: str, file: Path) -> str:
    """Why a row is no song to listen to; that its content is sound is asked when it is played."""
    try:
        place = path_from_cell(path, file)
    except MerError:  # a URL
        return "only local files are played"
    if not place.is_file():
        return "no such file"
    if place.suffix.lower() not in AUDIO_SUFFIXES and not _begins_as_sound(place):  # stores name by content
        return "neither its name nor its first bytes are those of an audio file"
    try:
        path_cell(os.path.realpath(place), place.parent)
    except MerError:  # a row of labels names the file that links lead to
        return NOT_UTF8
    return ""
