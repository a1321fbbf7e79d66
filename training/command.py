"""What all of mer-train's commands share: how they end."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ..engine.cli.command import report_errors
from ..engine.errors import MerError
from ..engine.signals import INTERRUPTED, sigterm_interrupts


def training_command(command: Callable[..., int]) -> Callable[..., None]:
    """Exits with a command's return value, with 1 or 2 and one line on an error, with 130 or 143 on a signal.

    A missing package is an error too; one of ours that is missing is a bug and keeps its traceback.
    """

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> int:
        with sigterm_interrupts() as stop:
            try:
                return command(*arguments, **options)
            except KeyboardInterrupt:
                click.echo("stopped; --resume goes on after the last whole epoch", err=True)
                return stop.code or INTERRUPTED
            except ModuleNotFoundError as error:
                if (error.name or "").startswith("merkit"):
                    raise
                package = f"training needs the package {error.name}"
                raise MerError(f"{package}: pip install 'merkit[train]'") from None

    return report_errors(run)
