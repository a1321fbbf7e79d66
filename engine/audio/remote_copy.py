"""Temporary local copies of remote songs (s3://, gs://, https://), made by fsspec."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import AudioError, MerError, UnreadableError
from .decoder import Limits

_EXTRAS = {"http": "remote", "https": "remote", "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_BLOCK = 1 << 20
_MAX_BYTES = 2 << 30  # of one object: larger than any song, smaller than a small disk


@contextmanager
def local_copy(url: str, limits: Limits) -> Iterator[str]:
    """The path of a temporary local copy of an object.

    Raises:
        UnreadableError: the object cannot be read, or takes longer than ``limits.seconds``.
        AudioError: it is larger than 2 GB.
    """
    deadline = time.monotonic() + limits.seconds
    with tempfile.NamedTemporaryFile(prefix="mer-", suffix=".audio") as copy:
        try:
            files, path = open_filesystem(url)
            with files.open(path, "rb", block_size=_BLOCK) as remote:
                while block := remote.read(_BLOCK):
                    if copy.tell() + len(block) > _MAX_BYTES:
                        raise AudioError(f"is larger than {_MAX_BYTES >> 30} GB")
                    if time.monotonic() > deadline:
                        raise UnreadableError(f"copying took longer than {limits.seconds:g} s")
                    copy.write(block)
            copy.flush()
        except FileNotFoundError:
            raise UnreadableError("no such file") from None
        except MerError:
            raise
        except Exception as error:  # each storage has exceptions of its own
            raise UnreadableError(f"cannot be fetched: {storage_reason(error)}") from None
        yield copy.name


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        MerError: fsspec, or the package that it needs for such URLs, is not installed; an unknown protocol.
    """
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(url.partition("://")[0].lower())
        # For other protocols, fsspec's own message names the package.
        advice = f"pip install 'merkit[{extra}]'" if extra else str(error) or "pip install 'merkit[remote]'"
        raise MerError(f"{url}: needs more packages: {advice}") from None
    except ValueError as error:
        raise MerError(f"{url}: {error}") from None


def storage_reason(error: Exception) -> str:
    """The message of an error of fsspec or a storage, as one short line."""
    return " ".join((str(error) or type(error).__name__).split())[:200]
