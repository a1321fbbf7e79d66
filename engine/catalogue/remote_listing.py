"""Lists remote songs (s3://, gs://, https://) by fsspec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from ..audio.formats import AUDIO_SUFFIXES
from ..audio.remote_copy import open_filesystem, storage_reason
from ..errors import MerError
from .source import Source


def sources_from_url(url: str, skip: Callable[[], None]) -> Iterator[Source]:
    """The object that a URL names or, for a prefix, the audio below it, sorted within each folder.

    ``skip`` is called for every object without an audio suffix.

    Raises:
        MerError: fsspec or what it needs for such URLs is not installed, or a folder cannot be listed.
    """
    if os.path.splitext(url)[1].lower() in AUDIO_SUFFIXES:
        yield Source(url)
        return
    files, root = open_filesystem(url)
    try:
        for info in _files_below(files, root):
            name = info["name"]
            if os.path.splitext(name.rpartition("/")[2].partition("?")[0])[1].lower() not in AUDIO_SUFFIXES:
                skip()
                continue
            object_url = name if "://" in name else files.unstrip_protocol(name)
            yield Source(object_url, info.get("size"), _changed_ns(info))
    except MerError:
        raise
    except Exception as error:  # each storage has exceptions of its own
        raise MerError(f"{url} cannot be listed: {storage_reason(error)}") from None


def _files_below(files: Any, root: str) -> Iterator[dict[str, Any]]:
    """The files of each folder, then those of its folders; fsspec's walk skips what it cannot list."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        entries = sorted(files.ls(folder, detail=True), key=lambda info: info["name"])
        yield from (info for info in entries if info["type"] != "directory")
        folders = [info["name"] for info in entries if info["type"] == "directory"]
        # Some storages list a folder as an entry of itself.
        waiting += reversed([name for name in folders if name.rstrip("/") != folder.rstrip("/")])


def _changed_ns(info: dict[str, Any]) -> int | None:
    """The time of an object's last change in nanoseconds; the name of the field depends on the storage."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
        if isinstance(value, str):
            try:
                return int(datetime.fromisoformat(value).timestamp() * 1e9)
            except ValueError:
                continue
    return None
