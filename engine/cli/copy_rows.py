"""``mer-label --from FOLDER --out FILE``: rows of a folder, as one file."""

from __future__ import annotations

import click

from ..text.streams import print_err


def copy_rows(folder: str, paths: tuple[str, ...], out: str | None) -> int:
    """Copies all rows and says how many; returns the exit code.

    Raises:
        UsageError, MerError: see ``export_folder``; or something is named to be labelled.
    """
    if paths or out is None:
        raise click.UsageError("--from needs --out and no PATH")
    from ..catalogue.shards import export_folder

    count = export_folder(folder, out)
    print_err(f"{'1 row' if count == 1 else f'{count} rows'} written to {'stdout' if out == '-' else out}")
    return 0
