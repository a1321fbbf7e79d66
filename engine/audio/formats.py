"""Which files count as audio: the suffixes that a search of folders takes, and what may be opened."""

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
"""Lower-case suffixes of the audio and video files that a search of folders takes."""


def is_remote(path: str) -> bool:
    """Whether a path is a URL, to be read by fsspec."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def open_regular_file(path: str | Path) -> int:
    """Opens a local file and returns its descriptor. Devices, pipes and empty files are refused.

    Raises:
        AudioError: there is no such file, it cannot be opened, is not a regular file, or is empty.
    """
    try:
        # O_NONBLOCK: opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise AudioError("no such file") from None
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror or error}") from None
    except ValueError as error:  # a null character in the path
        raise AudioError(f"cannot be opened: {error}") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return descriptor
    os.close(descriptor)
    raise AudioError("the file is empty" if stat.S_ISREG(status.st_mode) else "not a regular file")
