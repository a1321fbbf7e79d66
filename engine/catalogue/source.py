"""One input of a run."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Source:
    """A local path or a URL, with the size and time that show a change, and its manifest's other columns."""

    path: str
    size_bytes: int | None = None
    mtime_ns: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


def source_from_path(path: str, columns: Mapping[str, Any] | None = None) -> Source:
    """A local file with its size and time, which are None if it does not exist or is not a regular file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return Source(path, columns=columns or {})
    if not stat.S_ISREG(status.st_mode):
        return Source(path, columns=columns or {})
    return Source(path, status.st_size, status.st_mtime_ns, columns or {})
