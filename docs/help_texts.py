"""A hook of mkdocs: ``<!-- help texts -->`` in a page becomes what every command prints for ``--help``."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
_MARK = "<!-- help texts -->"
_WIDTH = {"terminal_width": 100, "max_content_width": 100}


def on_page_markdown(markdown: str, **_: Any) -> str:
    if _MARK not in markdown:
        return markdown
    texts = (f"{'#' * level} {name}\n\n```text\n{text}```\n" for level, name, text in help_texts())
    return markdown.replace(_MARK, "\n".join(texts))


def help_texts() -> Iterator[tuple[int, str, str]]:
    """The text of each command of pyproject.toml (level 2), and of those behind its first words (level 3)."""
    from merkit.engine.cli.words import WORDS

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    for name, place in scripts.items():
        main = getattr(importlib.import_module(place.partition(":")[0]), place.partition(":")[2])
        yield 2, name, _help(main, name)
        words = WORDS if name == "mer-label" else main.commands if isinstance(main, click.Group) else ()
        for word in sorted(words):
            yield 3, f"{name} {word}", _help(main, name, word)


def _help(main: click.Command, name: str, *words: str) -> str:
    result = CliRunner().invoke(main, [*words, "--help"], prog_name=name, **_WIDTH)
    if result.exit_code:
        raise ValueError(f"{name} {' '.join(words)} --help: {result.output}")
    return result.output
