"""The commands that mer-label has beside labelling, each by the word that comes first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

WORDS = {
    "tag": "write each song's mood into its tags, or undo that",
    "playlist": "write a playlist for each emotion",
    "page": "make a page on which a catalogue is searched, seen and heard",
    "diff": "say what changed from one folder of labels to another",
}
"""Each word with what its command does; its module is ``engine/cli/<word>.py``, with a command ``main``."""


class WordFirst(click.Command):
    """A command whose first argument may be one of ``WORDS``: then that command runs.

    A word wins over a file or folder of its name, which is ``./tag``.
    """

    def main(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        if not arguments or arguments[0] not in WORDS:
            return super().main(arguments, prog_name, **extra)
        word, *rest = arguments
        command: click.Command = import_module(f".{word}", __package__).main
        return command.main(rest, f"{prog_name or 'mer-label'} {word}", **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Instead of a PATH, as the first word"):
            formatter.write_dl([(f"{word} ...", about) for word, about in WORDS.items()])
            formatter.write_text("'mer-label tag --help' says more. A folder of that name is ./tag.")
