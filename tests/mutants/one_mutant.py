"""A pytest plugin that runs the tests with one fault in one module; no file is changed.

``MER_MUTANT`` is the number of the fault in faults.toml. Its module is compiled from the text with the fault
when it is imported.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

FAULTS = Path(__file__).with_name("faults.toml")


def faults() -> list[dict[str, Any]]:
    """``name``, ``module``, ``old`` and ``new`` text, and the ``tests`` of which one at least must fail."""
    return tomllib.loads(FAULTS.read_text(encoding="utf-8"))["fault"]


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, old: str, new: str) -> None:
        super().__init__(name, path)
        self._old, self._new = old, new

    def get_code(self, fullname: str) -> Any:  # the compiled file of another run must not be taken
        text = Path(self.path).read_text(encoding="utf-8")
        if text.count(self._old) != 1:
            raise RuntimeError(f"{self.path} has this text {text.count(self._old)} times: {self._old}")
        return compile(text.replace(self._old, self._new), self.path, "exec")


class _Finder:
    def __init__(self, fault: dict[str, Any]) -> None:
        self._fault = fault

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name != self._fault["module"]:
            return None
        sys.meta_path.remove(self)  # pyright: ignore[reportArgumentType]
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)  # pyright: ignore[reportArgumentType]
        assert spec is not None
        assert spec.origin is not None
        loader = _Loader(name, spec.origin, self._fault["old"], self._fault["new"])
        return importlib.util.spec_from_file_location(name, spec.origin, loader=loader)


if "MER_MUTANT" in os.environ:
    sys.meta_path.insert(0, _Finder(faults()[int(os.environ["MER_MUTANT"])]))  # pyright: ignore[reportArgumentType]
