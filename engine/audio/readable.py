"""Whether a file can be read at all, asked after a decoder failed."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UnreadableError
from ..signals import pass_on_from_handler
from .formats import open_regular_file

_BLOCK = 1 << 20
_CHECKED = 16 << 20  # bytes of the beginning, and as many of the end


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
