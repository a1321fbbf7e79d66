"""The commands that mer-label has beside labelling, each by the word that comes first, and their paths."""

from __future__ import annotations

import os
from glob import escape, glob
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..text.escape import for_terminal
from .command import QuietCommand

WORDS = {
    "tag": "write each song's mood into its tags, or undo that",
    "playlist": "write a playlist for each emotion",
    "page": "make a page on which a catalogue is searched, seen and heard",
    "diff": "say what changed from one folder of labels to another",
}
"""Each word with what its command does; its module is ``engine/cli/<word>.py``, with a command ``main``."""


_OTHER_WORDS = {
    "label": "no word is needed to label: mer-label PATH",
    "help": "mer-label --help says what there is",
    "version": "mer-label --version says it",
}
_NEARNESS = 0.8  # "pages" and "palylist" are near; "tag.mp3", "tango" and "live" are not

ANY_PATH = click.Path(readable=False)
"""A path that click does not try: one that cannot be read costs its row, or has an error of our own."""


class _NamedPath(click.Path):
    """Such a path with a name: an empty one, as of an unset variable, would be the folder one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("an empty name is that of no file or folder", param, ctx)
        return super().convert(value, param, ctx)


NAMED_PATH = _NamedPath(readable=False)


class WordFirst(QuietCommand):
    """A command whose first argument may be one of ``WORDS``: then that command runs, and is completed.

    A word wins over a file or folder of its name, which is ``./tag``. What is near a word and no file is
    refused: as a path it would be labelled, and what stands behind it too.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if not args or args[0] not in WORDS:
            first = args[0] if args else "-"  # an option
            completes = extra.get("resilient_parsing")  # for TAB in a shell, which shows no errors
            if (
                not completes
                and not first.startswith("-")
                and not os.path.lexists(first)
                and (hint := _hint_of(first))
            ):
                raise click.UsageError(for_terminal(f"{first}: no such file; {hint}"))
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


def _hint_of(word: str) -> str:
    """What a first argument that is not there should have been; "" where it is near no word."""
    from difflib import get_close_matches
    from glob import has_magic

    if has_magic(word):
        return ""
    near = get_close_matches(word.lower(), [*WORDS, *_OTHER_WORDS], 1, _NEARNESS)
    if not near:
        return ""
    return _OTHER_WORDS.get(near[0]) or f"did you mean mer-label {near[0]}? A path of that name is ./{word}"


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files; a word in the first place, where what was typed begins a word and no file."""
    first = not ctx.params.get(param.name or "")
    words = [word for word in WORDS if incomplete and first and word.startswith(incomplete)]
    if words and not glob(escape(incomplete) + "*"):
        return [CompletionItem(word, help=WORDS[word]) for word in words]
    return [CompletionItem(incomplete, type="file")]
