"""The commands that mer-label has beside labelling, each by the word that comes first, and their paths."""

from __future__ import annotations

from glob import escape, glob
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from .command import QuietCommand

WORDS = {
    "tag": "write each song's mood into its tags, or undo that",
    "playlist": "write a playlist for each emotion",
    "page": "make a page on which a catalogue is searched, seen and heard",
    "diff": "say what changed from one folder of labels to another",
}
"""Each word with what its command does; its module is ``engine/cli/<word>.py``, with a command ``main``."""


ANY_PATH = click.Path(readable=False)
"""A path that click does not try: one that cannot be read costs its row, or has an error of our own."""


class WordFirst(QuietCommand):
    """A command whose first argument may be one of ``WORDS``: then that command runs, and is completed.

    A word wins over a file or folder of its name, which is ``./tag``.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if not args or args[0] not in WORDS:
            return super().make_context(info_name, args, parent, **extra)
        word, *rest = args
        command: click.Command = import_module(f".{word}", __package__).main
        return command.make_context(f"{info_name} {word}", rest, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Instead of a PATH, as the first word"):
            formatter.write_dl([(f"{word} ...", about) for word, about in WORDS.items()])
            formatter.write_text("'mer-label tag --help' says more. A folder of that name is ./tag.")


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files; a word in the first place, where what was typed begins a word and no file."""
    first = not ctx.params.get(param.name or "")
    words = [word for word in WORDS if incomplete and first and word.startswith(incomplete)]
    if words and not glob(escape(incomplete) + "*"):
        return [CompletionItem(word, help=WORDS[word]) for word in words]
    return [CompletionItem(incomplete, type="file")]
