"""Opens a file for reading; checks, after a decoder failed, whether it can be read at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from ..errors import AudioError, MerError, UnreadableError, os_errors_say
from ..signals import pass_on_from_handler
from .formats import open_regular_file

_BLOCK = 1 << 20
_CHECKED = 16 << 20  # bytes of the beginning, and as many of the end


@contextmanager
def opened(path: str | Path, as_what: str = "") -> Iterator[BufferedReader]:
    """A regular file, open within the block.

    Args:
        as_what: what follows "cannot be read" in the error, such as " as CSV".

    Raises:
        MerError: names the file: it is no regular file, is empty, or cannot be opened or read.
    """
    cannot = f"{path} cannot be read{as_what}"
    try:
        with os_errors_say(cannot), os.fdopen(open_regular_file(path), "rb") as file:
            yield file
    except AudioError as error:
        raise MerError(f"{cannot}: {error}") from None


def check_readable(path: str | Path) -> None:
    """Reads the beginning and the end of a file again: decoders take a read that fails for the file's end.

    Raises:
        UnreadableError: a read fails, or the file is not there any more.
    """
    descriptor = open_regular_file(path)
    try:
        size = os.fstat(descriptor).st_size
        for start, stop in ((0, min(size, _CHECKED)), (max(_CHECKED, size - _CHECKED), size)):
            os.lseek(descriptor, start, os.SEEK_SET)
            for _ in range(start, stop, _BLOCK):
                os.read(descriptor, _BLOCK)
    except OSError as error:
        pass_on_from_handler(error)
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from None
    finally:
        os.close(descriptor)
