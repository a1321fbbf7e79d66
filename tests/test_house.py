"""The rooms of the house: which may import which, and what a wheel must hold.

docs/ARCHITECTURE.md draws what this test holds. Imports of every kind count: at the top, inside functions,
and for types only.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = ("engine", "export", "training", "benchmarks")
PLUGINS = "beetsplug"  # a namespace of beets, in which many packages lie

# Each room may import those after it in this list (and itself); rooms in one tuple do not import each other.
ENGINE_FLOORS = (
    ("cli", "api"),
    ("outputs",),
    ("catalogue",),
    ("labelling",),
    ("spectrogram", "runtimes", "data"),
    ("audio", "text"),
    ("",),  # the files of engine/ itself
)
# training -> export, and export -> training, only here: a checkpoint becomes an artifact on both sides.
EXCEPTIONS = {
    ("training/runs/export_and_score.py", "export"),
    ("training/runs/results_table.py", "export"),
    ("export/torch_to_onnx.py", "training"),
}
ALLOWED = {
    "engine": {"engine"},
    "export": {"engine", "export"},
    "training": {"engine", "training"},
    "benchmarks": {"engine", "export", "training", "benchmarks"},
    PLUGINS: {"engine"},
}


def files() -> list[Path]:
    return sorted(path for top in (*TOP, PLUGINS) for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> Iterator[Path]:
    """Files of ours that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".") for alias in node.names]
            yield from (file_of(ROOT, parts[1:]) for parts in modules if parts[0] == "merkit")
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            if not node.level and parts[:1] != ["merkit"]:
                continue
            folder = path.parents[node.level - 1] if node.level else ROOT
            parts = parts if node.level else parts[1:]
            yield from (file_of(folder, [*parts, alias.name], parts) for alias in node.names)


def file_of(folder: Path, *modules: list[str]) -> Path:
    """The file of the first of these modules that is one; the package itself is engine/api."""
    for parts in modules:
        place = folder.joinpath(*parts) if parts or folder != ROOT else ROOT / "engine/api"
        for candidate in (place.with_suffix(".py"), place / "__init__.py"):
            if candidate.is_file():
                return candidate
    raise AssertionError(f"{folder}: no module {modules}")


EDGES = [(path, target) for path in files() for target in imports(path) if target != path]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(path: Path) -> str:
    """The folder below engine/ in which a file lies; "" for the files of engine/ itself."""
    parts = path.relative_to(ROOT / "engine").parts
    return parts[0] if len(parts) > 1 else ""


def test_no_circle() -> None:
    graph: dict[Path, set[Path]] = {}
    for source, target in EDGES:
        graph.setdefault(source, set()).add(target)
    # The pair that the exceptions name is a circle of folders, and of no files.
    done: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        assert path not in above, " -> ".join(name(each) for each in (*above[above.index(path) :], path))
        if path in done:
            return
        for target in graph.get(path, ()):
            visit(target, (*above, path))
        done.add(path)

    for path in graph:
        visit(path, ())
    assert len(done) > 100


def test_no_arrow_upwards_between_the_four_folders() -> None:
    wrong = [
        f"{name(source)} -> {name(target)}"
        for source, target in EDGES
        for top in [target.relative_to(ROOT).parts[0]]
        if top not in ALLOWED[source.relative_to(ROOT).parts[0]] and (name(source), top) not in EXCEPTIONS
    ]
    assert not wrong
    used = {(name(s), t.relative_to(ROOT).parts[0]) for s, t in EDGES} & EXCEPTIONS
    assert used == EXCEPTIONS  # one that is not used any more is no exception


def test_no_arrow_upwards_inside_engine() -> None:
    floor = {each: height for height, rooms in enumerate(ENGINE_FLOORS) for each in rooms}
    inside = [
        (s, t) for s, t in EDGES if s.is_relative_to(ROOT / "engine") and t.is_relative_to(ROOT / "engine")
    ]
    assert {room(path) for path in files() if path.is_relative_to(ROOT / "engine")} <= {*floor, "models"}
    wrong = [
        f"{name(source)} -> {name(target)}"
        for source, target in inside
        if room(source) != room(target) and floor[room(source)] >= floor[room(target)]
    ]
    assert not wrong


def test_engine_itself_holds_few_files() -> None:
    assert len(list((ROOT / "engine").glob("*.py"))) <= 15


def test_nothing_shadows_the_installed_package() -> None:
    assert not (ROOT / "merkit").exists()
    assert not (ROOT / "__init__.py").exists()


def test_every_folder_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in files()} - {"engine/api", PLUGINS}
    assert set(settings["packages"]) == {
        PLUGINS,
        "merkit",
        *(f"merkit.{folder.replace('/', '.')}" for folder in folders),
    }
    assert (ROOT / "engine/api/py.typed").is_file()
    data = [path for glob in settings["package-data"]["merkit.benchmarks.results"] for path in
            (ROOT / "benchmarks/results").glob(glob)]  # fmt: skip
    assert len(data) == 3
    page = ROOT / "engine/outputs/page"
    packed = {
        path for glob in settings["package-data"]["merkit.engine.outputs.page"] for path in page.glob(glob)
    }
    assert packed == {path for path in page.iterdir() if path.suffix in (".html", ".css", ".js")}


def test_the_namespace_of_beets_stays_one() -> None:
    assert [path.name for path in (ROOT / PLUGINS).glob("*.py")] == ["mer.py"]


@pytest.mark.parametrize(
    "path",
    sorted({path.parent for path in files()} - {ROOT / PLUGINS}),
    ids=lambda path: name(path),
)
def test_every_room_says_what_it_is(path: Path) -> None:
    text = ast.get_docstring(ast.parse((path / "__init__.py").read_text(encoding="utf-8")))
    assert text, f"{name(path)}/__init__.py has no sentence"


def test_no_file_is_long() -> None:
    """About 300 lines: beyond them a file does two things."""
    long = {name(path): count for path in files() if (count := len(path.read_text().splitlines())) > 310}
    assert not long
