"""What TensorRT for RTX compiled on this machine, kept for the next start.

Kernels are code. They are read from the user's own folder only, never from beside an engine: that folder may
have come from anybody. The SHA-256 before them finds damage.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from ..artifact import Artifact, models_home
from ..errors import MerError
from ..files import write_whole

_HASH = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


def read_kernels(engine: Artifact) -> bytes:
    """The kernels of an engine; empty where there are none, or where they are damaged."""
    try:
        content = _path(engine).read_bytes()
    except (MerError, OSError):
        return b""
    kernels = content[_HASH:]
    return kernels if content[:_HASH] == hashlib.sha256(kernels).digest() else b""


def write_kernels(engine: Artifact, kernels: bytes) -> None:
    """Keeps the kernels of an engine, if they are new ones; a warning says why they cannot be kept."""
    if not kernels or kernels == read_kernels(engine):
        return
    try:
        path = _path(engine)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(kernels).digest() + kernels)
    except (MerError, OSError) as error:
        _log.warning("compiled kernels cannot be kept (%s): the next start compiles again", error)


def _path(engine: Artifact) -> Path:
    return models_home().parent / "kernels" / f"{engine.sha256}.cache"
