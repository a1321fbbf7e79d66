"""Keeps a second run out of a folder."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..errors import MerError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None


class FolderLock:
    """Lets only one run at a time write into a folder.

    The operating system holds the lock and releases it when the process ends, even if it is killed: a
    lock file that was left behind blocks nobody.

    Raises:
        MerError: another run holds the lock or has just removed it, or the lock file cannot be written.
    """

    _NAME = ".lock"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        file, is_new = folder / self._NAME, not os.path.lexists(folder / self._NAME)
        try:
            self._file = _open_lock(file)
        except OSError as error:
            raise MerError(f"{folder} cannot be written: {error.strerror}") from error
        if is_new:
            with suppress(OSError, AttributeError):  # the disk or Windows has no modes
                owner = folder.stat()
                os.fchmod(self._file.fileno(), owner.st_mode & 0o666)  # who may write there may lock it
                os.fchown(self._file.fileno(), owner.st_uid, owner.st_gid)  # root's would keep them out
        try:
            _lock(self._file)
        except OSError as error:
            content = b""
            with suppress(OSError), self._file:
                self._file.seek(0)
                content = self._file.read(100)
            holder = content.decode("utf-8", "replace").strip()
            if error.errno == errno.EBADF:  # NFS locks only what was opened for writing
                raise _not_shared(file, error) from None
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise MerError(
                    f"{folder} cannot be locked ({error.strerror}), and two runs there would spoil each "
                    "other's rows: choose a folder on a disk that has file locks"
                ) from None
            raise MerError(f"{folder} is in use by another run ({holder or 'of unknown name'})") from None
        with suppress(OSError):  # a full disk: the lock holds without the holder's name
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()}".encode())
        if not _is_named(self._file, file):  # a third run could lock another one there
            self._file.close()
            raise MerError(f"{folder} was just removed by another run: run the same command again")

    def release(self, remove: bool = False) -> None:
        """Releases the lock.

        Args:
            remove: the folder goes, if nothing else is in it.
        """
        with suppress(OSError):
            if remove and os.listdir(self._folder) == [self._NAME]:
                (self._folder / self._NAME).unlink()
                self._folder.rmdir()
        with suppress(OSError):  # readers of data sets pass over empty files only
            self._file.truncate(0)
        with suppress(OSError):  # of a full disk: it is closed all the same, and no row is lost
            self._file.close()


def _open_lock(file: Path) -> IO[bytes]:
    """Opens a folder's lock file, and makes it; one that only another user may write can be locked too.

    Raises:
        OSError: the folder cannot be written.
        MerError: the file is another user's and cannot be opened.
    """
    try:
        # Unbuffered: what a full disk refuses must not be tried again when the file is closed.
        return file.open("a+b", buffering=0)
    except PermissionError:
        if not os.path.lexists(file) or not os.access(file.parent, os.W_OK | os.X_OK):
            raise
    try:
        return file.open("rb", buffering=0)
    except PermissionError as error:
        raise _not_shared(file, error) from None


def _is_named(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is the one that has this name now.

    Some network disks give a file another inode with each look: then what is in it tells.
    """
    try:
        own = os.fstat(file.fileno())
        if os.path.samestat(own, os.stat(path)):
            return True
        file.seek(0)
        return own.st_nlink > 0 and path.read_bytes() == file.read()
    except OSError as error:
        return not isinstance(error, FileNotFoundError)


def _not_shared(file: Path, error: OSError) -> MerError:
    return MerError(
        f"{file} is another user's and cannot be locked ({error.strerror}): whether a run is under way there "
        "cannot be told. Its owner can share it: chmod g+rw"
    )


def _lock(file: IO[bytes]) -> None:
    if fcntl is None:
        import msvcrt

        # Windows lets nobody read the bytes that are locked: not those with the holder's name.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
