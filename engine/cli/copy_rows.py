"""``mer-label --from FOLDER --out FILE``: rows of a folder, as one file."""

from __future__ import annotations

import click
from click.core import ParameterSource

from ..text.streams import print_err

_OF_A_COPY = {"finished", "out", "as_json", "quiet", "verbose"}


def copy_rows(folder: str, paths: tuple[str, ...], out: str | None) -> int:
    """Copies all rows and says how many; returns the exit code.

    Raises:
        UsageError, MerError: see ``export_folder``; or something is asked that is no copy.
    """
    if paths or out is None:
        raise click.UsageError("--from needs --out and no PATH")
    context = click.get_current_context()
    for option in context.command.params:
        asked = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if asked and option.name not in _OF_A_COPY:
            raise click.UsageError(f"--from copies rows as they are: leave {option.opts[0]} out")
    from ..catalogue.shards import export_folder

    count = export_folder(folder, out)
    print_err(f"{'1 row' if count == 1 else f'{count} rows'} written to {'stdout' if out == '-' else out}")
    return 0
