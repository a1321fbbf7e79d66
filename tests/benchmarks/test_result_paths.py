"""What may be written is known before anything is measured."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from merkit.benchmarks import result_paths
from merkit.benchmarks.result_paths import check_result_paths, make_folder
from merkit.engine import files
from merkit.engine.errors import UsageError


def test_what_cannot_be_written_is_refused_by_the_users_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere" / "x.json")
    for file, reason in (
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "link.json", "No such file or directory"),
    ):
        with pytest.raises(UsageError, match=f"{file} cannot be written: {reason}; name another file"):
            check_result_paths([file])

    def refuse(dir: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"{dir}/tmpxyz")

    monkeypatch.setattr(files, "TemporaryFile", refuse)
    with pytest.raises(UsageError, match=r"x\.json cannot be written: Read-only file system; name another"):
        check_result_paths([tmp_path / "x.json"])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_no_file_can_be_made_in_proc() -> None:
    with pytest.raises(UsageError, match=r"/proc/x\.json cannot be written"):
        check_result_paths([Path("/proc/x.json")])


def test_what_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # whose opening would wait for a reader
    (tmp_path / "old.json").write_text("old")
    check_result_paths([tmp_path / name for name in ("fifo", "old.json", "new.html")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "old.json"]
    assert (tmp_path / "old.json").read_text() == "old"
    program = "from pathlib import Path; from merkit.benchmarks.result_paths import check_result_paths\n"
    program += "check_result_paths([Path('/dev/stdout')])"
    with (tmp_path / "old.json").open("a") as stdout:
        subprocess.run([sys.executable, "-c", program], stdout=stdout, check=True)


def test_results_in_a_folder_of_inputs_replace_themselves(tmp_path: Path) -> None:
    names = ("scores.json", "page.html", "m.png", "table.md", "clips.csv", "song.wav")
    for name in names:
        (tmp_path / name).touch()
    check_result_paths([tmp_path / name for name in names[:4]], [tmp_path])
    for name in names[4:]:
        with pytest.raises(UsageError, match="which the run reads"):
            check_result_paths([tmp_path / name], [tmp_path])
    with pytest.raises(UsageError, match="what the run reads"):
        check_result_paths([tmp_path / "scores.json"], [tmp_path / "scores.json"])
    (tmp_path / "scores.engine").touch()
    with pytest.raises(UsageError, match="the sidecar of an engine"):
        check_result_paths([tmp_path / "scores.json"], [tmp_path])


def test_a_dash_is_no_file() -> None:
    with pytest.raises(UsageError, match="- is no file; /dev/stdout is standard output"):
        check_result_paths([Path("-")])


def test_a_folder_for_logs_is_made_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder("--logs", tmp_path / "a" / "b")
    make_folder("--logs", tmp_path / "a" / "b")
    assert list((tmp_path / "a").rglob("*")) == [tmp_path / "a" / "b"]
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "x")
    for name in ("file", "file/logs", "link", "x" * 300):
        with pytest.raises(UsageError, match=f"--logs {tmp_path / name}: no folder can be made there"):
            make_folder("--logs", tmp_path / name)

    def refuse(dir: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"{dir}/tmpxyz")

    monkeypatch.setattr(result_paths, "TemporaryFile", refuse)
    with pytest.raises(UsageError, match=r"--logs .*a: no file can be written there: Read-only file system"):
        make_folder("--logs", tmp_path / "a")
