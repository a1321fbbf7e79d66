"""How all commands end, and the type of --windows."""

from __future__ import annotations

import errno
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from merkit.engine.cli.command import SETTINGS, FiniteRange, WindowCountType, report_errors, version_option
from merkit.engine.errors import ArtifactError, MerError, UsageError
from merkit.engine.text.streams import ReaderGoneError


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "1e999", "-1"])
def test_a_number_is_finite(value: str) -> None:
    """NaN passes every comparison with a bound, and a gate that compares with it never fails."""

    @click.command()
    @click.option("--hop", type=FiniteRange(min=0))
    def run(hop: float) -> None:
        click.echo(hop)

    assert CliRunner().invoke(run, ["--hop", "0.5"]).output == "0.5\n"
    done = CliRunner().invoke(run, [f"--hop={value}"])
    assert (done.exit_code, "--hop" in done.output) == (2, True)


def command(result: Any) -> click.Command:
    """A command that returns ``result``, or raises it."""

    @click.command(context_settings=SETTINGS)
    @click.option("--windows", type=WindowCountType())
    @version_option
    @report_errors
    def run(windows: Any) -> int:
        if isinstance(result, Exception):
            raise result
        click.echo(repr(windows))
        return result

    return run


@pytest.mark.parametrize(
    ("result", "code"),
    [(0, 0), (4, 4), (MerError("a\n reason"), 1), (UsageError("x"), 2), (ArtifactError("x"), 1)],
)
def test_exit_codes(result: Any, code: int) -> None:
    done = CliRunner().invoke(command(result), [])
    assert done.exit_code == code
    if isinstance(result, MerError):
        assert done.output == f"Error: {result}\n"


def test_a_reader_that_has_gone_is_no_bug() -> None:
    done = CliRunner().invoke(command(ReaderGoneError()))
    assert (done.exit_code, done.output) == (141, "")


_COMMAND = """
import os, sys, click
from merkit.engine.cli.command import SETTINGS, QuietCommand, report_errors
@click.command(cls=QuietCommand, context_settings=SETTINGS)
@report_errors
def run() -> int:
    click.echo("line " * 10_000)
    return 0
run()
"""


@pytest.mark.parametrize("arguments", [[], ["--help"]])
@pytest.mark.parametrize("option", [[], ["-u"]])
@pytest.mark.skipif(os.name == "nt", reason="there a broken pipe is another error")
def test_a_reader_that_has_gone_is_141_whoever_prints(option: list[str], arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, *option, "-c", _COMMAND, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_a_terminal_that_was_closed_is_no_error(arguments: list[str]) -> None:
    shown, mine = pty.openpty()
    os.close(shown)
    done = subprocess.run([sys.executable, "-c", _COMMAND, *arguments], stdout=mine, stderr=subprocess.PIPE)
    os.close(mine)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("option", [[], ["-u"]])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device is Linux's")
def test_help_on_a_full_stdout_is_one_line(option: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *option, "-c", _COMMAND, "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    line = b"Error: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_a_pipe_that_is_not_stdout_is_no_reader() -> None:
    broken = BrokenPipeError(errno.EPIPE, "Broken pipe")
    done = CliRunner().invoke(command(broken), [])
    assert done.exit_code == 1


def test_a_file_name_cannot_steer_the_terminal() -> None:
    done = CliRunner().invoke(command(MerError("\x1b[2Jsong\r\u2028.mp3 is no song")), [])
    assert done.output == "Error: \\x1b[2Jsong\\r\\u2028.mp3 is no song\n"


def test_a_bug_keeps_its_traceback() -> None:
    bug = ValueError("a bug")
    assert CliRunner().invoke(command(bug), []).exception is bug


@pytest.mark.parametrize("text", ["100001", "1000000000", "9" * 5_000])
def test_too_many_windows(text: str) -> None:
    """Each would take memory before the first is read."""
    done = CliRunner().invoke(command(0), ["--windows", text])
    assert (done.exit_code, "at most 100,000, or 'all'" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("text", "value"), [("all", "'all'"), ("100000", "100000"), ("12", "12"), ("007", "7")]
)
def test_window_counts(text: str, value: str) -> None:
    assert CliRunner().invoke(command(0), ["--windows", text]).output == f"{value}\n"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "few", ""])
def test_what_is_no_window_count(text: str) -> None:
    done = CliRunner().invoke(command(0), ["--windows", text])
    assert done.exit_code == 2
    assert "is neither a number above 0 nor 'all'" in done.output


