"""Networks that load at once, and measurements that are short: tests look at values, not at precision."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from merkit.benchmarks.cli import main
from merkit.benchmarks.measure import loadgen, machine, table
from merkit.benchmarks.measure.loadgen import QUICK, Length
from merkit.benchmarks.measure.machine import raise_limits
from small_networks import write_network


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """A folder with small.onnx."""
    folder = tmp_path / "networks"
    folder.mkdir()
    write_network(folder / "small.onnx")
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Length:
    """A length that takes a moment, also for --quick; the machine's limits are measured on small arrays.

    Skips the test where LoadGen is not installed.
    """
    pytest.importorskip("mlperf_loadgen")
    length = Length("quick", 0.1, QUICK.queries)
    monkeypatch.setattr(loadgen, "QUICK", length)
    monkeypatch.setattr(machine, "_SIZE", 128)
    monkeypatch.setattr(machine, "_LEAST_BYTES", 1 << 20)
    monkeypatch.setattr(machine, "_CACHES", 0)
    monkeypatch.setattr(table, "raise_limits", lambda known, threads, _: raise_limits(known, threads, 0.01))
    return length


@pytest.fixture
def without_reader(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int | str | None]:
    """Runs mer-bench with a stdout whose reader has gone, and gives its exit code."""

    def run(*arguments: object) -> int | str | None:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as stdout, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stdout)
            with pytest.raises(SystemExit) as end:
                main([str(argument) for argument in arguments])
        return end.value.code

    return run
