"""Atomic writes, through which all files are written: complete or not at all."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from .errors import MerError, UsageError
from .signals import signals_deferred
from .temporary import held, hold, new_folder, remove_file_if_abandoned

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a file cannot grow."""

_PART_NAMES = 3  # of temporary files of one name, which are looked at again; beyond them names are random

# What disks without fsync answer: CIFS, DrvFs and the like for folders, SMB on a Mac and FUSE for files.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

# What folders shared by a Windows machine (VirtualBox, Docker, WSL) say of a rename of an open file.
_IN_USE = (errno.ETXTBSY, errno.EBUSY, errno.EACCES)

_ACCESS_LIST = "system.posix_acl_access"

_LONGEST_NAME = 239  # bytes; with what stands around it a temporary name has 255, which most disks take


class Disk:
    """The file operations that results depend on, in one class, so that tests can make them fail.

    Each may raise OSError: the disk is full, read-only, over its quota or gone.
    """

    def create(self, path: Path) -> IO[bytes]:
        """Opens a new file for writing; it must not exist yet."""
        return path.open("xb")

    def sync(self, file: IO[bytes]) -> None:
        """Returns when everything that was written is on the disk, where that can be asked for."""
        file.flush()
        sync_to_disk(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        """Renames, replacing ``target``; returns when the new name is on the disk."""
        os.replace(source, target)
        self.sync_folder(target.parent)

    def sync_folder(self, folder: Path) -> None:
        """Returns when the names in a folder are on the disk, where that can be asked for."""
        if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open folders
            return
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:  # a folder may be written and not listed
            return
        try:
            sync_to_disk(handle)
        finally:
            os.close(handle)

    @contextmanager
    def whole(self, path: Path, target: Callable[[], Path | None] | None = None) -> Iterator[IO[bytes]]:
        """Opens a temporary file that replaces ``path`` if the block ends without an error.

        Where there is a ``target``, it is asked at the end for another name in the same folder, or None: the
        temporary file goes.

        After an error, or a signal that raises one, ``path`` is as it was before; an error that says that
        there is no room names it. The new file has the owner, the mode and the access list of the one that it
        replaces, where that can be.

        Raises:
            OSError: it could not be written.
        """
        temporary, file = self._temporary(path)
        with held(file) as let_go, _named_if_full(path):
            try:
                _take_rights(path, file)
                yield file
                self.sync(file)
                file.close()
                last = target() if target else path
                temporary.unlink() if last is None else self._give_name(temporary, last, let_go)
            except BaseException:
                for clean_up in (file.close, temporary.unlink):
                    with suppress(OSError):
                        clean_up()
                raise

    def _give_name(self, temporary: Path, path: Path, let_go: Callable[[], None]) -> None:
        try:
            self.replace(temporary, path)
        except OSError as error:
            if error.errno not in _IN_USE or not temporary.exists():
                raise
            let_go()  # the lock keeps it open
            self.replace(temporary, path)

    def clear(self, path: Path) -> None:
        """Removes what writers of ``path`` that were killed have left beside it."""
        for number in range(_PART_NAMES):
            remove_file_if_abandoned(_part_of(path, number))

    def _temporary(self, path: Path) -> tuple[Path, IO[bytes]]:
        """A new hidden file beside ``path``, under a lock. Those of writers that were killed are removed."""
        self.clear(path)
        for number in (*range(_PART_NAMES), secrets.token_hex(4)):
            part = _part_of(path, number)
            with suppress(FileExistsError):
                file = self.create(part)
                hold(file)
                if os.fstat(file.fileno()).st_nlink:
                    return part, file
                file.close()  # it was taken for abandoned before it had its lock
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def sync_to_disk(handle: int) -> None:
    """Returns when what was written to an open file or folder is on the disk, where that can be asked for.

    Raises:
        OSError: it could not be written.
    """
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def keep_private(handle: int) -> None:
    """Only its owner may read an open file from now on, where the disk lets anybody choose that."""
    with suppress(OSError, AttributeError):  # shares, disks of Windows and of phones; Windows itself
        os.fchmod(handle, 0o600)


@contextmanager
def _named_if_full(path: Path) -> Iterator[None]:
    """An error that says that there is no room names a file: the system names none where a write fails."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


def _take_rights(path: Path, file: IO[bytes]) -> None:
    """Before anything is written: what only some may read must not be open to others meanwhile."""
    with suppress(OSError, AttributeError):  # there is no such file, or the disk or Windows has no modes
        before, now = path.stat(), os.fstat(file.fileno())
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            with suppress(OSError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
        _take_access_list(path, file)
        os.fchmod(file.fileno(), before.st_mode & 0o777)


def _take_access_list(path: Path, file: IO[bytes]) -> None:
    """A new file may have got one from its folder; it is to have that of the older one, or none as that."""
    if not hasattr(os, "listxattr"):  # as on macOS
        return
    with suppress(OSError):  # of a disk that has none
        if _ACCESS_LIST in os.listxattr(path):
            os.setxattr(file.fileno(), _ACCESS_LIST, os.getxattr(path, _ACCESS_LIST))
        elif _ACCESS_LIST in os.listxattr(file.fileno()):
            os.removexattr(file.fileno(), _ACCESS_LIST)


def _part_of(path: Path, number: int | str) -> Path:
    """The name of a temporary file beside ``path``."""
    name = os.fsencode(path.name)
    short = path.name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).hexdigest()
    return path.with_name(f".{short}.{number}.part")


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
    if _is_stream(path):
        with _named_if_full(path):
            path.write_bytes(encoded)
        return
    with whole_file(path.resolve()) as file:
        file.write(encoded)


def check_can_be_written(file: Path) -> None:
    """Refuses, before any work, what ``write_whole`` could not write after it.

    Raises:
        UsageError: a folder, ``-``, or a folder around it that is not there or takes no files.
    """
    if file == Path("-"):
        raise UsageError("- is no file; /dev/stdout is standard output")
    try:
        if not file.parent.is_dir():
            raise UsageError(f"{file}: there is no folder {file.parent}")
        if file.is_dir():
            raise UsageError(f"{file} is a folder; name a file")
        if not _is_stream(file):  # which is written beside it first
            with TemporaryFile(dir=file.resolve().parent):
                pass
    except (OSError, RuntimeError) as error:  # the latter of links that lead to themselves, in Python 3.11
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{file} cannot be written: {reason}; name another file") from None


def is_foreign(path: Path, is_ours: Callable[[Path], bool]) -> bool:
    """Whether a regular file is there that holds something and is not what this program wrote.

    What ``write_whole`` writes to directly is none.

    Args:
        is_ours: is asked of such a file alone. What it cannot read as it should (MerError, ValueError,
            csv.Error) is not ours.

    Raises:
        UsageError: it cannot be read, so that nobody knows.
    """
    try:
        if _is_stream(path) or not path.is_file() or not path.stat().st_size:
            return False
        with path.open("rb"):
            pass
        return not is_ours(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}; name another file") from None
    except (MerError, ValueError, csv.Error):
        return True


def _is_stream(path: Path) -> bool:
    """Whether it is written to directly: a device, a pipe.

    /dev/stdout may be a regular file that other output goes to: a new file under its name would miss that.
    Beneath /dev/shm are files like any others.
    """
    place = Path(os.path.abspath(path))
    is_device = place.is_relative_to("/dev") and not place.is_relative_to("/dev/shm")
    return is_device or (path.exists() and not path.is_file())


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A temporary hidden folder inside ``folder``, so that ``publish`` can rename files out of it.

    Those that killed processes left there are removed.
    """
    staged, remove = new_folder(folder, ".mer-")
    try:
        yield staged
    finally:
        remove()


def publish(staged: Path, folder: Path, names: list[str]) -> None:
    """Moves finished files from a staging folder, in this order; signals wait until all are moved.

    A link stays one, as in ``write_whole``, and the new file has the owner and the mode of the one that it
    replaces.

    Raises:
        OSError: not all could be moved.
    """
    targets = {staged / name: (folder / name).resolve() for name in names}
    for path, target in targets.items():
        with _named_if_full(target), path.open("rb+") as file:
            _take_rights(target, file)
            sync_to_disk(file.fileno())
    with signals_deferred():
        for path, target in targets.items():
            try:
                os.replace(path, target)
            except OSError as error:
                if error.errno != errno.EXDEV:  # a link may lead to another disk
                    raise
                with path.open("rb") as content, whole_file(target) as file:
                    shutil.copyfileobj(content, file)
