"""New bytes for a file in one step, with its mode, owner, times and attributes kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ...errors import MerError
from ...files import Disk, keep_private

_SEEN = ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


@contextmanager
def replacement(path: Path, mtime_ns: int | None, disk: Disk) -> Iterator[tuple[IO[bytes], os.stat_result]]:
    """A new file beside ``path``, open for writing, that takes its place if the block ends without an error.

    Whenever the process is killed, the file is there whole, the old or the new. Other hard links keep the old
    bytes. With it comes what was known of ``path``, which is to be read after that: from then on no change of
    it is lost.

    Args:
        path: of a regular file, and no link.
        mtime_ns: the time of the new one; None for that of before.

    Raises:
        MerError: the file is read-only; its owner or an attribute cannot be kept; or it changed meanwhile.
        OSError: it could not be written.
    """
    check_writable(path)
    before = os.stat(path)

    def unchanged() -> Path:
        now = os.stat(path)
        if any(getattr(now, name) != getattr(before, name) for name in _SEEN):
            raise MerError("it changed while it was copied")
        return path

    # It is asked when the new bytes are on the disk, which can take seconds, right before they get the name.
    with disk.whole(path, unchanged) as file:
        keep_private(file.fileno())  # until it is known who may read it
        yield file, before
        file.flush()
        _keep(path, before, file.fileno(), before.st_mtime_ns if mtime_ns is None else mtime_ns)


def check_writable(path: Path) -> None:
    """Whether the file may be replaced.

    Raises:
        MerError: it, or its folder, is read-only.
        OSError: it is not there.
    """
    if not os.stat(path).st_mode & 0o222 or not os.access(path, os.W_OK):
        raise MerError("it is read-only")
    if not os.access(path.parent, os.W_OK):
        raise MerError("its folder is read-only")


def _keep(path: Path, before: os.stat_result, new: int, mtime_ns: int) -> None:
    owner = (before.st_uid, before.st_gid)
    status = os.fstat(new)
    if (status.st_uid, status.st_gid) != owner:
        try:
            os.fchown(new, *owner)
        except PermissionError:
            raise MerError("it belongs to another user or group, which a new file could not") from None
    if hasattr(os, "listxattr"):  # Linux
        _keep_attributes(path, new)
    _keep_mode(new, stat.S_IMODE(before.st_mode))  # last: a new owner clears bits of it
    try:
        os.utime(new, ns=(before.st_atime_ns, mtime_ns))
    except OSError as error:
        raise MerError(f"its time cannot be kept: {error.strerror}") from None


def _keep_mode(new: int, mode: int) -> None:
    try:
        os.fchmod(new, mode)
    except OSError as error:  # of shares, disks of Windows and of phones, where all files may have one mode
        if stat.S_IMODE(os.fstat(new).st_mode) != mode:
            raise MerError(f"its mode cannot be kept: {error.strerror}") from None


def _keep_attributes(path: Path, new: int) -> None:
    """Extended attributes, and access control lists, which are some of them."""
    try:
        names = os.listxattr(path)
    except OSError:  # of a disk that has none
        return
    for name in names:
        value = os.getxattr(path, name)
        try:
            os.setxattr(new, name, value)
        except OSError as error:
            # Only root may set some of "security.", which new files have by themselves.
            if name not in os.listxattr(new) or os.getxattr(new, name) != value:
                raise MerError(f"its attribute {name} cannot be kept: {error.strerror}") from None
    for name in set(os.listxattr(new)).difference(names):  # such as an access list for all in its folder
        if not name.startswith("security."):
            try:
                os.removexattr(new, name)
            except OSError as error:
                raise MerError(f"it would get the attribute {name}: {error.strerror}") from None
