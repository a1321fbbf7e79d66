"""Whether a decoder's failure is the file's or its disk's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from merkit.engine.audio import readable
from merkit.engine.audio.readable import check_readable
from merkit.engine.errors import UnreadableError


def test_a_file_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readable, "_BLOCK", 10)
    monkeypatch.setattr(readable, "_CHECKED", 30)
    for size in (1, 10, 29, 30, 31, 59, 60, 61, 1_000):
        (tmp_path / "a.mp3").write_bytes(bytes(size))
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
        check_readable(tmp_path / "a.mp3")
        if before:
            assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("bad", [0, 25, 990])
def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int) -> None:
    monkeypatch.setattr(readable, "_BLOCK", 10)
    monkeypatch.setattr(readable, "_CHECKED", 30)
    (tmp_path / "a.mp3").write_bytes(bytes(1_000))
    real = os.read

    def read(descriptor: int, count: int) -> bytes:
        if os.lseek(descriptor, 0, os.SEEK_CUR) <= bad < os.lseek(descriptor, 0, os.SEEK_CUR) + count:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, count)

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(UnreadableError, match="cannot be read: Input/output error"):
        check_readable(tmp_path / "a.mp3")


def test_a_file_that_went_away(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no such file"):
        check_readable(tmp_path / "gone.mp3")