def test_the_version_is_the_packages() -> None:
    import merkit

    assert merkit.__version__ in CliRunner().invoke(command(0), ["--version"]).output


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b: No space left on device"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files: the limit is ulimit -n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/a/b"), "/a/b: File name too long"),
        (
            OSError(errno.ENOTCONN, "Transport endpoint is not connected", "m/labels"),
            "m/labels: Transport endpoint is not connected: its disk or share is away: bring it back",
        ),
        (
            OSError(errno.ESTALE, "Stale file handle", "m/labels"),
            "m/labels: Stale file handle: its disk or share is away: bring it back",
        ),
        (BlockingIOError(errno.EAGAIN, "Resource"), "Resource: the limit is ulimit -u"),
        (
            ImportError("a.so: failed to map segment from shared object"),
            "the memory is full, or the limit on it is reached (ulimit -v)",
        ),
        (MemoryError(), "the memory is full, or the limit on it is reached (ulimit -v)"),
        (RuntimeError("can't start new thread"), "no further thread can be started: the limit is ulimit -u"),
    ],
)
def test_what_the_system_refuses_is_one_line(error: Exception, line: str) -> None:
    done = CliRunner().invoke(command(error), [])
    assert (done.exit_code, done.output) == (1, f"Error: {line}\n")


@pytest.mark.parametrize(
    "bug",
    [
        FileNotFoundError(errno.ENOENT, "x", "y"),
        RuntimeError("a bug"),
        OSError("x"),
        OSError(errno.ENOTCONN, "of a socket"),
    ],
)
def test_other_errors_may_be_bugs(bug: Exception) -> None:
    assert CliRunner().invoke(command(bug), []).exception is bug


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_that_the_command_does_not_handle(number: signal.Signals, code: int) -> None:
    @click.command()
    @report_errors
    def run() -> int:
        signal.raise_signal(number)
        return 0

    done = CliRunner().invoke(run, [])
    assert (done.exit_code, done.output) == (code, "stopped\n")


def test_temporary_files_of_a_command_go_with_it(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, tempfile\nfrom merkit.engine.cli.command import report_errors\n"
        "def run():\n    tempfile.mkdtemp()\n    subprocess.run(['mktemp'])\n"
        "    print(len(os.listdir(os.environ['TMPDIR'])), os.environ['MPLCONFIGDIR'])\n    return 3\n"
        "report_errors(run)()"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "MPLCONFIGDIR": "the user's"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 3
    made, counted = done.stdout.splitlines()
    assert made.startswith(f"{tmp_path}/mer-run-")
    assert counted == "3 the user's"  # both, and what says whose the folder is
    assert list(tmp_path.iterdir()) == []


def test_the_backend_that_a_notebook_names_is_not_asked_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """``!mer-label --plot`` in a notebook was a traceback where its package is not beside mer."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    seen: list[str] = []

    def run() -> int:
        seen.append(os.environ["MPLBACKEND"])
        return 0

    with pytest.raises(SystemExit):
        report_errors(run)()
    assert seen == ["agg"]
    assert os.environ["MPLBACKEND"].startswith("module://")


WITH_CHILDREN = (
    "import sys\nfrom merkit.engine.cli.command import report_errors\n"
    "from merkit.engine.errors import MerError\n"
    "from merkit.engine.labelling.worker_pool import WorkerPool\n"
    "def run():\n    with WorkerPool(max, 5, 1) as pool:\n        assert [*pool.map([7])] == [(0, 7)]\n"
    "    raise MerError('\\u66f2')\n"
    "report_errors(run)()"
)


@pytest.mark.parametrize("place", ["x" * 140, "missing/folder", "a file"])
@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_any_temporary_folder_and_home_will_do(tmp_path: Path, place: str, home: str | None) -> None:
    (tmp_path / ("x" * 140)).mkdir()
    (tmp_path / "a file").touch()
    environment = {**os.environ, "TMPDIR": str(tmp_path / place)}
    environment.pop("HOME", None)
    environment.pop("MER_HOME", None)
    if home is not None:
        environment["HOME"] = home
    done = subprocess.run(
        [sys.executable, "-c", WITH_CHILDREN], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "Error: \u66f2\n")
    assert [*(tmp_path / ("x" * 140)).iterdir()] == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
def test_streams_that_take_nothing_change_no_exit_code(tmp_path: Path, closed: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "TMPDIR": str(tmp_path)}
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", WITH_CHILDREN]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == ("" if "2>" in closed else "Error: \\u66f2\n")
    assert list(tmp_path.iterdir()) == []
