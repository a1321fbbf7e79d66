"""Files that are written completely or not at all, and the staging folder."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from access_lists import OF_FILE, OWN_LIST, access_list, open_folder
from failing_disk import FailingDisk
from merkit.engine import files


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


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_that_cannot_be_synced_is_written_all_the_same(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On some shares nothing can be: what was labelled for hours must not be lost by that."""

    def sync(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", sync)
    files.write_whole(tmp_path / "rows", "content")
    assert (tmp_path / "rows").read_text() == "content"
    with files.staging(tmp_path) as staged:
        (staged / "model").write_text("model")
        files.publish(staged, tmp_path, ["model"])
    assert (tmp_path / "model").read_text() == "model"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="tells which files are open")
@pytest.mark.parametrize("code", [errno.ETXTBSY, errno.EBUSY, errno.EACCES])
def test_a_disk_that_renames_no_open_file(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that a Windows machine shares by VirtualBox, Docker or WSL."""
    real_replace = os.replace

    def replace(source: Path, target: Path) -> None:
        handles = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        if any(handle.exists() and handle.samefile(source) for handle in handles):
            raise OSError(code, os.strerror(code), str(source))
        real_replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    for content in ("one", "two"):
        files.write_whole(tmp_path / "rows", content)
        assert (tmp_path / "rows").read_text() == content
    assert os.listdir(tmp_path) == ["rows"]


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


@pytest.mark.parametrize("own", [None, OWN_LIST])
def test_the_new_file_has_the_access_list_of_the_one_that_it_replaces(
    tmp_path: Path, own: bytes | None
) -> None:
    path, moved = tmp_path / "rows.csv", tmp_path / "card.md"
    for each in (path, moved):
        each.write_text("before")
    open_folder(tmp_path)
    for each in (path, moved):
        each.chmod(0o640)
        if own:
            os.setxattr(each, OF_FILE, own)
    before, mode = access_list(path), path.stat().st_mode
    files.write_whole(path, "after")
    with files.staging(tmp_path) as place:
        (place / moved.name).write_text("after")
        files.publish(place, tmp_path, [moved.name])
    for each in (path, moved):
        assert (each.read_text(), access_list(each), each.stat().st_mode) == ("after", before, mode)
    files.write_whole(tmp_path / "new", "a new file has what its folder says")
    assert access_list(tmp_path / "new") is not None


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


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="this system has no such folder")
def test_files_in_shared_memory_are_files(tmp_path: Path) -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        path, link = Path(folder) / "rows.csv", tmp_path / "link"
        files.check_can_be_written(path)
        assert not files.is_foreign(path, lambda _: False)
        path.write_text("of somebody")
        number = path.stat().st_ino
        assert files.is_foreign(path, lambda _: False)
        files.write_whole(path, "after")
        assert (path.read_text(), path.stat().st_ino == number) == ("after", False)
        pipe = Path(folder) / "pipe"
        os.mkfifo(pipe)
        assert not files.is_foreign(pipe, lambda _: False)
        link.symlink_to(pipe)
        assert not files.is_foreign(link, lambda _: False)


def test_standard_output_is_written_to_directly(tmp_path: Path) -> None:
    """Also where it is a regular file: what was written to it before stays, and what comes goes there."""
    target = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from merkit.engine import files\n"
        "files.write_whole(Path(sys.argv[1]), 'text'); files.is_foreign(Path(sys.argv[1]), bool)"
    )
    for name in ("/dev/stdout", "/dev/fd/1", "/dev/shm/../stdout"):
        with target.open("wb") as out:
            number = os.fstat(out.fileno()).st_ino
            subprocess.run([sys.executable, "-c", code, name], stdout=out, check=True)
        assert (target.read_text(), target.stat().st_ino) == ("text", number)


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
