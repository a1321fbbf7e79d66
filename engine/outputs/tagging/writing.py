"""A folder of labels from which songs are tagged, or undone, by one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...catalogue.folder_lock import FolderLock
from ...catalogue.reconcile import paths_from_text
from ...catalogue.shards import shards_in
from ...catalogue.source import real_path_of
from ...errors import MerError
from ...files import Disk
from ..songs import Found, find, songs_in
from .undo_file import UndoFile


@contextmanager
def writing(folder: Path, disk: Disk) -> Iterator[UndoFile]:
    """The undo file of a folder of labels in which no run writes meanwhile. What kills left behind goes.

    Raises:
        MerError: the folder is in use, or cannot be written; the undo file is damaged.
    """
    lock = FolderLock(folder)
    try:
        undo = UndoFile(folder, disk)
        for path in _places(folder, undo):
            disk.clear(path)
        yield undo
    finally:
        lock.release()


def _places(folder: Path, undo: UndoFile) -> Iterator[Path]:
    """What runs of a folder of labels write: its own files, and songs, also before there is a record."""
    shards = shards_in(folder)
    yield from (undo.path, *shards)
    yield from map(Path, {path for _, record in undo.records() for path in paths_from_text(record.path)})
    with suppress(MerError):  # a damaged shard is for the run to tell, if it needs any
        for song in songs_in(folder)[1] if shards else ():
            found, path = find(song)
            if found is not Found.REMOTE and "\0" not in path:
                yield Path(real_path_of(path))
