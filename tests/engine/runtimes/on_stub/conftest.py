"""PyCUDA or cuda-bindings on the stub driver, and a fake TensorRT on both; test_tensorrt.py starts these.

What needs CUDA is imported in the fixtures, since pytest reads this file in its own process too.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_files import VERSION, engine
from merkit.engine.artifact import Artifact
from stub_cuda.stub import Stub, loaded

if os.environ.get("STUB_CUDA") == "cuda-bindings":
    sys.modules["pycuda"] = None  # pyright: ignore[reportArgumentType]  # as if it were not installed


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """A working GPU, to which each test gives back what it took, and which it does not misuse."""
    from stub_cuda import fake_tensorrt

    driver = loaded()
    driver.reset()
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, fake_tensorrt.module(VERSION))
    yield driver
    gc.collect()  # from Python 3.12 on a traceback and its frames may hold each other
    assert driver.violations() == (0, "")
    assert driver.pushed == 0
    live = driver.live()
    assert {name: count for name, count in live.items() if count and name != "contexts"} == {}
    driver.reset()


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    from stub_cuda.arrays import CONTENT, SPEC

    return engine(tmp_path, SPEC, CONTENT)
