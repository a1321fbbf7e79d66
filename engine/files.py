"""Every file that is written whole or not at all, and the lock of a folder."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import MerError
from .signals import signals_deferred


class Disk:
    """The file operations that results depend on, in one place, so that tests can make them fail.

    Everything may raise OSError: the disk is full, read-only, over its quota, gone.
    """

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


def whole_file(path: Path) -> AbstractContextManager[IO[bytes]]:
    """See ``Disk.whole``: a file to write that appears under its name only when it is complete.

    Raises:
        OSError: it could not be written; an older file stays as it was.
    """
    return Disk().whole(path)


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file whole or not at all; text is UTF-8.

    Raises:
        OSError: it could not be written; an older file stays as it was.
    """
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A hidden folder in ``folder``, on its file system, for ``publish``; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".mer-", dir=folder) as place:
        yield Path(place)


def publish(place: Path, folder: Path, names: list[str]) -> None:
    """Moves finished files from a staging folder, in this order; a signal waits until all are moved."""
    for name in names:
        with (place / name).open("rb+") as file:
            os.fsync(file.fileno())
    with signals_deferred():
        for name in names:
            os.replace(place / name, folder / name)


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
