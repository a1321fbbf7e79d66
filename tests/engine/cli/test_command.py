"""How all commands end, and the type of --windows."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner
from merkit.engine.cli.command import SETTINGS, WindowCountType, report_errors, version_option
from merkit.engine.errors import ArtifactError, MerError, UsageError


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


def test_a_file_name_cannot_steer_the_terminal() -> None:
    done = CliRunner().invoke(command(MerError("\x1b[2Jsong\r\u2028.mp3 is no song")), [])
    assert done.output == "Error: \\x1b[2Jsong\\r\\u2028.mp3 is no song\n"


def test_a_bug_keeps_its_traceback() -> None:
    bug = ValueError("a bug")
    assert CliRunner().invoke(command(bug), []).exception is bug


@pytest.mark.parametrize(("text", "value"), [("all", "'all'"), ("12", "12"), ("007", "7")])
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
