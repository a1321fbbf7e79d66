"""The checks without a GPU: on the stub driver, in another process, as the runtime's own tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.benchmarks.experiments.gpu_checks.plan import CHECKS
from stub_cuda.stub import run_on_stub, why_not_here

pytest.importorskip("torch")


@pytest.mark.timeout(900)
def test_the_checks_on_the_stub_driver(tmp_path: Path) -> None:
    why = why_not_here("cuda-bindings")  # what a machine has that was not prepared for this
    if why:
        pytest.skip(why)
    passed, _, _ = run_on_stub("cuda-bindings", tmp_path, Path(__file__).with_name("on_stub"))
    assert passed >= 14


def test_every_check_is_there_and_says_what_it_asks() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.asks.endswith("?")
        assert check.function().__doc__
    missing = {check.place for check in CHECKS if check.missing()}
    assert missing <= {"with_dali", "with_tensorrt"}
