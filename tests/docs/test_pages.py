"""The pages of docs/ say what the program is now."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from merkit.engine.catalogue.rows import columns_of_rows
from merkit.engine.cli.words import WORDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def help_texts():
    spec = importlib.util.spec_from_file_location("help_texts", DOCS / "help_texts.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_stands_on_its_page(help_texts) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {name: f"{module}:main" for name, module in help_texts.MODULES.items()} == scripts
    commands = set(scripts) | {f"mer-label {word}" for word in WORDS}
    for name, module in help_texts.MODULES.items():
        main = importlib.import_module(module).main
        if isinstance(main, click.Group):
            commands |= {f"{name} {word}" for word in main.commands}
    page = (DOCS / "COMMANDS.md").read_text(encoding="utf-8")
    assert set(re.findall("<!-- help: (.+?) -->", page)) == commands - {"mer-bench eval"}  # which is mer-eval


def test_help_texts_are_printed_by_the_commands(help_texts) -> None:
    page = help_texts.on_page_markdown("# A\n<!-- help: mer-label tag -->\nmore")
    assert page.startswith("# A\n```text\nUsage: mer-label tag [OPTIONS] LABELS\n")
    assert page.endswith("```\nmore")
    with pytest.raises(ValueError, match="--nonsense"):
        help_texts.help_text("mer-label tag --nonsense")


def test_every_column_of_a_row_stands_on_its_page() -> None:
    page = (DOCS / "ROWS.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(.+?)` \| (\w+) \|", page, re.MULTILINE)
    columns = columns_of_rows(("<label>",))
    assert table == [(name, "list" if kind == "windows" else kind) for name, kind in columns.items()]


def test_every_page_is_in_the_menu() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]

    def pages(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        entries = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else []
        return [page for each in entries for page in pages(each)]

    assert sorted(pages(menu)) == sorted(path.name for path in DOCS.glob("*.md"))
