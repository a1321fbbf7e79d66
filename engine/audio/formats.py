"""Which files count as audio: their suffixes in a folder's search, and what may be opened at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import AudioError

_AUDIO = (
    ".mp3 .m4a .m4b .mp4 .m4v .mov .3gp .aac .flac .ogg .oga .opus .wav .wave .aif .aiff .aifc .wma .asf "
    ".wmv .mkv .mka .webm .caf .w64 .rf64 .au"
)
AUDIO_SUFFIXES = frozenset(_AUDIO.split())
"""Suffixes, lower case, of the audio and video files that a folder's search takes."""


def is_remote(path: str) -> bool:
    """Whether a path is a URL, which fsspec must read."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def open_regular_file(path: str | Path) -> int:
    """A descriptor of a local file that is neither a device nor a pipe, and not empty.

    Raises:
        AudioError: there is no such file, it cannot be opened, or it is none of that kind.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise AudioError("no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return descriptor
    os.close(descriptor)
    raise AudioError("the file is empty" if stat.S_ISREG(status.st_mode) else "not a regular file")
