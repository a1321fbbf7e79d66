"""Temporary local copies of remote songs (s3://, gs://, https://), made by fsspec."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any

from ..errors import AudioError, MerError, UnreadableError
from ..signals import pass_on_from_handler
from ..temporary import not_written
from .decoder import Limits

_EXTRAS = {"http": "remote", "https": "remote", "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_WEB = ("http://", "https://")
_BLOCK = 1 << 20
_HEAD_BYTES = 4_096
_PAUSES_S = (1.0, 4.0)  # between attempts, where the server names no time
_LEAST_S = 0.1  # to aiohttp zero means no limit
_MAX_BYTES = 2 << 30  # of one object: larger than any song, smaller than a small disk


@contextmanager
def local_copy(url: str, limits: Limits) -> Iterator[str]:
    """The path of a temporary local copy of an object.

    Raises:
        UnreadableError: the object cannot be read, takes longer than ``limits.seconds``, or is a text.
        AudioError: it is larger than 2 GB.
    """
    deadline = time.monotonic() + limits.seconds
    with _temporary_file() as copy:
        try:
            with_retries(lambda: _fetch(url, limits, deadline, copy), deadline)
        except FileNotFoundError:
            raise UnreadableError("no such file") from None
        except MerError:
            raise
        except Exception as error:  # each storage has exceptions of its own
            pass_on_from_handler(error)
            reason = f"cannot be fetched: {storage_reason(error)}"
            if url.lower().startswith(_WEB):
                from .web import note_on_proxies

                reason += note_on_proxies(url, error)
            raise UnreadableError(reason) from None
        yield copy.name


def _fetch(url: str, limits: Limits, deadline: float, copy: IO[bytes]) -> None:
    copy.seek(0)
    copy.truncate()
    left = max(deadline - time.monotonic(), _LEAST_S)
    files, path = open_filesystem(url, replace(limits, seconds=left))
    with _opened(files, path) as remote:
        while block := remote.read(_BLOCK):
            if copy.tell() + len(block) > _MAX_BYTES:
                raise AudioError(f"is larger than {_MAX_BYTES >> 30} GB")
            if time.monotonic() > deadline:
                raise UnreadableError(f"copying took longer than {limits.seconds:g} s")
            _write(copy, block)
    if url.lower().startswith(_WEB):
        _check_answer(remote.r, copy)


def with_retries(ask: Callable[[], Any], deadline: float) -> Any:
    """What ``ask`` gives; it is called up to three times while a server is busy, or connections are lost.

    Args:
        deadline: by ``time.monotonic``. Who is to wait beyond it fails at once.
    """
    for pause_s in _PAUSES_S:
        try:
            return ask()
        except Exception as error:
            from .web import seconds_until_retry

            wait_s = seconds_until_retry(error, pause_s)
            if wait_s is None or time.monotonic() + wait_s > deadline:
                raise
        time.sleep(wait_s)
    return ask()


def _check_answer(response: Any, copy: IO[bytes]) -> None:
    from .web import reason_for_no_song

    copy.seek(0)
    if reason := reason_for_no_song(response, copy.read(_HEAD_BYTES)):
        raise UnreadableError(f"cannot be fetched: {reason}")


def _temporary_file() -> Any:
    try:
        # Without a buffer: what stands in one would fail again when the file is closed.
        return tempfile.NamedTemporaryFile(prefix="mer-", suffix=".audio", buffering=0)
    except OSError as error:
        pass_on_from_handler(error)
        raise _no_room(error) from None


def _write(copy: IO[bytes], block: bytes) -> None:
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[copy.write(rest) :]
    except OSError as error:
        pass_on_from_handler(error)
        raise _no_room(error) from None


def _no_room(error: OSError) -> UnreadableError:
    return UnreadableError(f"cannot be copied: {not_written(error)}")


def _opened(files: Any, path: str) -> Any:
    if path.lower().startswith(_WEB):
        # As a stream: not each server sends parts. With any size no question is asked before, whose answer
        # would be "no such file" whatever is wrong.
        return files.open(path, "rb", block_size=0, size=1)
    if "/" not in path.strip("/"):
        raise UnreadableError(f"the bucket {path} is not there, is empty, or may not be listed")
    remote = files.open(path, "rb", block_size=_BLOCK)
    # A prefix opens as an object without a byte. It is an input because its listing failed.
    if (getattr(remote, "details", None) or {}).get("type") == "directory":
        remote.close()
        raise UnreadableError("a folder that could not be listed")
    return remote


def open_filesystem(url: str, limits: Limits) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        UnreadableError: not a URL of http, https, s3 or gs: others reach local files, or chain file systems.
        MerError: fsspec, or the package that it needs for such URLs, is not installed.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in _EXTRAS:
        raise UnreadableError(f"cannot be fetched: only http, https, s3 and gs are read, not {scheme}://")
    try:
        if scheme in ("http", "https"):
            from .web import web_filesystem

            return web_filesystem(url, limits), url
        from fsspec import filesystem

        files = filesystem(scheme)
        return files, files._strip_protocol(scheme + url[len(scheme) :])  # it knows it in lower case only
    except ImportError:
        raise MerError(f"{url}: needs more packages: pip install 'merkit[{_EXTRAS[scheme]}]'") from None


def storage_reason(error: Exception) -> str:
    """The message of an error of fsspec or a storage, as one short line."""
    from .web import reason_from_web

    return " ".join((reason_from_web(error) or str(error) or type(error).__name__).split())[:300]
