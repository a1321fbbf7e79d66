"""CI's line about what labelling costs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "cost.py"


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    found = importlib.util.spec_from_file_location("cost", SCRIPT)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("ratios", "warned"),
    [
        ([1.0, 1.01, 1.04], False),
        ([1.05, 1.06, 1.10], True),
        ([0.97, 1.06, 1.30], False),  # one pair says the opposite: noise
        ([0.6, 0.7, 0.8], False),
    ],
)
def test_more_than_five_percent_is_a_warning(cost: ModuleType, ratios: list[float], warned: bool) -> None:
    line = cost.verdict(ratios, "CPU seconds", (1.0, 1.1))
    assert line.startswith("warning: ") is warned
    assert f"labelling costs {ratios[1]:.3f} times what it did" in line
