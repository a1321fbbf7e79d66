"""The few file operations that results depend on, in one place, so that tests can make them fail."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import MerError


class Disk:
    """Real files. Everything may raise OSError: the disk is full, read-only, over its quota, gone."""

    def create(self, path: Path) -> IO[bytes]:
        """A new file; one of that name must not exist."""
        return path.open("xb")

    def sync(self, file: IO[bytes]) -> None:
        """What was written is on the disk when this returns."""
        file.flush()
        os.fsync(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        """Renames, replacing; also on the disk when this returns."""
        os.replace(source, target)
        if hasattr(os, "O_DIRECTORY"):  # other systems cannot open folders, and need not
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextmanager
    def whole(self, path: Path) -> Iterator[IO[bytes]]:
        """A file to write that is there whole at the end or, whatever happens, as it was before.

        Raises:
            OSError: it could not be written.
        """
        # Not named by process: in containers each is number 1, and a killed one leaves its file.
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        file = self.create(aside)
        try:
            yield file
            self.sync(file)
            file.close()
            self.replace(aside, path)
        except BaseException:
            for tidy in (file.close, aside.unlink):
                with suppress(OSError):
                    tidy()
            raise


class FolderLock:
    """Only one run at a time writes into a folder.

    The system holds the lock and lets go of it when the process ends, however that happens: a
    lock file that was left behind locks nothing.

    Raises:
        MerError: another run has it, or the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / ".lock"
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise MerError(f"{folder} cannot be written: {error.strerror}") from None
        try:
            _lock(self._file)
        except OSError:
            self._file.seek(0)
            holder = self._file.read(100).decode("utf-8", "replace").strip()
            self._file.close()
            raise MerError(f"{folder} is in use by another run ({holder or 'of unknown name'})") from None
        with suppress(OSError):  # a full disk must not keep one from reading on
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()}".encode())
            self._file.flush()

    def release(self) -> None:
        """Lets others in."""
        self._file.close()


def _lock(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:
        import msvcrt

        file.seek(1 << 20)  # Windows locks bytes, and locked ones cannot be read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
