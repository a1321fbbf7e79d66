"""What all of mer-train's commands share: how they end."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ..engine.cli.command import report_errors
from ..engine.cpu import usable_cores
from ..engine.errors import MerError
from ..engine.files import NO_ROOM
from ..engine.signals import INTERRUPTED, sigterm_interrupts


def training_command(goes_on: str) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Exits with a command's return value, with 1 or 2 and one line on an error, with 130 or 143 on a signal.

    A missing package is an error too; one of ours that is missing is a bug and keeps its traceback.

    Args:
        goes_on: how the work goes on after it was stopped, or a disk was full; may be empty.
    """
    then = f"; {goes_on}" if goes_on else ""

    def decorated(command: Callable[..., int]) -> Callable[..., None]:
        @wraps(command)
        def run(*arguments: Any, **options: Any) -> int:
            with sigterm_interrupts() as stop:
                try:
                    return command(*arguments, **options)
                except KeyboardInterrupt:
                    click.echo(f"stopped{then}", err=True)
                    return stop.code or INTERRUPTED
                except ModuleNotFoundError as error:
                    if (error.name or "").startswith("merkit"):
                        raise
                    package = f"this needs the package {error.name}"
                    raise MerError(f"{package}: pip install 'merkit[train]'") from None
                except OSError as error:
                    if error.errno in (None, errno.EPIPE):  # the latter may be that nobody reads any more
                        raise
                    place = f"{error.filename}: " if error.filename is not None else ""
                    ending = then if error.errno in NO_ROOM else ""
                    raise MerError(f"{place}{error.strerror}{ending}") from None
                except RuntimeError as error:
                    if not _is_of_memory(error):
                        raise
                    less = "a smaller --batch or a smaller network needs less"
                    raise MerError(f"the memory does not suffice: {less}{then}") from None

        return report_errors(run)

    return decorated


def limit_threads() -> None:
    """Torch counts the machine's cores, not those that a container may use: more threads only wait."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))


def _is_of_memory(error: RuntimeError) -> bool:
    """By name and text: torch is not imported here, and on a CPU it has no class for this."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
