"""The pages of docs/ say what the program is now."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml
from merkit.engine.catalogue.rows import columns_of_rows

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


def test_the_page_of_runtimes_has_the_table_that_is_shipped() -> None:
    page = (DOCS / "RUNTIMES.md").read_text(encoding="utf-8").replace("**", "")
    lines = [line for line in page.splitlines() if line.endswith((" ONNX Runtime |", " OpenVINO, bf16 |"))]
    rows = json.loads((ROOT / "engine" / "runtimes" / "choices.json").read_text(encoding="utf-8"))
    figures = re.compile(r"([\d.]+) times onnxruntime's \[([\d.]+), ([\d.]+)\]; (\d+) of (\d+) labels change")
    said = []
    for row in rows:
        found = [figures.search(row["tried"][name]) for name in ("openvino", "openvino-bf16")]
        cells = [f"{each[1]} ({each[2]} to {each[3]}), {each[4]} of {each[5]}" for each in found if each]
        taken = "OpenVINO, bf16" if row["faster"] else "ONNX Runtime"
        said.append(f"| {row['network']} | {cells[0]} | {cells[1]} | {taken} |")
    assert sorted(lines) == sorted(said)


def test_the_page_of_networks_has_every_field_of_the_recipe() -> None:
    """With its default. training/recipe.py is read, not imported, so that torch need not be there."""
    tree = ast.parse((ROOT / "training" / "recipe.py").read_text(encoding="utf-8"))
    recipe = next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == "Recipe")
    fields = {
        ast.unparse(each.target): str(ast.literal_eval(each.value))
        for each in recipe.body
        if isinstance(each, ast.AnnAssign) and each.value
    }
    page = (DOCS / "BACKBONES.md").read_text(encoding="utf-8").partition("## The recipe")[2]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", page.partition("\n## ")[0], re.MULTILINE)
    said = {
        name.strip("` "): default.strip()
        for names, defaults in rows
        for name, default in zip(names.split(","), defaults.split(","), strict=True)
    }
    assert said == fields


def test_the_page_of_commands_has_what_they_print(help_texts) -> None:
    page = help_texts.on_page_markdown((DOCS / "COMMANDS.md").read_text(encoding="utf-8"))
    for name in (
        "mer-label",
        "mer-label diff",
        "mer-train listen",
        "mer-export",
        "mer-eval",
        "mer-bench scale",
    ):
        level = 3 if " " in name else 2
        assert f"\n{'#' * level} {name}\n\n```text\nUsage: {name} [OPTIONS]" in page
    assert page.count("```") == 2 * page.count("```text")
    assert help_texts.on_page_markdown("# Another page") == "# Another page"


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
