"""Each extra names all that its part imports: what another extra happens to bring is not enough."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def requirements(extra: str | None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    for text in project["optional-dependencies"][extra] if extra else project["dependencies"]:
        name, more = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", text).groups()  # pyright: ignore[reportOptionalMemberAccess]
        if name == "merkit":
            found.update(*map(requirements, more.split(",")))
        else:
            found.add(name.lower().replace("_", "-"))
    return found


def packages(path: Path, seen: set[Path]) -> set[str]:
    """What is imported as soon as a module is, and by those of ours that it imports."""
    if path in seen:
        return set()
    seen.add(path)
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                file = folder.joinpath(*name.split("."))
                for module in (file.with_suffix(".py"), file / "__init__.py"):
                    if module.exists():
                        found |= packages(module, seen)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    ("extra", "paths"),
    [
        (None, ["engine/**/*.py"]),
        ("train", ["training/**/*.py"]),
        ("export", ["export/cli.py", "export/calibration.py"]),
        ("bench", ["benchmarks/**/*.py", "training/networks/backbones.py"]),
    ],
)
def test_an_extra_brings_what_its_part_imports(extra: str | None, paths: list[str]) -> None:
    seen: set[Path] = set()
    found = set().union(*(packages(path, seen) for glob in paths for path in ROOT.glob(glob)))
    third = {name for name in found if name not in sys.stdlib_module_names and name != "merkit"}
    of_package = packages_distributions()
    there = requirements(None) | (requirements(extra) if extra else set())
    missing = {
        name
        for name in third
        if not {each.lower().replace("_", "-") for each in of_package.get(name, [name])} & there
    }
    assert len(seen) > 3
    assert not missing
