"""The checks without a GPU: on the stub driver, in another process, as the runtime's own tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from merkit.benchmarks.experiments.gpu_checks.plan import CHECKS
from stub_cuda.stub import build, why_not_here

pytest.importorskip("torch")
TESTS = Path(__file__).parents[3]


@pytest.mark.timeout(900)
def test_the_checks_on_the_stub_driver(tmp_path: Path) -> None:
    why = why_not_here("cuda-bindings")  # what a machine has that was not prepared for this
    if why:
        pytest.skip(why)
    build(tmp_path)
    environment = {
        **os.environ,
        "STUB_CUDA": "cuda-bindings",
        "LD_LIBRARY_PATH": os.pathsep.join([str(tmp_path), os.environ.get("LD_LIBRARY_PATH", "")]),
        "PYTHONPATH": os.pathsep.join([str(TESTS / "helpers"), os.environ.get("PYTHONPATH", "")]),
    }
    arguments = ["-q", "-n", "0", "-p", "no:cacheprovider", "-o", "python_files=on_*.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, Path(__file__).with_name("on_stub")],
        env=environment,
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 14


def test_every_check_is_there_and_says_what_it_asks() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.asks.endswith("?")
        assert check.function().__doc__
    missing = {check.place for check in CHECKS if check.missing()}
    assert missing <= {"with_dali", "with_tensorrt"}
