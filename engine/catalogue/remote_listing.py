"""Lists remote songs (s3://, gs://, https://) by fsspec."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from ..audio.formats import AUDIO_SUFFIXES
from ..audio.litter import is_left_out
from ..audio.remote_copy import open_filesystem
from .source import Source


def sources_from_url(
    url: str, skip: Callable[[], None], check: Callable[[], None] = lambda: None, hidden: bool = False
) -> Iterator[Source]:
    """The object that a URL names or, for a prefix, the audio below it, sorted within each folder.

    A folder that cannot be listed is an input itself, which fails.

    Args:
        skip: called for each object that is left out, and once for each such folder.
        check: called for each entry; what it raises ends the listing.
        hidden: take names with a dot in front too.

    Raises:
        MerError: fsspec or what it needs for such URLs is not installed.
    """
    if _is_audio(url):
        yield Source(url)
        return
    files, root = open_filesystem(url)
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(files.ls(folder, detail=True), key=lambda info: info["name"])
        except Exception:  # each storage has exceptions of its own; fetching it says which
            yield Source(url if folder == root else _url(files, folder))
            continue
        folders: list[str] = []
        for info in entries:
            check()
            path = info["name"]
            name = path.rstrip("/").rpartition("/")[2].partition("?")[0]
            if info["type"] == "directory":
                if path.rstrip("/") == folder.rstrip("/"):  # some storages list a folder in itself
                    continue
                if is_left_out(name, hidden):
                    skip()
                else:
                    folders.append(path)
            elif path != root and (is_left_out(name, hidden) or not _is_audio(name)):
                skip()
            else:
                yield Source(_url(files, path), info.get("size"), _changed_ns(info))
        waiting += reversed(folders)


def _is_audio(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES


def _url(files: Any, path: str) -> str:
    return path if "://" in path else files.unstrip_protocol(path)


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
