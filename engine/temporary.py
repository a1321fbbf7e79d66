"""Temporary files and folders that do not stay behind: not of this process, and not of one that was killed.

What a killed process left is told from what a living one writes by a lock, which the operating system drops
with the process. Process ids would not do: in containers all processes have id 1.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import MerError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

_SOCKET_PATH = 103  # bytes of the path of a socket, at most (107 on Linux)
_RUN = "mer-run-"  # begins the names of processes' folders
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MARK = ".mer"  # the file that says of a folder, once it is locked, that it is one of ours


_folders: dict[str, Path] = {}  # of this process, by the folder that each lies in; the usual one is first


def process_folder() -> Path:
    """The folder for this process's temporary files, which goes when the process ends.

    Those that killed processes left are removed. It lies in the folder that ``tempfile`` chooses. Where
    somebody has deleted it meanwhile, it is another one.

    Raises:
        MerError: there is no folder for temporary files.
    """
    place = next(iter(_folders), "")
    try:
        place = place or tempfile.gettempdir()
        return _folder_until_exit(place)
    except OSError as error:
        reason = f"{error.strerror or error}: {place}" if place else error.strerror or error
    raise MerError(f"temporary files cannot be written ({reason}): set TMPDIR to a folder with room for them")


def chosen_folder() -> str:
    """The folder for temporary files as the user knows it, for messages: not ``process_folder`` inside it.

    Where Python finds none that can be written, it is the one that TMPDIR names, or /tmp.
    """
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:
        folder = Path(os.environ.get("TMPDIR") or "/tmp")
    ours = (outer.parent for outer in (folder, *folder.parents) if outer.name.startswith(_RUN))
    return str(next(ours, folder))


def not_written(error: Exception) -> str:
    """Why a temporary file could not be written, and what to do; the folder is ``chosen_folder``."""
    code = error.errno if isinstance(error, OSError) else None
    reason = "is full"
    if code not in _FULL:
        reason = f"cannot be written ({error.strerror if isinstance(error, OSError) and code else error})"
    return (
        f"{chosen_folder()}, the folder for temporary files, {reason}: make room, or let TMPDIR name another"
    )


@contextmanager
def temporary_writes(*kinds: type[Exception]) -> Iterator[None]:
    """For a block that writes temporary files, with libraries whose errors of writing are of these kinds.

    An OSError that says neither that there is no room nor what else is wrong, as NumPy's, is one too.

    Raises:
        MerError: a file could not be written; ``not_written`` says why.
    """
    try:
        yield
    except (OSError, *kinds) as error:
        if isinstance(error, OSError) and error.errno not in (None, *_FULL):
            raise
        raise MerError(not_written(error)) from None


def socket_folder(room: int) -> Path:
    """``process_folder``, or a second one in /tmp where the path of the first is too long for sockets.

    Args:
        room: bytes that the path of a socket needs beyond the folder's.

    Raises:
        MerError: there is no such folder.
    """
    usual = process_folder()
    if len(os.fsencode(usual)) + room <= _SOCKET_PATH:
        return usual
    for place in ("/tmp", "/var/tmp"):
        with suppress(OSError):
            return _folder_until_exit(place)
    raise MerError(f"{usual.parent}: the path is too long for sockets; set TMPDIR to a shorter one")


def _folder_until_exit(place: str) -> Path:
    folder = _folders.get(place)
    if folder is not None and folder.is_dir():
        return folder
    from multiprocessing import util

    folder, remove = new_folder(Path(place), _RUN)
    # After the fork server's socket inside it (-100); not in processes that are forked from this one.
    util.Finalize(None, remove, exitpriority=-200)
    _folders[place] = folder
    return folder


def new_folder(place: Path, prefix: str) -> tuple[Path, Callable[[], None]]:
    """A new folder, and what removes it. Those there that no living process holds are removed first."""
    with suppress(OSError):  # a folder may be written and not listed
        for name in os.listdir(place):
            if name.startswith(prefix):
                _remove_folder_if_abandoned(place / name)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    # The lock is on the folder itself: systemd-tmpfiles, too, leaves old folders alone that are locked.
    handle = os.open(folder, os.O_RDONLY) if fcntl else None
    if handle is not None:
        hold(handle)

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)

    try:
        (folder / _MARK).touch()
    except OSError:
        remove()
        raise
    return folder, remove


def _remove_folder_if_abandoned(folder: Path) -> None:
    """Removes a folder of ``new_folder`` that no living process holds; others' are left alone."""
    if fcntl is None:
        return
    with suppress(OSError):
        if os.lstat(folder).st_uid != os.geteuid() or not (folder / _MARK).is_file():
            return
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Within the block, this process and those that it starts make their temporary files in ``folder``."""
    variable, chosen = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = chosen
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable


def hold(file: IO[bytes] | int) -> None:
    """Marks what a living process has. Where there are no locks, nobody removes it."""
    if fcntl:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)  # waits only for somebody who looks whether it is abandoned


@contextmanager
def held(file: IO[bytes]) -> Iterator[Callable[[], None]]:
    """Keeps the lock of a file that is closed within the block, until its name is gone.

    Yields what lets it go before.
    """
    if fcntl is None:  # Windows renames no file that is open
        yield lambda: None
        return
    with os.fdopen(os.dup(file.fileno()), "rb", buffering=0) as second:
        yield second.close


def remove_file_if_abandoned(part: Path) -> None:
    """Removes a temporary file that no living process holds."""
    if fcntl is None:
        return
    with suppress(OSError):
        handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)  # NFS locks no file to read
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.lstat(part)):  # not yet another file's name
                part.unlink()
        finally:
            os.close(handle)
