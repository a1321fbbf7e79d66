"""What all commands share: exit codes, errors as one line, and a type of option."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from ..errors import MerError
from ..text.escape import for_terminal

EXIT_FAILURE = 1
EXIT_GATE = 3
EXIT_SOME_FAILED = 4
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "show_default": True}
"""Click's context settings of every command."""

version_option = click.version_option(package_name="merkit")


class WindowCountType(click.ParamType):
    """A number above 0, or "all"."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "all" or isinstance(value, int):
            return value
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a number above 0 nor 'all'", param, ctx)
        return int(value)


def report_errors(command: Callable[..., int]) -> Callable[..., None]:
    """Exits with a command's return value; prints a MerError as one line and exits with its code."""
    from functools import wraps

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            code = command(*arguments, **options)
        except MerError as error:
            for line in f"Error: {error}".split("\n"):  # file names in it may hold control characters
                click.echo(for_terminal(line), err=True)
            code = error.exit_code
        sys.exit(code)

    return run
