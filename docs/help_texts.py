"""A hook of mkdocs: ``<!-- help: COMMAND -->`` in a page becomes what ``COMMAND --help`` prints."""

from __future__ import annotations

import importlib
import re
from typing import Any

MODULES = {
    "mer-label": "merkit.engine.cli.label",
    "mer-train": "merkit.training.cli",
    "mer-export": "merkit.export.cli",
    "mer-eval": "merkit.benchmarks.evaluation.cli",
    "mer-bench": "merkit.benchmarks.cli",
}
_MARK = re.compile(r"<!-- help: (.+?) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _MARK.sub(lambda mark: f"```text\n{help_text(mark[1])}```", markdown)


def help_text(command: str) -> str:
    """What a command, or a command with its first word, prints for ``--help``, 100 columns wide."""
    from click.testing import CliRunner

    name, *words = command.split()
    main = importlib.import_module(MODULES[name]).main
    result = CliRunner().invoke(
        main, [*words, "--help"], prog_name=name, terminal_width=100, max_content_width=100
    )
    if result.exit_code:
        raise ValueError(f"{command} --help: {result.output}")
    return result.output
