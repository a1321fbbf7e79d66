"""A disk whose Nth write, sync or rename fails: full, once or from then on."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO, Any

from merkit.engine.files import Disk


class FailingDisk(Disk):
    """``kind`` is "create", "write", "sync" or "replace"; without ``always`` only the Nth fails."""

    def __init__(self, kind: str, nth: int, always: bool = False) -> None:
        self._kind, self._nth, self._always = kind, nth, always
        self.calls = 0

    def count(self, kind: str) -> None:
        if kind != self._kind:
            return
        self.calls += 1
        if self.calls == self._nth or (self._always and self.calls > self._nth):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def create(self, path: Path) -> IO[bytes]:
        self.count("create")
        return _File(super().create(path), self)  # pyright: ignore[reportReturnType]

    def sync(self, file: IO[bytes]) -> None:
        self.count("sync")
        super().sync(file)

    def replace(self, source: Path, target: Path) -> None:
        self.count("replace")
        super().replace(source, target)


class _File:
    def __init__(self, file: IO[bytes], disk: FailingDisk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: bytes) -> int:
        self._file.write(bytes(data)[: len(data) // 2])  # a full disk takes a part
        self._disk.count("write")
        return self._file.write(bytes(data)[len(data) // 2 :])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
