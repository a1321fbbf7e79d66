"""Commands that are timed, and the songs that they get."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir

import pytest
from merkit.benchmarks.measure import whole_commands
from merkit.benchmarks.measure.whole_commands import linked, timed
from merkit.engine.catalogue.expand import Sources, inputs_from_paths
from merkit.engine.catalogue.input_store import InputStore
from merkit.engine.errors import MerError


@pytest.mark.parametrize("disk", ["the same", "another"])
def test_every_link_is_a_song_of_its_own(tmp_path: Path, disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symbolic links to one file are one song to mer-label, whose cost a song would be divided by them."""

    def refuse(*_: object) -> None:
        raise OSError("another disk")

    if disk == "another":
        monkeypatch.setattr(whole_commands.os, "link", refuse)
    (tmp_path / "a.mp3").write_bytes(b"sound")
    (tmp_path / "b.mp3").symlink_to(tmp_path / "a.mp3")
    with linked([str(tmp_path / "a.mp3"), str(tmp_path / "b.mp3")], 5) as (folder, links):
        assert len(inputs_from_paths([folder]).paths) == len({os.path.realpath(link) for link in links}) == 5
        assert {Path(link).read_bytes() for link in links} == {b"sound"}


def test_songs_of_another_disk_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(source: Path, link: Path) -> None:
        if source.is_relative_to(tmp_path):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link_file(source, link)

    link_file = os.link
    monkeypatch.setattr(os, "link", other_disk)
    for name in ("a.mp3", "b.ogg"):
        (tmp_path / name).write_text(name)
    with linked([str(tmp_path / "a.mp3"), str(tmp_path / "b.ogg")], 7) as (_, links):
        assert len({os.stat(link).st_ino for link in links}) == 2
        assert [Path(link).read_text() for link in links] == (["a.mp3", "b.ogg"] * 4)[:7]
        assert [Path(link).suffix for link in links[:2]] == [".mp3", ".ogg"]


def test_the_cpu_of_a_command_and_its_children_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"  # an orphan
    wall, cpu, _ = timed([sys.executable, "-c", child])
    assert cpu >= 0.3
    assert wall > 0
    with pytest.raises(MerError, match="ended with 3"):
        timed([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_peak_is_of_the_command_and_not_of_one_before() -> None:
    """From a small process: no command's peak is less than that of the one which begins it."""
    code = f"""
import sys
from {whole_commands.__name__} import timed
for size in (200 << 20, 0):
    print(timed([sys.executable, "-c", f"x = bytearray({{size}})"])[2])
"""
    large, small = map(int, subprocess.check_output([sys.executable, "-c", code]).split())
    assert large > 200 << 20 > small


def test_a_full_folder_for_temporary_files_is_not_the_songs_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    (tmp_path / "a.mp3").write_bytes(b"sound")
    monkeypatch.setattr(os, "link", other_disk)
    monkeypatch.setattr(shutil, "copyfile", full)
    reason = f"^{gettempdir()}, the folder for temporary files, is full: make room"
    with pytest.raises(MerError, match=reason), linked([str(tmp_path / "a.mp3")], 1):
        pass


def test_songs_without_a_suffix_are_found(tmp_path: Path) -> None:
    """As the files are to which the links of a store of objects lead, and clips that a table names."""
    (tmp_path / "0f3a").write_bytes(b"sound")
    (tmp_path / "a.mp3").symlink_to(tmp_path / "0f3a")
    (tmp_path / "a.1").write_bytes(b"sound")
    files = [str(tmp_path / name) for name in ("a.mp3", "0f3a", "a.1")]
    with linked(files, 3) as (folder, links), InputStore(Sources([folder])) as inputs:
        assert inputs_from_paths([folder]).paths == tuple(links)
        assert [Path(link).suffix for link in links] == [".mp3", ".wav", ".wav"]
        assert (len(inputs), inputs.repeats) == (3, 0)
