"""Lists remote songs (s3://, gs://, https://) by fsspec."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ..audio.decoder import Limits
from ..audio.formats import is_audio_name
from ..audio.litter import is_left_out
from ..audio.remote_copy import open_filesystem, storage_reason, with_retries
from ..errors import MerError, UnreadableError
from ..signals import StoppedError
from .source import NO_FOLDER, Source

_MOST_FOLDERS, _DEEPEST = 100_000, 64  # of one URL: a server can make them up as they are asked for
_POLL_S = 0.1


def sources_from_url(
    url: str,
    skip: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
    hidden: bool = False,
    limits: Limits | None = None,
    unlisted: Callable[[str, str], None] = lambda url, reason: None,
) -> Iterator[Source]:
    """The object that a URL names or, for a prefix, the audio below it, sorted within each folder.

    A folder that cannot be listed is an input itself, which fails; so is a URL of a kind that is not read.

    Args:
        skip: called for each object that is left out, with its name where its suffix alone is why, else with
            an empty text; and once for each such folder, as for all keys of S3 in which this folder is
            followed by an empty name (``x//y.wav``).
        check: called for each entry; what it raises ends the listing.
        hidden: take names with a dot in front too.
        limits: which addresses may be reached, and how long an answer may take.
        unlisted: called for each folder that cannot be listed, with its URL and why.

    Raises:
        MerError: fsspec or what it needs for such URLs is not installed; more than 100,000 folders, or
            folders 64 deep.
    """
    if _is_audio(url):
        yield Source(url)
        return
    limits = limits or Limits()
    try:
        files, root = open_filesystem(url, limits)
    except UnreadableError as error:  # fetching it says the same, in its row
        unlisted(url, str(error))
        yield Source(url)
        return
    waiting, folders_left = [(root, 0)], _MOST_FOLDERS
    while waiting:
        folder, depth = waiting.pop()
        if folders_left < 0 or depth > _DEEPEST:
            raise MerError(
                f"{url} seems to have no end: more than {_MOST_FOLDERS:,} folders, or {_DEEPEST} inside of "
                "one another; name folders in it"
            )
        try:
            entries = sorted(_listed(files, folder, limits, check), key=lambda info: info["name"])
        except StoppedError:
            raise
        except Exception as error:  # each storage has exceptions of its own; fetching it says which
            there = url if folder == root else _url(files, folder)
            # What storages say of that is the URL alone.
            unlisted(there, NO_FOLDER if isinstance(error, FileNotFoundError) else storage_reason(error))
            yield Source(there)
            continue
        if not entries and folder == root and not url.endswith("/"):  # a song whose name does not say so
            yield Source(url)
        folders: list[tuple[str, int]] = []
        for info in entries:
            check()
            path = info["name"]
            name = _name(path)
            if info["type"] == "directory":
                # Some storages list a folder in itself, or the one above it.
                if path.rstrip("/") == folder.rstrip("/") or ".." in path.split("/"):
                    # Keys such as x//y.wav, which no folder lists; an object of that name has a time.
                    if path == f"{folder}/" and "://" not in path and _changed_ns(info) is None:
                        skip("")
                    continue
                if is_left_out(name, hidden):
                    skip("")
                else:
                    folders.append((path, depth + 1))
                    folders_left -= 1  # when it is named: those that wait are in memory
                    if folders_left < 0:
                        break
            elif path != root and is_left_out(name, hidden):
                skip("")
            elif path != root and not _is_audio(path):
                skip(name)
            else:
                yield Source(_url(files, path), info.get("size"), _changed_ns(info))
        waiting += reversed(folders)


def _listed(files: Any, folder: str, limits: Limits, check: Callable[[], None]) -> list[dict[str, Any]]:
    """A folder's entries, from another thread: a signal is heard while a server does not answer."""
    answer: queue.SimpleQueue[list[dict[str, Any]] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            deadline = time.monotonic() + limits.seconds
            answer.put(with_retries(lambda: files.ls(folder, detail=True), deadline))
        except Exception as error:
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    while True:
        with suppress(queue.Empty):
            entries = answer.get(timeout=_POLL_S)
            if isinstance(entries, Exception):
                raise entries
            return entries
        check()


def _name(path: str) -> str:
    """The last name in a path or a URL, of HTTP without the question behind it: a signature, for example.

    In the names of other storages ``?`` and ``#`` are characters like others.
    """
    if path.lower().startswith(("http://", "https://")):
        path = path.partition("#")[0].partition("?")[0]
    return path.rstrip("/").rpartition("/")[2]


def _is_audio(path: str) -> bool:
    return not path.endswith("/") and is_audio_name(_name(path))


def _url(files: Any, path: str) -> str:
    return path if "://" in path else files.unstrip_protocol(path)


def _changed_ns(info: dict[str, Any]) -> int | None:
    """The time of an object's last change in nanoseconds; the name of the field depends on the storage."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float):
            return int(value * 1e9)
    return None
