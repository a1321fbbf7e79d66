"""Atomic writes, through which all files are written (complete or not at all), and the lock of a folder."""

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
    """The file operations that results depend on, in one class, so that tests can make them fail.

    Each may raise OSError: the disk is full, read-only, over its quota or gone.
    """

    def create(self, path: Path) -> IO[bytes]:
        """Opens a new file for writing; it must not exist yet."""
        return path.open("xb")

    def sync(self, file: IO[bytes]) -> None:
        """Returns when everything that was written is on the disk."""
        file.flush()
        os.fsync(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        """Renames, replacing ``target``; returns when the new name is on the disk."""
        os.replace(source, target)
        if hasattr(os, "O_DIRECTORY"):  # Windows cannot open folders
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextmanager
    def whole(self, path: Path) -> Iterator[IO[bytes]]:
        """Opens a temporary file that replaces ``path`` if the block ends without an error.

        After an error, or a signal that raises one, ``path`` is as it was before.

        Raises:
            OSError: it could not be written.
        """
        # A random name: in containers all processes have id 1, and a killed one leaves its file behind.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        file = self.create(temporary)
        try:
            yield file
            self.sync(file)
            file.close()
            self.replace(temporary, path)
        except BaseException:
            for clean_up in (file.close, temporary.unlink):
                with suppress(OSError):
                    clean_up()
            raise


def whole_file(path: Path) -> AbstractContextManager[IO[bytes]]:
    """``Disk.whole`` on the real disk: a file that gets its name only when it is complete.

    Raises:
        OSError: it could not be written; an older file stays as it was.
    """
    return Disk().whole(path)


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file completely or not at all; text is encoded as UTF-8.

    A link stays one: the file that it points to is replaced. Pipes, devices and names such as /dev/stdout
    are written to directly.

    Raises:
        OSError: it could not be written; an older regular file stays as it was.
    """
    encoded = content.encode() if isinstance(content, str) else content
    # /dev/stdout may be a regular file that other output goes to: a new file under its name would miss that.
    is_stream = path.absolute().is_relative_to("/dev") or (path.exists() and not path.is_file())
    if is_stream:
        path.write_bytes(encoded)
        return
    with whole_file(path.resolve()) as file:
        file.write(encoded)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A temporary hidden folder inside ``folder``, so that ``publish`` can rename files out of it."""
    with tempfile.TemporaryDirectory(prefix=".mer-", dir=folder) as temporary:
        yield Path(temporary)


def publish(staged: Path, folder: Path, names: list[str]) -> None:
    """Moves finished files from a staging folder, in this order; signals wait until all are moved."""
    for name in names:
        with (staged / name).open("rb+") as file:
            os.fsync(file.fileno())
    with signals_deferred():
        for name in names:
            os.replace(staged / name, folder / name)


class FolderLock:
    """Lets only one run at a time write into a folder.

    The operating system holds the lock and releases it when the process ends, even if it is killed: a
    lock file that was left behind blocks nobody.

    Raises:
        MerError: another run holds the lock, or the lock file cannot be written.
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
        with suppress(OSError):  # a full disk: the lock holds without the holder's name
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()}".encode())
            self._file.flush()

    def release(self) -> None:
        """Releases the lock."""
        with suppress(OSError):  # readers of data sets pass over empty files only
            self._file.truncate(0)
        self._file.close()


def _lock(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:
        import msvcrt

        # Windows lets nobody read the bytes that are locked: not those with the holder's name.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
