"""However a command of mer-train ends, it is one line and an exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from merkit.training import cli
from merkit.training.cli import main
from merkit.training.runs import ensemble


@pytest.fixture
def end(songs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], Result]:
    """How mer-train ends where its work raises an error."""

    def ended(error: BaseException) -> Result:
        def work(options: object) -> None:
            raise error

        monkeypatch.setattr(cli, "_protocol", work)
        return CliRunner().invoke(main, ["--data", str(songs)])

    return ended


def test_without_torch_it_says_what_to_install(end: Callable[[BaseException], Result]):
    result = end(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert result.exit_code == 1
    assert "this needs the package torch: pip install 'merkit[train]'" in result.stderr


def test_ctrl_c_is_130(end: Callable[[BaseException], Result]):
    result = end(KeyboardInterrupt())
    assert result.exit_code == 130
    assert "--resume goes on after the last whole epoch" in result.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; --resume goes on after"),
        (OSError(errno.EFBIG, "File too large", "state.pt"), "state.pt: File too large; --resume goes on"),
        (OSError(errno.ENOENT, "No such file or directory", "run/x"), "run/x: No such file or directory\n"),
        (OSError(errno.EACCES, "Permission denied", "a\x1b[2J"), "a\\x1b[2J: Permission denied\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
         "the memory does not suffice: a smaller --batch"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), "the memory does not suffice"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_one_line(
    end: Callable[[BaseException], Result], error: Exception, line: str
):
    result = end(error)
    assert result.exit_code == 1
    assert line in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["curve", "--help"], ["--version"]])
@pytest.mark.skipif(os.name == "nt", reason="there a broken pipe is another error")
def test_a_reader_that_has_gone_is_141(arguments: list[str]):
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from merkit.training.cli import main; main(sys.argv[1:])"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_other_errors_keep_their_traceback(end: Callable[[BaseException], Result]):
    bug, lost = (
        RuntimeError("a bug"),
        ModuleNotFoundError("No module named 'merkit.lost'", name="merkit.lost"),
    )
    assert [end(error).exception for error in (bug, lost)] == [bug, lost]  # a missing module of ours is one


def test_a_stopped_ensemble_has_nothing_to_resume(songs: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble, "member_from_path", stop)
    result = CliRunner().invoke(main, ["ensemble", str(songs), str(songs / "calm")])
    assert result.exit_code == 130
    assert result.stderr == "stopped\n"


@pytest.mark.parametrize(("torchs", "usable", "expected"), [(16, 2, 2), (1, 8, 1)])
def test_threads_are_no_more_than_cores_that_may_be_used(
    torchs: int, usable: int, expected: int, monkeypatch: pytest.MonkeyPatch
):
    import torch
    from merkit.training import command

    chosen: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: torchs)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(command, "usable_cores", lambda: usable)
    command.limit_threads()
    assert chosen == [expected]
