"""An input of a run, and the place of its row."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

# What SQLite and Parquet hold. The time of a file before 1677 or after 2262, in nanoseconds, is beyond.
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
# In nanoseconds: those of NTFS, of databases, of copies over a network, exFAT, tar and HFS+, FAT and zip.
_STEPS = (100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
_UP = 2_000_000_000  # of these: Info-ZIP rounds up, where a zip has no field "UT" with whole seconds

NO_FOLDER = "no such folder"
"""Why a URL cannot be listed that is not there."""


@dataclass(slots=True)  # not frozen, which takes three times as long: there is one for each file
class Source:
    """A local path or a URL, what shows a change of it, and its manifest's other columns.

    ``size_bytes`` of a local path is None where no file can be seen. Times are in nanoseconds since 1970;
    ``ctime_ns`` is that of the last change of the file or of its names and rights. ``is_link`` is
    about the path itself, not about its folders. ``real_path`` is where it leads, as rows hold it, once
    ``InputStore`` has looked. ``readings`` are paths that it may have had in other runs: those that the text
    of a list can mean as well.
    """

    path: str
    size_bytes: int | None = None
    mtime_ns: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    ctime_ns: int | None = None
    is_link: bool = False
    real_path: str | None = field(default=None, compare=False)
    readings: tuple[str, ...] = field(default=(), compare=False)


class Place(NamedTuple):
    """Where a row is: the number of its shard, and its number there, from 0 on."""

    shard: int
    row: int


@dataclass(frozen=True)
class Item:
    """An input, with its real path in ``source``.

    ``place`` is that of its row of an earlier run; ``row_ok`` says whether that is a good one, and ``done``
    whether it stays. ``same_as`` is the position of the first input of the same content, None if that is this
    one; ``repeated`` says whether later inputs have this one's.
    """

    position: int
    source: Source
    place: Place | None
    row_ok: bool
    same_as: int | None
    repeated: bool
    done: bool


def real_path_of(path: str) -> str:
    """Where a path leads. A link that cannot be read leads to itself: what names it fails by its own row."""
    try:
        return os.path.realpath(path)
    except OSError:  # of readlink, before Python 3.13: from then on it does the same by itself
        folder, name = os.path.split(os.path.abspath(path))
        return os.path.join(real_path_of(folder), name) if name else folder


def labels_came_along(shard: Path, typed: str, path: str) -> bool:
    """Whether music and labels were copied together, so that they lie alike beneath both places.

    Args:
        shard: of the labels, below the working folder.
        typed: a song, as the row has it.
        path: where the row's song was when it was labelled.
    """
    with suppress(OSError):  # there is no working folder any more
        own, below = real_path_of(path), os.path.relpath(real_path_of(typed), real_path_of("."))
        return own.endswith(os.sep + below) and labels_lie_alike(shard, own.removesuffix(below))
    return False


def labels_lie_alike(file: Path, folder: str) -> bool:
    """Whether a file of labels below the working folder has its like in the same place below another one."""
    with suppress(OSError):
        here, labels = real_path_of("."), real_path_of(str(file.parent))
        if labels.startswith(os.path.join(here, "")):
            other = os.path.join(folder, os.path.relpath(labels, here), file.name)
            return os.path.isfile(other) and real_path_of(folder) != here
    return False


def source_from_path(path: str, columns: Mapping[str, Any] | None = None) -> Source:
    """A local file as it is now; without size and times if it cannot be seen or is not a regular file."""
    columns, is_link = columns or {}, False
    try:
        status = os.lstat(path)
        if is_link := stat.S_ISLNK(status.st_mode):
            status = os.stat(path)
    except (OSError, ValueError):
        return Source(path, columns=columns, is_link=is_link)
    if not stat.S_ISREG(status.st_mode):
        return Source(path, columns=columns, is_link=is_link)
    times = int64(status.st_mtime_ns), int64(status.st_ctime_ns)
    return Source(path, status.st_size, times[0], columns, times[1], is_link)


def is_same_time(one: int | None, other: int | None) -> bool:
    """Whether two times are those of one file: equal, or one is the other, rounded to a step of a disk or
    archive. Two that both have fractions of a step differ.
    """
    if one is None or other is None or one == other:
        return one == other
    return one in roundings(other) or other in roundings(one)


def roundings(time: int) -> Iterator[int]:
    """A time as it is, and as disks and archives round it."""
    yield time
    yield from (time - time % step for step in _STEPS)
    yield time + -time % _UP


def int64(value: int | None) -> int | None:
    """The nearest number that rows can hold."""
    return None if value is None else min(max(value, _LEAST), _MOST)
