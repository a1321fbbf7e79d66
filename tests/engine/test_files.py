"""Files that are written completely or not at all, and the staging folder."""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from failing_disk import FailingDisk
from merkit.engine import files
from merkit.engine.errors import MerError


@pytest.mark.parametrize("kind", ["create", "write", "sync", "replace"])
def test_a_failed_write_keeps_the_older_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.bin"
    files.write_whole(path, b"before")
    with pytest.raises(OSError, match="No space"), FailingDisk(kind, 1).whole(path) as file:
        file.write(b"after")
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_is_said_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    for kind in ("write", "sync"):
        with pytest.raises(OSError, match="No space") as error, FailingDisk(kind, 1).whole(path) as file:
            file.write(b"content")
        assert error.value.filename == str(path)
    with pytest.raises(OSError, match="other") as error, FailingDisk("write", 9).whole(path):
        raise OSError(errno.EIO, "other")  # it may be of what is read meanwhile
    assert error.value.filename is None


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="Windows cannot open folders")
def test_a_folder_that_cannot_be_synced_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open, real_sync = os.open, os.fsync

    def sync_fails_by(code: int) -> None:
        def sync(handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(code, os.strerror(code))
            real_sync(handle)

        monkeypatch.setattr(os, "fsync", sync)

    def refused(path: Path, flags: int, *more: int) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real_open(path, flags, *more)

    path = tmp_path / "model.bin"
    for code in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
        sync_fails_by(code)
        files.write_whole(path, str(code))
        assert path.read_text() == str(code)
    sync_fails_by(errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        files.write_whole(path, "lost")
    monkeypatch.setattr(os, "open", refused)
    files.write_whole(path, "in a folder that cannot be listed")
    assert path.read_text() == "in a folder that cannot be listed"


def test_text_is_utf8_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    files.write_whole(path, "a")
    files.write_whole(path, "\u0939\u093f\u0928\u094d\u0926\u0940\n")
    assert path.read_bytes() == "\u0939\u093f\u0928\u094d\u0926\u0940\n".encode()


def test_the_new_file_has_the_mode_of_the_one_that_it_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = tmp_path / "rows.csv", tmp_path / "new.csv"
    umask = os.umask(0o022)
    try:
        for mode in (0o640, 0o600, 0o664, 0o444):
            path.write_text("before")
            path.chmod(mode)
            with files.whole_file(path) as file:
                file.write(b"after")
                file.flush()
                assert [part.stat().st_mode & 0o777 for part in tmp_path.glob(".*.part")] == [mode]
            assert (path.read_text(), path.stat().st_mode & 0o777) == ("after", mode)
            path.unlink()
        path.write_text("before")
        path.chmod(0o600)

        def refused(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "fchmod", refused)  # as disks do that have no modes
        for target in (path, new):
            files.write_whole(target, "after")
            assert (target.read_text(), target.stat().st_mode & 0o777) == ("after", 0o644)
    finally:
        os.umask(umask)


def test_a_link_and_a_pipe_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target)
    files.write_whole(link, "through the link")
    assert link.is_symlink()
    assert target.read_text() == "through the link"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_whole(pipe, "through the pipe")
    assert os.read(reader, 100) == b"through the pipe"
    os.close(reader)
    assert pipe.is_fifo()


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    """In containers every process is number 1: names aside must not come from it."""
    path = tmp_path / "cache.json"
    with files.whole_file(path) as first, files.whole_file(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_signal_waits_until_all_files_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a.onnx", "a.engine"]
    move = os.replace

    def interrupted(source: Path, target: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        move(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with files.staging(tmp_path) as place:
        for name in names:
            (place / name).write_bytes(b"new")
        with pytest.raises(KeyboardInterrupt):
            files.publish(place, tmp_path, names)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize("other_disk", [False, True])
def test_a_link_stays_one_and_the_mode_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_disk: bool
) -> None:
    behind, link, own = tmp_path / "disk" / "net.onnx", tmp_path / "link.onnx", tmp_path / "own.onnx"
    behind.parent.mkdir()
    for path in (behind, own):
        path.write_bytes(b"before")
        path.chmod(0o640)
    link.symlink_to(behind)
    move = os.replace

    def refused(source: Path, target: Path) -> None:
        if other_disk and source.parent != target.parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        move(source, target)

    monkeypatch.setattr(os, "replace", refused)
    with files.staging(tmp_path) as place:
        for name in (link.name, own.name):
            (place / name).write_bytes(b"after")
        files.publish(place, tmp_path, [link.name, own.name])
    assert link.is_symlink()
    for path in (behind, own):
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"after", 0o640)
    assert list(behind.parent.iterdir()) == [behind]


def test_a_lock_that_cannot_be_had_is_not_called_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network disks without a lock service: ENOLCK."""

    def no_locks(file: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(files, "_lock", no_locks)
        with pytest.raises(MerError, match=r"cannot be locked \(No locks available\)"):
            files.FolderLock(tmp_path)
    held = files.FolderLock(tmp_path)
    with pytest.raises(MerError, match=rf"in use by another run \(process {os.getpid()}\)"):
        files.FolderLock(tmp_path)
    held.release()
    files.FolderLock(tmp_path).release()


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, *modes: str) -> None:
    real = Path.open

    def refused(path: Path, mode: str, **named: Any) -> Any:
        if mode in modes:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, mode, **named)

    monkeypatch.setattr(Path, "open", refused)


def test_a_lock_that_another_user_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not be written, and is locked all the same: both may write into the folder."""
    held = files.FolderLock(tmp_path)
    refuse_to_open(monkeypatch, "a+b")
    with pytest.raises(MerError, match=rf"in use by another run \(process {os.getpid()}\)"):
        files.FolderLock(tmp_path)
    held.release()
    held = files.FolderLock(tmp_path)
    with pytest.raises(MerError, match="in use by another run"):
        files.FolderLock(tmp_path)
    held.release()
    files.FolderLock(tmp_path).release()


def test_a_lock_that_cannot_be_shared_may_be_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told to remove it."""
    with monkeypatch.context() as patch:
        refuse_to_open(patch, "a+b", "rb")
        with pytest.raises(MerError, match=f"^{re.escape(str(tmp_path))} cannot be written: Permission den"):
            files.FolderLock(tmp_path)
        (tmp_path / ".lock").touch()
        with pytest.raises(MerError, match=r"cannot be locked \(Permission denied\): .* chmod g\+rw$"):
            files.FolderLock(tmp_path)
        patch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(MerError, match=f"^{re.escape(str(tmp_path))} cannot be written: Permission den"):
            files.FolderLock(tmp_path)

    def of_nfs(file: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    refuse_to_open(monkeypatch, "a+b")
    monkeypatch.setattr(files, "_lock", of_nfs)
    with pytest.raises(MerError, match=r"cannot be locked \(Bad file descriptor\): .* chmod g\+rw$"):
        files.FolderLock(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize(("folder", "lock"), [(0o2775, 0o664), (0o700, 0o600)])
def test_who_may_write_in_a_folder_may_lock_it(tmp_path: Path, folder: int, lock: int) -> None:
    tmp_path.chmod(folder)
    files.FolderLock(tmp_path).release()
    assert (tmp_path / ".lock").stat().st_mode & 0o777 == lock


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_a_new_lock_is_the_folders_owners(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 2345)
    files.FolderLock(tmp_path).release()
    made = (tmp_path / ".lock").stat()
    assert (made.st_uid, made.st_gid) == (1234, 2345)
    os.chown(tmp_path / ".lock", 0, 0)
    files.FolderLock(tmp_path).release()
    assert (tmp_path / ".lock").stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_lock_on_a_full_disk_closes() -> None:
    code = (
        "from pathlib import Path\nfrom merkit.engine.files import FolderLock\n"
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
    held = files.FolderLock(tmp_path)
    with pytest.raises(MerError, match="in use by another run"):
        files.FolderLock(tmp_path)
    held.release()
    files.FolderLock(tmp_path).release()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no such device")
def test_a_device_that_is_full_is_named() -> None:
    with pytest.raises(OSError, match="No space") as error:
        files.write_whole(Path("/dev/full"), "text")
    assert error.value.filename == "/dev/full"


def test_a_file_that_is_moved_on_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with files.staging(tmp_path) as place:
        (place / "a.onnx").write_bytes(b"new")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError) as error:
            files.publish(place, tmp_path, ["a.onnx"])
    assert error.value.filename == str(tmp_path / "a.onnx")


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    """85 letters of Devanagari are 255 bytes: a temporary name has no room for more."""
    path = tmp_path / ("ग" * 84 + ".md")
    files.write_whole(path, "first")
    files.write_whole(path, "second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]
