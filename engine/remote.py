"""Songs that live elsewhere (s3://, gs://, https://), through fsspec: listed, and copied to be decoded."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from .decoders import Limits
from .errors import AudioError, MerError
from .sources import AUDIO_SUFFIXES, Source

_EXTRAS = {"http": "remote", "https": "remote", "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_BLOCK = 1 << 20
_MOST_BYTES = 2 << 30  # of one object; more than any song, less than a small disk


def sources_from_url(url: str, skip: Callable[[], None]) -> Iterator[Source]:
    """An object, or the audio below a prefix, sorted within each folder, as URLs.

    Raises:
        MerError: fsspec or what it needs for such URLs is not installed, or the place cannot be listed.
    """
    if os.path.splitext(url)[1].lower() in AUDIO_SUFFIXES:
        yield Source(url)
        return
    files, root = _filesystem(url)
    try:
        for info in _files_below(files, root):
            name = info["name"]
            if os.path.splitext(name.rpartition("/")[2].partition("?")[0])[1].lower() not in AUDIO_SUFFIXES:
                skip()
                continue
            full = name if "://" in name else files.unstrip_protocol(name)
            yield Source(full, info.get("size"), _changed_ns(info))
    except MerError:
        raise
    except Exception as error:  # every kind of storage has exceptions of its own
        raise MerError(f"{url} cannot be listed: {_reason(error)}") from None


def _files_below(files: Any, root: str) -> Iterator[dict[str, Any]]:
    """Each folder's files, then what is below it; fsspec's walk passes over what it cannot list."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        found = sorted(files.ls(folder, detail=True), key=lambda info: info["name"])
        yield from (info for info in found if info["type"] != "directory")
        # Some storages list a folder in itself.
        below = [info["name"] for info in found if info["type"] == "directory"]
        waiting += reversed([name for name in below if name.rstrip("/") != folder.rstrip("/")])


@contextmanager
def fetched(url: str, limits: Limits) -> Iterator[str]:
    """A temporary local copy of an object.

    Raises:
        AudioError: it cannot be read, is too big, or takes longer than the limit.
    """
    deadline = time.monotonic() + limits.seconds
    with tempfile.NamedTemporaryFile(prefix="mer-", suffix=".audio") as copy:
        try:
            files, path = _filesystem(url)
            with files.open(path, "rb", block_size=_BLOCK) as remote:
                while block := remote.read(_BLOCK):
                    if copy.tell() + len(block) > _MOST_BYTES:
                        raise AudioError(f"is larger than {_MOST_BYTES >> 30} GB")
                    if time.monotonic() > deadline:
                        raise AudioError(f"copying took longer than {limits.seconds:g} s")
                    copy.write(block)
            copy.flush()
        except FileNotFoundError:
            raise AudioError("no such file") from None
        except MerError:
            raise
        except Exception as error:
            raise AudioError(f"cannot be fetched: {_reason(error)}") from None
        yield copy.name


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(url.partition("://")[0].lower())
        # Others have no extra of ours: fsspec names the package.
        advice = f"pip install 'mer[{extra}]'" if extra else str(error) or "pip install 'mer[remote]'"
        raise MerError(f"{url}: needs more packages: {advice}") from None
    except ValueError as error:
        raise MerError(f"{url}: {error}") from None


def _changed_ns(info: dict[str, Any]) -> int | None:
    """When an object was last written, under whichever name a storage gives it."""
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


def _reason(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
