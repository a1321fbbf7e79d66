"""``mer-label --from LABELS --out PLACE``: rows of a folder as one file, or of a file as a folder."""

from __future__ import annotations

import click

from ..text.streams import print_err
from .command import options_given

_OF_A_COPY = {"finished", "out", "as_json", "quiet", "verbose"}


def copy_of_rows(labels: str, paths: tuple[str, ...], out: str | None, quiet: bool = False) -> int:
    """Copies all rows and, unless ``quiet``, says how many; returns the exit code.

    Raises:
        UsageError, MerError: see ``copied_rows.copy_rows``; or something is asked that is no copy.
    """
    if paths or out is None:
        raise click.UsageError("--from needs --out and no PATH")
    parameters = click.get_current_context().command.params
    # No arguments: Click before 8.3 takes those that are missing for given.
    every = (each.name or "" for each in parameters if isinstance(each, click.Option))
    if others := options_given(name for name in every if name not in _OF_A_COPY):
        raise click.UsageError(f"--from copies rows as they are: leave {others[0]} out")
    from ..catalogue.copied_rows import copy_rows

    count = copy_rows(labels, out, print_err)
    rows = "1 row" if count == 1 else f"{count} rows"
    if not quiet:
        print_err(f"{rows} written to {'stdout' if out == '-' else out}")
    return 0
