"""The lock of a folder of results."""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest
from merkit.engine.catalogue import folder_lock
from merkit.engine.catalogue.folder_lock import FolderLock
from merkit.engine.errors import MerError


def test_a_lock_that_cannot_be_had_is_not_called_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network disks without a lock service: ENOLCK."""

    def no_locks(file: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(folder_lock, "_lock", no_locks)
        with pytest.raises(MerError, match=r"cannot be locked \(No locks available\)"):
            FolderLock(tmp_path)
    held = FolderLock(tmp_path)
    with pytest.raises(MerError, match=rf"in use by another run \(process {os.getpid()}\)"):
        FolderLock(tmp_path)
    held.release()
    FolderLock(tmp_path).release()


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, *modes: str) -> None:
    real = Path.open

    def refused(path: Path, mode: str, **named: Any) -> Any:
        if mode in modes:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, mode, **named)

    monkeypatch.setattr(Path, "open", refused)


def test_a_lock_that_another_user_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not be written, and is locked all the same: both may write into the folder."""
    held = FolderLock(tmp_path)
    refuse_to_open(monkeypatch, "a+b")
    with pytest.raises(MerError, match=rf"in use by another run \(process {os.getpid()}\)"):
        FolderLock(tmp_path)
    held.release()
    held = FolderLock(tmp_path)
    with pytest.raises(MerError, match="in use by another run"):
        FolderLock(tmp_path)
    held.release()
    FolderLock(tmp_path).release()


def test_a_lock_that_cannot_be_shared_may_be_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told to remove it."""
    with monkeypatch.context() as patch:
        refuse_to_open(patch, "a+b", "rb")
        with pytest.raises(MerError, match=f"^{re.escape(str(tmp_path))} cannot be written: Permission den"):
            FolderLock(tmp_path)
        (tmp_path / ".lock").touch()
        with pytest.raises(MerError, match=r"cannot be locked \(Permission denied\): .* chmod g\+rw$"):
            FolderLock(tmp_path)
        patch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(MerError, match=f"^{re.escape(str(tmp_path))} cannot be written: Permission den"):
            FolderLock(tmp_path)

    def of_nfs(file: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    refuse_to_open(monkeypatch, "a+b")
    monkeypatch.setattr(folder_lock, "_lock", of_nfs)
    with pytest.raises(MerError, match=r"cannot be locked \(Bad file descriptor\): .* chmod g\+rw$"):
        FolderLock(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize(("folder", "lock"), [(0o2775, 0o664), (0o700, 0o600)])
def test_who_may_write_in_a_folder_may_lock_it(tmp_path: Path, folder: int, lock: int) -> None:
    tmp_path.chmod(folder)
    FolderLock(tmp_path).release()
    assert (tmp_path / ".lock").stat().st_mode & 0o777 == lock


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_a_new_lock_is_the_folders_owners(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 2345)
    FolderLock(tmp_path).release()
    made = (tmp_path / ".lock").stat()
    assert (made.st_uid, made.st_gid) == (1234, 2345)
    os.chown(tmp_path / ".lock", 0, 0)
    FolderLock(tmp_path).release()
    assert (tmp_path / ".lock").stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_lock_on_a_full_disk_closes() -> None:
    code = (
        "from pathlib import Path\nfrom merkit.engine.catalogue.folder_lock import FolderLock\n"
        "disk = Path('/mnt')\nfile = (disk / 'full').open('wb', buffering=0)\n"
        "(disk / '.lock').touch()\n"
        "try:\n    while file.write(bytes(4096)): pass\nexcept OSError as error: print(error.errno)\n"
        "lock = FolderLock(disk)\nlock.release()\nprint('released')"
    )
    mount = f"mount -t tmpfs -o size=64k none /mnt && exec {sys.executable} -c {shlex.quote(code)}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, text=True)
    if "mount" in done.stderr.split("\n")[0] and not done.stdout:
        pytest.skip("this machine lets nobody mount")
    assert (done.stdout, done.stderr) == (f"{errno.ENOSPC}\nreleased\n", "")


def test_a_lock_that_a_full_disk_refuses_to_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks behind a network tell of a quota only then; the run's own error must not give way to that one."""

    class Full(io.FileIO):
        def close(self) -> None:
            if not self.closed:
                super().close()
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(Path, "open", lambda path, mode, **_: Full(path, mode))
    held = FolderLock(tmp_path)
    with pytest.raises(MerError, match="in use by another run"):
        FolderLock(tmp_path)
    held.release()
    FolderLock(tmp_path).release()


@pytest.mark.parametrize("is_made_again", [False, True])
def test_a_lock_that_goes_before_it_is_taken(
    tmp_path: Path, is_made_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without rows removes it with its folder, while another one has opened it."""
    folder = tmp_path / "labels"
    folder.mkdir()
    first, real, third = FolderLock(folder), folder_lock._lock, list[FolderLock]()

    def lock(file: IO[bytes]) -> None:
        monkeypatch.undo()
        first.release(remove=True)
        if is_made_again:
            folder.mkdir()
            third.append(FolderLock(folder))
        real(file)

    monkeypatch.setattr(folder_lock, "_lock", lock)
    with pytest.raises(MerError, match="was just removed by another run: run the same command again"):
        FolderLock(folder)
    for held in third:
        held.release()


def test_a_disk_that_gives_a_file_another_inode_with_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "samestat", lambda one, other: False)
    FolderLock(tmp_path).release()
    lock = FolderLock(tmp_path)
    with pytest.raises(MerError, match="in use by another run"):
        FolderLock(tmp_path)
    lock.release()
